// Runs one library call at a time on a worker thread and settles a promise with what its sink collected.
#pragma once

#include <napi.h>

#include "marshal.h"

namespace polar::addon {

Napi::Value start_describe(Napi::Env env, const std::string& backend, int32_t device);
Napi::Value start_ceilings(Napi::Env env, CeilingRequest request);
Napi::Value start_cell(Napi::Env env, CellRequest request);

// Kernel ids of a backend, without touching a device.
Napi::Value list_kernels(Napi::Env env, const std::string& backend);

// {beats, phase, fraction} of the call under way; beats grows with every sign of life.
Napi::Value progress(Napi::Env env);

// Asks the call under way to end at its next sign of life.
void abort_call();

}  // namespace polar::addon
