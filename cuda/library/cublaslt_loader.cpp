#include "cublaslt_loader.h"

#include <dlfcn.h>

#include <cstdlib>
#include <vector>

#include "../common/check.h"

namespace polar::cuda::lt {
namespace {

std::vector<std::string> library_names() {
  std::vector<std::string> names;
  if (const char* chosen = std::getenv("POLAR_BENCH_CUBLASLT")) return {chosen};  // a named file has no fallback
  for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"}) names.emplace_back(name);
  for (const char* folder : {"/usr/local/cuda/lib64/", "/usr/local/cuda/targets/x86_64-linux/lib/"}) {
    for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12"}) names.emplace_back(std::string(folder) + name);
  }
  return names;
}

struct Library {
  Api api{};
  std::string reason;  // empty: usable

  Library() {
    void* handle = nullptr;
    std::string first_error;
    for (const std::string& name : library_names()) {
      handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (handle != nullptr) break;
      if (first_error.empty()) first_error = dlerror();
    }
    if (handle == nullptr) {
      reason =
          "Expected libcublasLt.so.13 or .12 on the library search path (or its path in POLAR_BENCH_CUBLASLT), got: " +
          first_error;
      return;
    }
    find(handle, "cublasLtGetVersion", api.version);
    find(handle, "cublasLtGetStatusName", api.status_name);
    find(handle, "cublasLtCreate", api.create);
    find(handle, "cublasLtDestroy", api.destroy);
    find(handle, "cublasLtMatmulDescCreate", api.matmul_desc_create);
    find(handle, "cublasLtMatmulDescDestroy", api.matmul_desc_destroy);
    find(handle, "cublasLtMatmulDescSetAttribute", api.matmul_desc_set);
    find(handle, "cublasLtMatrixLayoutCreate", api.layout_create);
    find(handle, "cublasLtMatrixLayoutDestroy", api.layout_destroy);
    find(handle, "cublasLtMatrixLayoutSetAttribute", api.layout_set);
    find(handle, "cublasLtMatmulPreferenceCreate", api.preference_create);
    find(handle, "cublasLtMatmulPreferenceDestroy", api.preference_destroy);
    find(handle, "cublasLtMatmulPreferenceSetAttribute", api.preference_set);
    find(handle, "cublasLtMatmulAlgoGetHeuristic", api.heuristic);
    find(handle, "cublasLtMatmul", api.matmul);
  }

 private:
  template <typename Function>
  void find(void* handle, const char* symbol, Function& target) {
    target = reinterpret_cast<Function>(dlsym(handle, symbol));
    if (target == nullptr && reason.empty()) reason = std::string("Expected the symbol ") + symbol + " in libcublasLt";
  }
};

const Library& library() {
  static const Library instance;
  return instance;
}

}  // namespace

const Api& api() {
  const Library& opened = library();
  if (!opened.reason.empty()) throw NativeError("E_UNSUPPORTED", opened.reason);
  return opened.api;
}

const char* unavailable_reason() { return library().reason.empty() ? nullptr : library().reason.c_str(); }

void check(Status status, const char* call) {
  if (status == kSuccess) return;
  throw_if_lost(call);
  throw NativeError("E_CUBLAS", std::string("Expected success from ") + call + ", got " + api().status_name(status));
}

}  // namespace polar::cuda::lt
