// Scores as integers that sort alike; shared by the kernels that write scores and the one that selects.
#pragma once

#include <cstdint>

#include "router_ptx.cuh"

namespace polar::cuda::router {

// Ascending unsigned keys for ascending floats; -0 equals 0, NaN with a clear sign is above everything.
__device__ __forceinline__ uint32_t key_of(float score) {
  const uint32_t bits = __float_as_uint(score + 0.0f);
  return bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
}

__device__ __forceinline__ float relu(float value) {  // NaN stays NaN
  float result;
  asm("max.NaN.f32 %0, %1, 0f00000000;" : "=f"(result) : "f"(value));
  return result;
}

// Smallest and largest key of the scores that this thread wrote, for the selection that follows.
struct KeyRange {
  uint32_t not_low = 0, high = 0;
  __device__ __forceinline__ void add(float score) {
    const uint32_t key = key_of(score);
    not_low = max(not_low, ~key), high = max(high, key);
  }
};

// Widens range[0], the largest ~key, and range[1], the largest key, by what the first `warps` warps of the block have;
// all of them call it. `shared`: room for two words of each.
__device__ __forceinline__ void publish_range(uint32_t* range, const KeyRange& mine, uint32_t* shared, int warps) {
  constexpr int kBarrier = 15;
  const int warp = static_cast<int>(threadIdx.x) >> 5;
  const uint32_t not_low = __reduce_max_sync(0xffffffffu, mine.not_low);
  const uint32_t high = __reduce_max_sync(0xffffffffu, mine.high);
  if ((threadIdx.x & 31) == 0) shared[warp] = not_low, shared[warps + warp] = high;
  ptx::named_sync(kBarrier, warps * 32);
  if (threadIdx.x >= 2) return;
  uint32_t most = 0;
  for (int w = 0; w < warps; ++w) most = max(most, shared[static_cast<int>(threadIdx.x) * warps + w]);
  atomicMax(range + threadIdx.x, most);
}

}  // namespace polar::cuda::router
