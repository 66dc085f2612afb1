#include "loader.h"

#include <dlfcn.h>
#include <unistd.h>

#include <map>
#include <mutex>

#include "common/error.h"

namespace polar::addon {
namespace {

[[noreturn]] void unavailable(const std::string& message) { throw NativeError("E_BACKEND_UNAVAILABLE", message); }

// Folder of this very file, wherever the package was put.
std::string own_folder() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(&load_backend), &info) == 0 || info.dli_fname == nullptr) {
    unavailable("The addon could not find its own path");
  }
  const std::string path = info.dli_fname;
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

const PolarBackendApi& open_library(const std::string& name) {
  const std::string file = "libpolar_" + name + ".so";
  const std::string path = own_folder() + "/" + file;
  if (access(path.c_str(), F_OK) != 0) unavailable("The library " + file + " is not part of this build");
  // RTLD_LOCAL: two backends carry the same helper symbols and must not see each other's.
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* reason = dlerror();
    unavailable("The library " + file + " could not be opened: " + (reason == nullptr ? "unknown reason" : reason));
  }
  const auto entry = reinterpret_cast<PolarBackendApiFn>(dlsym(handle, POLAR_BACKEND_SYMBOL));
  if (entry == nullptr) unavailable("The library " + file + " exports no " POLAR_BACKEND_SYMBOL);
  const PolarBackendApi* api = entry();
  if (api == nullptr || api->abi_version != POLAR_ABI_VERSION || api->struct_size != sizeof(PolarBackendApi)) {
    unavailable("The library " + file + " has ABI version " + (api ? std::to_string(api->abi_version) : "none") +
                ", the addon needs " + std::to_string(POLAR_ABI_VERSION) + ": rebuild both");
  }
  return *api;
}

}  // namespace

const PolarBackendApi& load_backend(const std::string& name) {
  static std::mutex mutex;
  static std::map<std::string, const PolarBackendApi*> loaded;
  const std::lock_guard lock(mutex);
  const auto found = loaded.find(name);
  if (found != loaded.end()) return *found->second;
  if (name != "cpu" && name != "cuda") unavailable("Expected cpu or cuda for backend, got " + name);
  const PolarBackendApi& api = open_library(name);
  loaded[name] = &api;
  return api;
}

}  // namespace polar::addon
