#include "check.h"

#include <string>

namespace polar::cuda {

bool is_sticky(cudaError_t error) {
  switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorHardwareStackError:
    case cudaErrorLaunchFailure:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorContextIsDestroyed:
    case cudaErrorExternalDevice:
    case cudaErrorMpsClientTerminated:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

void throw_cuda(cudaError_t error, const char* call) {
  const bool sticky = is_sticky(error);
  if (!sticky) (void)cudaGetLastError();
  const char* code = error == cudaErrorMemoryAllocation ? "E_OUT_OF_MEMORY" : "E_CUDA";
  throw NativeError(code,
                    std::string("Expected success from ") + call + ", got " + cudaGetErrorName(error) + ": " +
                        cudaGetErrorString(error),
                    sticky);
}

void throw_if_lost(const char* call) {
  size_t free_bytes = 0, total_bytes = 0;  // a question that enqueues nothing: safe while a stream is captured
  const cudaError_t error = cudaMemGetInfo(&free_bytes, &total_bytes);
  if (is_sticky(error)) throw_cuda(error, call);
  if (error != cudaSuccess) (void)cudaGetLastError();  // says nothing about the failure that is being reported
}

}  // namespace polar::cuda
