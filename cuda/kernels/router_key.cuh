// Scores as integers that sort alike; shared by the kernel that writes scores and the one that selects.
#pragma once

#include <cstdint>

namespace polar::cuda::router {

// Ascending unsigned keys for ascending floats; -0 equals 0, NaN with a clear sign is above everything.
__device__ __forceinline__ uint32_t key_of(float score) {
  const uint32_t bits = __float_as_uint(score + 0.0f);
  return bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
}

}  // namespace polar::cuda::router
