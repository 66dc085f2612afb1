#include "tensor_map.h"

#include <cuda_runtime.h>

#include <string>

#include "../../src/native/abi.h"
#include "../common/check.h"

namespace polar::cuda {

EncodeTiled encode_tiled() {
  static const EncodeTiled function = [] {
    void* address = nullptr;
    cudaDriverEntryPointQueryResult found{};
    CHECK_CUDA(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &address, 12000, cudaEnableDefault, &found));
    if (found != cudaDriverEntryPointSuccess || address == nullptr) {
      throw NativeError("E_UNSUPPORTED", "Expected a driver with cuTensorMapEncodeTiled (CUDA 12 or later), got none");
    }
    return reinterpret_cast<EncodeTiled>(address);
  }();
  return function;
}

CUtensorMap matrix_map(int32_t dtype, const void* base, int64_t rows, int64_t columns, int box_rows) {
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[1] = {static_cast<cuuint64_t>(columns) * 2};
  const cuuint32_t box[2] = {64, static_cast<cuuint32_t>(box_rows)}, steps[2] = {1, 1};
  CUtensorMap map{};
  const CUresult result =
      encode_tiled()(&map, dtype == POLAR_BF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2,
                     const_cast<void*>(base), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                     CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    throw NativeError("E_CUDA", "cuTensorMapEncodeTiled failed with CUresult " + std::to_string(result));
  }
  return map;
}

}  // namespace polar::cuda
