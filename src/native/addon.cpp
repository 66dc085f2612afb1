// The exports. src/backends/native/addon.ts is their typed mirror.
#include <napi.h>

#include "addon_traces.h"
#include "worker.h"

namespace {

using namespace polar::addon;

std::string text_argument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (info.Length() <= index || !info[index].IsString()) {
    throw Napi::TypeError::New(info.Env(), std::string("Expected a string for ") + name);
  }
  return info[index].As<Napi::String>().Utf8Value();
}

Napi::Value abi_version(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), POLAR_ABI_VERSION); }

Napi::Value kernels(const Napi::CallbackInfo& info) {
  return list_kernels(info.Env(), text_argument(info, 0, "backend"));
}

Napi::Value describe(const Napi::CallbackInfo& info) {
  const std::string backend = text_argument(info, 0, "backend");
  if (info.Length() < 2 || !info[1].IsNumber()) throw Napi::TypeError::New(info.Env(), "Expected a number for device");
  return start_describe(info.Env(), backend, info[1].As<Napi::Number>().Int32Value());
}

Napi::Value ceilings(const Napi::CallbackInfo& info) {
  return start_ceilings(info.Env(), read_ceiling_request(info.Length() > 0 ? info[0] : info.Env().Undefined()));
}

Napi::Value cell(const Napi::CallbackInfo& info) {
  return start_cell(info.Env(), read_cell_request(info.Length() > 0 ? info[0] : info.Env().Undefined()));
}

Napi::Value call_progress(const Napi::CallbackInfo& info) { return progress(info.Env()); }

void abort(const Napi::CallbackInfo&) { abort_call(); }

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports["abiVersion"] = Napi::Function::New(env, abi_version, "abiVersion");
  exports["listKernels"] = Napi::Function::New(env, kernels, "listKernels");
  exports["describe"] = Napi::Function::New(env, describe, "describe");
  exports["measureCeilings"] = Napi::Function::New(env, ceilings, "measureCeilings");
  exports["measureCell"] = Napi::Function::New(env, cell, "measureCell");
  exports["progress"] = Napi::Function::New(env, call_progress, "progress");
  exports["abort"] = Napi::Function::New(env, abort, "abort");
  register_traces(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(polar_bench, init)
