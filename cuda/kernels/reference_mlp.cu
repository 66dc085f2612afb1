#include "../common/check.h"
#include "../device/half.cuh"
#include "reference.h"

namespace polar::cuda {
namespace {

constexpr int kTile = 32;     // output tile of the up projection: 32 sequences x 32 neurons, k in steps of 32
constexpr int kColumns = 64;  // output tile of the down projection: 16 sequences x 64 columns
constexpr int kSequences = 16;
constexpr int kThreads = 256;
constexpr int kPer = 4;  // output elements per thread in both

__device__ double activate_exact(int32_t activation, double z) {
  constexpr double kSqrtHalf = 0.70710678118654752440;
  constexpr double kSqrtTwoOverPi = 0.79788456080286535588;
  switch (activation) {
    case POLAR_RELU:
      return z < 0 ? 0 : z;  // NaN stays NaN
    case POLAR_GELU:
      return 0.5 * z * (1 + erf(z * kSqrtHalf));
    case POLAR_GELU_TANH:
      return 0.5 * z * (1 + tanh(kSqrtTwoOverPi * (z + 0.044715 * z * z * z)));
    default:
      return z / (1 + exp(-z));
  }
}

struct Sums {
  double exact[kPer] = {};
  float naive[kPer] = {};
};

// Dot products of 32 sequences with 32 rows of W1, row r of the tile being w1 + r * row_stride. Thread (tx, ty) owns
// neuron tx and the sequences ty, ty + 8, ty + 16, ty + 24 of the tile.
__device__ Sums dot_tile(const uint16_t* x, const uint16_t* w, int64_t sequences, int64_t neurons, int64_t depth,
                         int64_t row_stride, int32_t dtype) {
  __shared__ float x_tile[kTile][kTile + 1];
  __shared__ float w_tile[kTile][kTile + 1];
  const int tx = threadIdx.x % kTile;
  const int ty = threadIdx.x / kTile;
  Sums sums;
  for (int64_t k0 = 0; k0 < depth; k0 += kTile) {
    __syncthreads();
    for (int r = ty; r < kTile; r += kThreads / kTile) {
      const bool inside = k0 + tx < depth;
      x_tile[r][tx] = inside && r < sequences ? half_bits_to_float(x[r * depth + k0 + tx], dtype) : 0.0f;
      w_tile[r][tx] = inside && r < neurons ? half_bits_to_float(w[r * row_stride + k0 + tx], dtype) : 0.0f;
    }
    __syncthreads();
    for (int k = 0; k < kTile; ++k) {
      for (int i = 0; i < kPer; ++i) {
        const float product = __fmul_rn(x_tile[ty + i * (kThreads / kTile)][k], w_tile[tx][k]);  // exact
        sums.exact[i] += static_cast<double>(product);
        sums.naive[i] = __fadd_rn(sums.naive[i], product);
      }
    }
  }
  return sums;
}

__global__ void __launch_bounds__(kThreads)
    reference_mlp_up_kernel(PolarProblem p, const uint16_t* x, const uint16_t* w1, const uint16_t* b1, double* exact,
                            float* naive) {
  const int64_t neuron0 = static_cast<int64_t>(blockIdx.x) * kTile;
  const int64_t sequence0 = static_cast<int64_t>(blockIdx.y) * kTile;
  const int64_t depth = p.hidden_size;
  const int64_t row_stride = (p.gated ? 2 : 1) * depth;
  const int64_t sequences = p.batch_size - sequence0;
  const int64_t neurons = p.intermediate_size - neuron0;
  const uint16_t* x0 = x + sequence0 * depth;
  const uint16_t* w0 = w1 + neuron0 * row_stride;
  const Sums first = dot_tile(x0, w0, sequences, neurons, depth, row_stride, p.dtype);
  Sums second;
  if (p.gated) second = dot_tile(x0, w0 + depth, sequences, neurons, depth, row_stride, p.dtype);

  const int64_t neuron = threadIdx.x % kTile;
  if (neuron >= neurons) return;
  const float bias = b1 != nullptr ? half_bits_to_float(b1[neuron0 + neuron], p.dtype) : 0.0f;
  for (int i = 0; i < kPer; ++i) {
    const int64_t sequence = threadIdx.x / kTile + i * (kThreads / kTile);
    if (sequence >= sequences) continue;
    const double gate_exact = activate_exact(p.activation, first.exact[i] + static_cast<double>(bias));
    const float z_naive = round_to_dtype(first.naive[i] + bias, p.dtype);
    float h_naive = round_to_dtype(static_cast<float>(activate_exact(p.activation, z_naive)), p.dtype);
    if (p.gated) h_naive = round_to_dtype(h_naive * round_to_dtype(second.naive[i], p.dtype), p.dtype);
    const int64_t at = (sequence0 + sequence) * p.intermediate_size + neuron0 + neuron;
    exact[at] = p.gated ? gate_exact * second.exact[i] : gate_exact;
    naive[at] = h_naive;
  }
}

__global__ void reference_widen_kernel(const uint16_t* src, int64_t count, int32_t dtype, double* exact, float* naive) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  naive[i] = half_bits_to_float(src[i], dtype);
  exact[i] = naive[i];
}

__global__ void __launch_bounds__(kThreads)
    reference_mlp_down_kernel(PolarProblem p, const double* hidden_exact, const float* hidden_naive, const uint16_t* w2,
                              const uint16_t* b2, const int32_t* index, int64_t num_neurons, double* exact,
                              float* naive) {
  __shared__ double h_exact[kTile][kSequences];
  __shared__ float h_naive[kTile][kSequences];
  const int64_t sequence0 = static_cast<int64_t>(blockIdx.y) * kSequences;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kColumns + threadIdx.x % kColumns;
  const int lane = threadIdx.x / kColumns;  // sequences lane, lane + 4, ...
  Sums sums;
  for (int64_t n0 = 0; n0 < num_neurons; n0 += kTile) {
    __syncthreads();
    for (int i = threadIdx.x; i < kTile * kSequences; i += kThreads) {
      const int n = i % kTile;
      const int64_t sequence = sequence0 + i / kTile;
      const bool inside = n0 + n < num_neurons && sequence < p.batch_size;
      const int64_t neuron = !inside ? 0 : index != nullptr ? index[n0 + n] : n0 + n;
      const int64_t at = sequence * p.intermediate_size + neuron;
      h_exact[n][i / kTile] = inside ? hidden_exact[at] : 0.0;
      h_naive[n][i / kTile] = inside ? hidden_naive[at] : 0.0f;
    }
    __syncthreads();
    if (column >= p.hidden_size) continue;
    for (int n = 0; n < kTile && n0 + n < num_neurons; ++n) {
      const int64_t neuron = index != nullptr ? index[n0 + n] : n0 + n;
      const float weight = half_bits_to_float(w2[neuron * p.hidden_size + column], p.dtype);
      for (int i = 0; i < kPer; ++i) {
        sums.exact[i] += h_exact[n][lane + 4 * i] * static_cast<double>(weight);
        sums.naive[i] = __fadd_rn(sums.naive[i], __fmul_rn(h_naive[n][lane + 4 * i], weight));
      }
    }
  }
  if (column >= p.hidden_size) return;
  const float bias = b2 != nullptr ? half_bits_to_float(b2[column], p.dtype) : 0.0f;
  for (int i = 0; i < kPer; ++i) {
    const int64_t sequence = sequence0 + lane + 4 * i;
    if (sequence >= p.batch_size) continue;
    exact[sequence * p.hidden_size + column] = sums.exact[i] + static_cast<double>(bias);
    naive[sequence * p.hidden_size + column] = round_to_dtype(sums.naive[i] + bias, p.dtype);
  }
}

unsigned divide_up(int64_t a, int64_t b) { return static_cast<unsigned>((a + b - 1) / b); }

}  // namespace

void launch_reference_mlp_up(const PolarProblem& p, const void* x, const void* w1, const void* b1, double* exact,
                             float* naive, cudaStream_t stream) {
  const dim3 grid(divide_up(p.intermediate_size, kTile), divide_up(p.batch_size, kTile));
  reference_mlp_up_kernel<<<grid, kThreads, 0, stream>>>(p, static_cast<const uint16_t*>(x),
                                                         static_cast<const uint16_t*>(w1),
                                                         static_cast<const uint16_t*>(b1), exact, naive);
  CHECK_LAUNCH("reference_mlp_up");
}

void launch_reference_widen(const PolarProblem& p, const void* src, int64_t count, double* exact, float* naive,
                            cudaStream_t stream) {
  reference_widen_kernel<<<divide_up(count, kThreads), kThreads, 0, stream>>>(static_cast<const uint16_t*>(src), count,
                                                                              p.dtype, exact, naive);
  CHECK_LAUNCH("reference_widen");
}

void launch_reference_mlp_down(const PolarProblem& p, const double* hidden_exact, const float* hidden_naive,
                               const void* w2, const void* b2, const int32_t* neuron_index, int64_t num_neurons,
                               double* exact, float* naive, cudaStream_t stream) {
  const dim3 grid(divide_up(p.hidden_size, kColumns), divide_up(p.batch_size, kSequences));
  reference_mlp_down_kernel<<<grid, kThreads, 0, stream>>>(
      p, hidden_exact, hidden_naive, static_cast<const uint16_t*>(w2), static_cast<const uint16_t*>(b2), neuron_index,
      num_neurons, exact, naive);
  CHECK_LAUNCH("reference_mlp_down");
}

}  // namespace polar::cuda
