// The two 16-bit storage types on the device, chosen at run time; same bits as src/native/common/half.h on the host.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "../../src/native/abi.h"

namespace polar::cuda {

__device__ inline float half_bits_to_float(uint16_t bits, int32_t dtype) {
  return dtype == POLAR_BF16 ? __uint_as_float(static_cast<uint32_t>(bits) << 16)
                             : __half2float(__ushort_as_half(bits));
}

__device__ inline uint16_t float_to_half_bits(float value, int32_t dtype) {
  return dtype == POLAR_BF16 ? __bfloat16_as_ushort(__float2bfloat16_rn(value))
                             : __half_as_ushort(__float2half_rn(value));
}

// The nearest value that the storage type holds.
__device__ inline float round_to_dtype(float value, int32_t dtype) {
  return half_bits_to_float(float_to_half_bits(value, dtype), dtype);
}

}  // namespace polar::cuda
