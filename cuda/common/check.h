// One way for a CUDA runtime call to fail: a NativeError. Nothing in this library exits, aborts or prints.
#pragma once

#include <cuda_runtime.h>

#include "../../src/native/common/error.h"

namespace polar::cuda {

// True for errors after which every further call of this process fails: the context is lost.
bool is_sticky(cudaError_t error);

// Throws E_OUT_OF_MEMORY for cudaErrorMemoryAllocation, else E_CUDA; `call` is the failing expression. A non-sticky
// error is cleared first, so that it cannot be reported a second time by an unrelated call.
[[noreturn]] void throw_cuda(cudaError_t error, const char* call);

// After a library's call failed: throws the sticky error where the device is lost, since a library's own status does
// not say so, and otherwise returns. Does not synchronise.
void throw_if_lost(const char* call);

inline void check_cuda(cudaError_t error, const char* call) {
  if (error != cudaSuccess) throw_cuda(error, call);
}

}  // namespace polar::cuda

#define CHECK_CUDA(call) ::polar::cuda::check_cuda((call), #call)

// After a kernel launch: reports a refused configuration without synchronising.
#define CHECK_LAUNCH(name) ::polar::cuda::check_cuda(cudaGetLastError(), "launch of " name)
