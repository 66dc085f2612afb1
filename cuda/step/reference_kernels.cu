#include <algorithm>

#include "../../src/native/common/problem.h"
#include "../common/check.h"
#include "../device/half.cuh"
#include "reference_kernels.h"

namespace polar::cuda::step {
namespace {

constexpr int kThreads = 256;

unsigned blocks_for(int64_t items) { return static_cast<unsigned>((items + kThreads - 1) / kThreads); }
__device__ int64_t global_thread() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }
const uint16_t* halves(const void* data) { return static_cast<const uint16_t*>(data); }

// Read-only and writable views of a pair.
struct In {
  const double* exact;
  const float* naive;
};
struct Out {
  double* exact;
  float* naive;
};
In in_of(const ReferencePair& pair) { return {pair.exact.as<double>(), pair.naive.as<float>()}; }
Out out_of(ReferencePair& pair) { return {pair.exact.as<double>(), pair.naive.as<float>()}; }

struct Sums {
  double exact;
  float naive;
};

__device__ Sums block_sum(Sums mine) {
  __shared__ Sums values[kThreads];
  __syncthreads();
  values[threadIdx.x] = mine;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half) {
      values[threadIdx.x].exact += values[threadIdx.x + half].exact;
      values[threadIdx.x].naive += values[threadIdx.x + half].naive;
    }
  }
  __syncthreads();
  return values[0];
}

// A block per row.
__global__ void norm_kernel(PolarProblem p, In in, int64_t columns, const uint16_t* scale, const uint16_t* bias,
                            Out out) {
  const int64_t first = blockIdx.x * columns;
  const double count = static_cast<double>(columns);
  Sums mean{0.0, 0.0f};
  if (p.norm == POLAR_NORM_LAYER) {
    for (int64_t i = threadIdx.x; i < columns; i += kThreads) {
      mean.exact += in.exact[first + i];
      mean.naive += in.naive[first + i];
    }
    mean = block_sum(mean);
    mean = {mean.exact / count, mean.naive / static_cast<float>(columns)};
  }
  Sums squares{0.0, 0.0f};
  for (int64_t i = threadIdx.x; i < columns; i += kThreads) {
    const double exact = in.exact[first + i] - mean.exact;
    const float naive = in.naive[first + i] - mean.naive;
    squares.exact += exact * exact;
    squares.naive += naive * naive;
  }
  squares = block_sum(squares);
  const double deviation = sqrt(squares.exact / count + p.norm_epsilon);
  const float deviation_naive = sqrtf(squares.naive / static_cast<float>(columns) + static_cast<float>(p.norm_epsilon));
  for (int64_t i = threadIdx.x; i < columns; i += kThreads) {
    const float s = half_bits_to_float(scale[i], p.dtype);
    const float b = bias != nullptr ? half_bits_to_float(bias[i], p.dtype) : 0.0f;
    out.exact[first + i] = (in.exact[first + i] - mean.exact) / deviation * s + b;
    const float unit = round_to_dtype((in.naive[first + i] - mean.naive) / deviation_naive, p.dtype);
    out.naive[first + i] = round_to_dtype(unit * s + b, p.dtype);
  }
}

constexpr int kTileRows = 16, kTileColumns = 64, kTileDepth = 32;
constexpr int kPer = kTileRows * kTileColumns / kThreads;

// 16 rows x 64 columns of out; thread (column, lane) owns the rows lane, lane + 4, ...
__global__ void __launch_bounds__(kThreads)
    linear_kernel(int32_t dtype, In in, int64_t rows, int64_t depth, const uint16_t* weights, const uint16_t* bias,
                  int64_t columns, Out out) {
  __shared__ double x_exact[kTileRows][kTileDepth];
  __shared__ float x_naive[kTileRows][kTileDepth];
  __shared__ float w[kTileColumns][kTileDepth + 1];
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * kTileRows;
  const int64_t column0 = static_cast<int64_t>(blockIdx.x) * kTileColumns;
  const int column = threadIdx.x % kTileColumns, lane = threadIdx.x / kTileColumns;
  Sums sums[kPer] = {};
  for (int64_t k0 = 0; k0 < depth; k0 += kTileDepth) {
    __syncthreads();
    for (int i = threadIdx.x; i < kTileRows * kTileDepth; i += kThreads) {
      const int r = i / kTileDepth, k = i % kTileDepth;
      const bool inside = row0 + r < rows && k0 + k < depth;
      x_exact[r][k] = inside ? in.exact[(row0 + r) * depth + k0 + k] : 0.0;
      x_naive[r][k] = inside ? in.naive[(row0 + r) * depth + k0 + k] : 0.0f;
    }
    for (int i = threadIdx.x; i < kTileColumns * kTileDepth; i += kThreads) {
      const int c = i / kTileDepth, k = i % kTileDepth;
      const bool inside = column0 + c < columns && k0 + k < depth;
      w[c][k] = inside ? half_bits_to_float(weights[(column0 + c) * depth + k0 + k], dtype) : 0.0f;
    }
    __syncthreads();
    for (int k = 0; k < kTileDepth; ++k) {
      const float weight = w[column][k];
      for (int i = 0; i < kPer; ++i) {
        const int r = lane + i * (kThreads / kTileColumns);
        sums[i].exact += x_exact[r][k] * static_cast<double>(weight);
        sums[i].naive = __fadd_rn(sums[i].naive, __fmul_rn(x_naive[r][k], weight));
      }
    }
  }
  if (column0 + column >= columns) return;
  const float shift = bias != nullptr ? half_bits_to_float(bias[column0 + column], dtype) : 0.0f;
  for (int i = 0; i < kPer; ++i) {
    const int64_t row = row0 + lane + i * (kThreads / kTileColumns);
    if (row >= rows) continue;
    out.exact[row * columns + column0 + column] = sums[i].exact + static_cast<double>(shift);
    out.naive[row * columns + column0 + column] = round_to_dtype(sums[i].naive + shift, dtype);
  }
}

__device__ double activate(int32_t activation, double z) {
  switch (activation) {
    case POLAR_RELU:
      return z < 0 ? 0 : z;  // NaN stays NaN
    case POLAR_GELU:
      return 0.5 * z * (1 + erf(z * 0.70710678118654752440));
    case POLAR_GELU_TANH:
      return 0.5 * z * (1 + tanh(0.79788456080286535588 * (z + 0.044715 * z * z * z)));
    default:
      return z / (1 + exp(-z));
  }
}

__global__ void activate_kernel(PolarProblem p, In z, int64_t count, Out hidden) {
  const int64_t i = global_thread();
  if (i >= count) return;
  const int64_t at = p.gated ? 2 * i : i;
  const double exact = activate(p.activation, z.exact[at]);
  const float naive = round_to_dtype(static_cast<float>(activate(p.activation, z.naive[at])), p.dtype);
  hidden.exact[i] = p.gated ? exact * z.exact[at + 1] : exact;
  hidden.naive[i] = p.gated ? round_to_dtype(naive * z.naive[at + 1], p.dtype) : naive;
}

// A thread per pair (i, i + d_h / 2).
__global__ void rope_kernel(PolarProblem p, int64_t pairs, Out qkv) {
  const int64_t pair = global_thread();
  if (pair >= pairs) return;
  const int64_t half = p.head_dim / 2, heads = p.num_qo_heads + 2 * p.num_kv_heads;
  const int64_t row = pair / half, i = pair % half;
  if (row % heads >= p.num_qo_heads + p.num_kv_heads) return;  // values are not turned
  const double angle = static_cast<double>(p.kv_len - 1) *
                       pow(p.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(p.head_dim));
  const double c = cos(angle), s = sin(angle);
  const float cf = static_cast<float>(c), sf = static_cast<float>(s);
  const int64_t low = row * p.head_dim + i, high = low + half;
  const double x = qkv.exact[low], y = qkv.exact[high];
  qkv.exact[low] = x * c - y * s;
  qkv.exact[high] = y * c + x * s;
  const float xn = qkv.naive[low], yn = qkv.naive[high];
  qkv.naive[low] = round_to_dtype(xn * cf - yn * sf, p.dtype);
  qkv.naive[high] = round_to_dtype(yn * cf + xn * sf, p.dtype);
}

__global__ void add_kernel(int32_t dtype, In a, In b, int64_t count, Out out) {
  const int64_t i = global_thread();
  if (i >= count) return;
  out.exact[i] = a.exact[i] + b.exact[i];
  out.naive[i] = round_to_dtype(a.naive[i] + b.naive[i], dtype);
}

__global__ void relu_sum_kernel(In logits, int64_t rows, int64_t columns, Out scores) {
  const int64_t i = global_thread();
  if (i >= columns) return;
  Sums sum{0.0, 0.0f};
  for (int64_t row = 0; row < rows; ++row) {
    sum.exact += fmax(logits.exact[row * columns + i], 0.0);
    sum.naive += fmaxf(logits.naive[row * columns + i], 0.0f);
  }
  scores.exact[i] = sum.exact;
  scores.naive[i] = sum.naive;
}

}  // namespace

void reference_norm(const PolarProblem& p, const ReferencePair& in, const void* scale, const void* bias,
                    ReferencePair& out, cudaStream_t stream) {
  norm_kernel<<<static_cast<unsigned>(in.rows), kThreads, 0, stream>>>(p, in_of(in), in.columns, halves(scale),
                                                                       halves(bias), out_of(out));
  CHECK_LAUNCH("reference norm_kernel");
}

void reference_linear(const PolarProblem& p, const ReferencePair& in, const void* weights, const void* bias,
                      ReferencePair& out, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((out.columns + kTileColumns - 1) / kTileColumns),
                  static_cast<unsigned>((in.rows + kTileRows - 1) / kTileRows));
  linear_kernel<<<grid, kThreads, 0, stream>>>(p.dtype, in_of(in), in.rows, in.columns, halves(weights), halves(bias),
                                               out.columns, out_of(out));
  CHECK_LAUNCH("reference linear_kernel");
}

void reference_activate(const PolarProblem& p, const ReferencePair& z, ReferencePair& hidden, cudaStream_t stream) {
  const int64_t count = hidden.rows * hidden.columns;
  activate_kernel<<<blocks_for(count), kThreads, 0, stream>>>(p, in_of(z), count, out_of(hidden));
  CHECK_LAUNCH("reference activate_kernel");
}

void reference_rope(const PolarProblem& p, ReferencePair& qkv, cudaStream_t stream) {
  const int64_t pairs = p.batch_size * qkv_columns(p) / 2;
  rope_kernel<<<blocks_for(pairs), kThreads, 0, stream>>>(p, pairs, out_of(qkv));
  CHECK_LAUNCH("reference rope_kernel");
}

void reference_add(const PolarProblem& p, const ReferencePair& a, const ReferencePair& b, ReferencePair& out,
                   cudaStream_t stream) {
  const int64_t count = out.rows * out.columns;
  add_kernel<<<blocks_for(count), kThreads, 0, stream>>>(p.dtype, in_of(a), in_of(b), count, out_of(out));
  CHECK_LAUNCH("reference add_kernel");
}

void reference_relu_sum(const ReferencePair& logits, ReferencePair& scores, cudaStream_t stream) {
  relu_sum_kernel<<<blocks_for(logits.columns), kThreads, 0, stream>>>(in_of(logits), logits.rows, logits.columns,
                                                                       out_of(scores));
  CHECK_LAUNCH("reference relu_sum_kernel");
}

}  // namespace polar::cuda::step
