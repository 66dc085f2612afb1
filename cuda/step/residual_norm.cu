#include <string>

#include "../common/check.h"
#include "../device/dependent.cuh"
#include "../device/half.cuh"
#include "kernels.h"

namespace polar::cuda::step {
namespace {

constexpr int kVector = 8;  // elements of a 16-byte access
// Threads of a block whose threads hold 1, 2 or 4 vectors of the row, its scale and its biases in registers.
constexpr int max_threads(int vectors_per_thread) {
  return vectors_per_thread == 1 ? 1024 : vectors_per_thread == 2 ? 768 : 512;
}
constexpr int kMaxVectors = 4;

struct alignas(16) Pack {
  uint16_t bits[kVector];
};

// Count, mean and sum of squared deviations from it; Chan, Golub and LeVeque's update joins two of them without the
// cancellation of a difference of sums. RMSNorm keeps the mean at zero.
struct Moments {
  float count, mean, squares;
};

__device__ __forceinline__ Moments join(Moments a, Moments b) {
  const float count = a.count + b.count;
  const float share = count > 0.0f ? b.count / count : 0.0f;
  const float delta = b.mean - a.mean;
  return {count, a.mean + delta * share, a.squares + b.squares + delta * delta * a.count * share};
}

__device__ __forceinline__ Moments join_warp(Moments m) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const Moments other{__shfl_down_sync(~0u, m.count, offset), __shfl_down_sync(~0u, m.mean, offset),
                        __shfl_down_sync(~0u, m.squares, offset)};
    m = join(m, other);
  }
  return m;  // whole in lane 0
}

// The moments of the block, the same bits in every thread and every run.
__device__ __forceinline__ Moments join_block(Moments mine) {
  __shared__ Moments parts[max_threads(1) / 32];
  const int lane = threadIdx.x % 32, warps = static_cast<int>(blockDim.x) / 32;
  mine = join_warp(mine);
  if (lane == 0) parts[threadIdx.x / 32] = mine;
  __syncthreads();
  const Moments all = join_warp(lane < warps ? parts[lane] : Moments{});
  return {__shfl_sync(~0u, all.count, 0), __shfl_sync(~0u, all.mean, 0), __shfl_sync(~0u, all.squares, 0)};
}

template <int kVectors>
__device__ __forceinline__ Moments moments_of(const float (&values)[kVectors][kVector], int vectors, bool centred) {
  const float count = static_cast<float>(vectors * kVector);
  float sum = 0.0f, squares = 0.0f;
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
#pragma unroll
    for (int e = 0; e < kVector; ++e) sum += v < vectors ? values[v][e] : 0.0f;
  }
  const float mean = centred && vectors > 0 ? sum / count : 0.0f;
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
#pragma unroll
    for (int e = 0; e < kVector; ++e) {
      const float distance = v < vectors ? values[v][e] - mean : 0.0f;
      squares = fmaf(distance, distance, squares);
    }
  }
  return {count, mean, squares};
}

// The thread's elements of base + (delta + bias), which it stores where there is a delta.
template <int32_t kDtype>
__device__ __forceinline__ void add_residual(const ResidualNormArgs& a, int64_t at, const Pack& bias,
                                             float (&values)[kVector]) {
  Pack sum = static_cast<const Pack*>(a.base)[at];
  if (a.delta != nullptr) {
    const Pack delta = static_cast<const Pack*>(a.delta)[at];
#pragma unroll
    for (int e = 0; e < kVector; ++e) {
      const float added = half_bits_to_float(delta.bits[e], kDtype) + half_bits_to_float(bias.bits[e], kDtype);
      sum.bits[e] = float_to_half_bits(half_bits_to_float(sum.bits[e], kDtype) + added, kDtype);
    }
    static_cast<Pack*>(a.sum)[at] = sum;
  }
#pragma unroll
  for (int e = 0; e < kVector; ++e) values[e] = half_bits_to_float(sum.bits[e], kDtype);
}

__device__ __forceinline__ Pack bias_of(const ResidualNormArgs& a, int vector, bool inside) {
  return inside && a.bias != nullptr ? static_cast<const Pack*>(a.bias)[vector] : Pack{};
}

template <int32_t kDtype, int kVectors>
__global__ void __launch_bounds__(max_threads(kVectors)) residual_norm_kernel(const ResidualNormArgs a) {
  const int vectors = static_cast<int>(a.columns / kVector);  // of the row
  const int64_t first = blockIdx.x * static_cast<int64_t>(vectors);
  Pack scale[kVectors], bias[kVectors], delta_bias[kVectors];
  float values[kVectors][kVector];
  int mine = 0;
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {  // weights are there before the kernels in front have ended
    const int i = static_cast<int>(threadIdx.x + v * blockDim.x);
    const bool inside = i < vectors;
    mine += inside ? 1 : 0;
    scale[v] = inside && a.scale != nullptr ? static_cast<const Pack*>(a.scale)[i] : Pack{};
    if constexpr (kVectors < kMaxVectors) bias[v] = bias_of(a, i, inside);
    delta_bias[v] = inside && a.delta_bias != nullptr ? static_cast<const Pack*>(a.delta_bias)[i] : Pack{};
  }
  wait_for_dependencies();
  allow_dependents();
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    const int i = static_cast<int>(threadIdx.x + v * blockDim.x);
    if (i < vectors) add_residual<kDtype>(a, first + i, delta_bias[v], values[v]);
  }
  if (a.scale == nullptr) return;
  const Moments row = join_block(moments_of(values, mine, a.norm == POLAR_NORM_LAYER));
  const float inverse = rsqrtf(row.squares / row.count + a.epsilon);
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    const int i = static_cast<int>(threadIdx.x + v * blockDim.x);
    if (i >= vectors) continue;
    // With four vectors a thread has no registers left to hold it from the start: sm_80 spilled.
    if constexpr (kVectors == kMaxVectors) bias[v] = bias_of(a, i, true);
    Pack out;
#pragma unroll
    for (int e = 0; e < kVector; ++e) {
      const float unit = (values[v][e] - row.mean) * inverse;
      out.bits[e] = float_to_half_bits(
          fmaf(unit, half_bits_to_float(scale[v].bits[e], kDtype), half_bits_to_float(bias[v].bits[e], kDtype)),
          kDtype);
    }
    static_cast<Pack*>(a.normed)[first + i] = out;
  }
}

using Kernel = void (*)(ResidualNormArgs);
template <int32_t kDtype>
Kernel kernel_of(int vectors_per_thread) {
  return vectors_per_thread == 1   ? residual_norm_kernel<kDtype, 1>
         : vectors_per_thread == 2 ? residual_norm_kernel<kDtype, 2>
                                   : residual_norm_kernel<kDtype, kMaxVectors>;
}

}  // namespace

void check_residual_norm(int64_t columns) {
  constexpr int64_t kMost = kMaxVectors * max_threads(kMaxVectors) * kVector;
  if (columns <= kMost) return;
  throw NativeError("E_UNSUPPORTED", "Expected at most " + std::to_string(kMost) +
                                         " for hidden_size of a layer or step, got " + std::to_string(columns));
}

void launch_residual_norm(int32_t dtype, const ResidualNormArgs& args, bool dependent, cudaStream_t stream) {
  const int64_t vectors = args.columns / kVector;
  int per_thread = 1;
  while (vectors > per_thread * max_threads(per_thread)) per_thread *= 2;
  const auto threads = static_cast<unsigned>(((vectors + per_thread - 1) / per_thread + 31) / 32 * 32);
  const Kernel kernel = dtype == POLAR_BF16 ? kernel_of<POLAR_BF16>(per_thread) : kernel_of<POLAR_FP16>(per_thread);
  launch_kernel(kernel, static_cast<unsigned>(args.rows), threads, 0, dependent, stream, args);
}

}  // namespace polar::cuda::step
