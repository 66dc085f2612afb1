#include "../common/check.h"
#include "../device/dependent.cuh"
#include "../device/half.cuh"
#include "kernels.h"

namespace polar::cuda::step {
namespace {

constexpr int kThreads = 1024;

struct Best {
  float value;
  int32_t index;
};

// The larger value, the lower index on ties: associative, so the order of the reduction does not matter.
__device__ __forceinline__ Best better(Best a, Best b) {
  return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

__device__ __forceinline__ Best best_of_warp(Best mine) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const Best other{__shfl_xor_sync(~0u, mine.value, offset), __shfl_xor_sync(~0u, mine.index, offset)};
    mine = better(mine, other);
  }
  return mine;
}

// A block per sequence.
template <int32_t kDtype>
__global__ void __launch_bounds__(kThreads) argmax_kernel(const uint16_t* logits, int64_t vocab_size, int32_t* token) {
  wait_for_dependencies();
  const uint16_t* row = logits + blockIdx.x * vocab_size;
  Best best{-INFINITY, 0};
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < vocab_size; i += kThreads) {
    best = better(best, {half_bits_to_float(row[i], kDtype), static_cast<int32_t>(i)});
  }
  __shared__ Best bests[kThreads / 32];
  best = best_of_warp(best);
  if (threadIdx.x % 32 == 0) bests[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  best = best_of_warp(bests[threadIdx.x]);
  if (threadIdx.x == 0) token[blockIdx.x] = best.index;
}

}  // namespace

void launch_argmax(int32_t dtype, const void* logits, int64_t batch_size, int64_t vocab_size, int32_t* token,
                   bool dependent, cudaStream_t stream) {
  const auto kernel = dtype == POLAR_BF16 ? argmax_kernel<POLAR_BF16> : argmax_kernel<POLAR_FP16>;
  launch_kernel(kernel, static_cast<unsigned>(batch_size), kThreads, 0, dependent, stream,
                static_cast<const uint16_t*>(logits), vocab_size, token);
}

}  // namespace polar::cuda::step
