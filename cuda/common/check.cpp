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
    case cudaErrorContained:
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

}  // namespace polar::cuda
