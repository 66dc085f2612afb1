// Programmatic dependent launch (sm_90 and later): a kernel may be set up while the one before it on the stream still
// runs, and waits itself for its end. Saves part of what a kernel boundary costs; docs/kernels/step.md has the figures.
#pragma once

#include <cuda_runtime.h>

#include "../common/check.h"

namespace polar::cuda {

// Returns when all grids that this one depends on have ended and their writes are visible. To be called by every thread
// that reads or writes global memory, before it does. Nothing where the launch was an ordinary one.
__device__ __forceinline__ void wait_for_dependencies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets a dependent grid be set up from now on; it still waits for the end of this one.
__device__ __forceinline__ void allow_dependents() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Launches `kernel`; `dependent`: it calls wait_for_dependencies() and the device is sm_90 or later.
template <typename... Parameters, typename... Arguments>
void launch_kernel(void (*kernel)(Parameters...), unsigned blocks, unsigned threads, size_t shared_bytes,
                   bool dependent, cudaStream_t stream, const Arguments&... arguments) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = dependent ? 1 : 0;
  CHECK_CUDA(cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...));
}

}  // namespace polar::cuda
