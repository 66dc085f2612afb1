#include <algorithm>

#include "../common/check.h"
#include "../device/half.cuh"
#include "reference.h"

namespace polar::cuda {
namespace {

constexpr int kThreads = 256;
constexpr size_t kScratchLimit = size_t{256} << 20;

struct Pair {
  double exact;
  float naive;
};

// Rows (sequence, query head) whose scores are held at a time.
int64_t rows_at_once(const PolarProblem& p) {
  const int64_t per_row = p.kv_len * static_cast<int64_t>(sizeof(double) + sizeof(float));
  const int64_t fit = std::max<int64_t>(1, static_cast<int64_t>(kScratchLimit) / per_row);
  return std::min(fit, p.batch_size * p.num_qo_heads);
}

// Combines one value of every thread; all threads get the result. `sum` adds, otherwise the maximum is taken.
__device__ Pair reduce_block(Pair mine, bool sum) {
  __shared__ Pair values[kThreads];
  __syncthreads();
  values[threadIdx.x] = mine;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half) {
      Pair& a = values[threadIdx.x];
      const Pair b = values[threadIdx.x + half];
      a.exact = sum ? a.exact + b.exact : fmax(a.exact, b.exact);
      a.naive = sum ? a.naive + b.naive : fmaxf(a.naive, b.naive);
    }
  }
  __syncthreads();
  return values[0];
}

// One block per row. exact_scores and naive_scores: [gridDim.x, kv_len].
__global__ void __launch_bounds__(kThreads)
    reference_attention_kernel(PolarProblem p, const uint16_t* q, const uint16_t* k, const uint16_t* v, double* exact,
                               float* naive, double* exact_scores, float* naive_scores, int64_t first_row) {
  const int64_t row = first_row + blockIdx.x;
  const int64_t batch = row / p.num_qo_heads;
  const int64_t group = row % p.num_qo_heads / (p.num_qo_heads / p.num_kv_heads);
  const int64_t cache = (batch * p.num_kv_heads + group) * p.kv_capacity * p.head_dim;
  double* s_exact = exact_scores + blockIdx.x * p.kv_len;
  float* s_naive = naive_scores + blockIdx.x * p.kv_len;
  const double scale = 1.0 / sqrt(static_cast<double>(p.head_dim));

  Pair peak{-INFINITY, -INFINITY};
  for (int64_t n = threadIdx.x; n < p.kv_len; n += kThreads) {
    Pair dot{0.0, 0.0f};
    for (int64_t i = 0; i < p.head_dim; ++i) {
      // The product of two 16-bit values is exact in float32.
      const float product = __fmul_rn(half_bits_to_float(q[row * p.head_dim + i], p.dtype),
                                      half_bits_to_float(k[cache + n * p.head_dim + i], p.dtype));
      dot.exact += static_cast<double>(product);
      dot.naive = __fadd_rn(dot.naive, product);
    }
    s_exact[n] = dot.exact * scale;
    s_naive[n] = round_to_dtype(__fdiv_rn(dot.naive, sqrtf(static_cast<float>(p.head_dim))), p.dtype);
    peak.exact = fmax(peak.exact, s_exact[n]);
    peak.naive = fmaxf(peak.naive, s_naive[n]);
  }
  peak = reduce_block(peak, false);

  Pair total{0.0, 0.0f};
  for (int64_t n = threadIdx.x; n < p.kv_len; n += kThreads) {
    s_exact[n] = exp(s_exact[n] - peak.exact);
    s_naive[n] = expf(s_naive[n] - peak.naive);
    total.exact += s_exact[n];
    total.naive += s_naive[n];
  }
  total = reduce_block(total, true);  // its barriers also make the scores visible to the whole block

  // Thread (slice, dim): every slices-th position of one output column, then the slices are added in order.
  __shared__ Pair partial[kThreads];
  const int slices = kThreads / static_cast<int>(p.head_dim);
  const int dim = static_cast<int>(threadIdx.x % p.head_dim);
  const int slice = static_cast<int>(threadIdx.x / p.head_dim);
  Pair sum{0.0, 0.0f};
  for (int64_t n = slice; slice < slices && n < p.kv_len; n += slices) {
    const float value = half_bits_to_float(v[cache + n * p.head_dim + dim], p.dtype);
    sum.exact += s_exact[n] / total.exact * static_cast<double>(value);
    sum.naive = __fadd_rn(sum.naive, __fmul_rn(round_to_dtype(s_naive[n] / total.naive, p.dtype), value));
  }
  partial[threadIdx.x] = sum;
  __syncthreads();
  if (slice != 0) return;
  for (int other = 1; other < slices; ++other) {
    sum.exact += partial[other * p.head_dim + dim].exact;
    sum.naive += partial[other * p.head_dim + dim].naive;
  }
  exact[row * p.head_dim + dim] = sum.exact;
  naive[row * p.head_dim + dim] = round_to_dtype(sum.naive, p.dtype);
}

}  // namespace

size_t reference_attention_scratch_bytes(const PolarProblem& p) {
  return static_cast<size_t>(rows_at_once(p) * p.kv_len) * (sizeof(double) + sizeof(float));
}

void launch_reference_attention(const PolarProblem& p, const void* q, const void* k, const void* v, double* exact,
                                float* naive, void* scratch, cudaStream_t stream) {
  const int64_t rows = p.batch_size * p.num_qo_heads;
  const int64_t step = rows_at_once(p);
  double* exact_scores = static_cast<double*>(scratch);
  float* naive_scores = reinterpret_cast<float*>(exact_scores + step * p.kv_len);
  for (int64_t first = 0; first < rows; first += step) {
    const unsigned blocks = static_cast<unsigned>(std::min(step, rows - first));
    reference_attention_kernel<<<blocks, kThreads, 0, stream>>>(
        p, static_cast<const uint16_t*>(q), static_cast<const uint16_t*>(k), static_cast<const uint16_t*>(v), exact,
        naive, exact_scores, naive_scores, first);
    CHECK_LAUNCH("reference_attention");
  }
}

}  // namespace polar::cuda
