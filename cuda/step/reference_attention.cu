#include <algorithm>

#include "../../src/native/common/problem.h"
#include "../common/check.h"
#include "../device/half.cuh"
#include "reference_kernels.h"

namespace polar::cuda::step {
namespace {

constexpr int kThreads = 256;
constexpr int kMaxDim = 256;

struct Pair {
  double exact;
  float naive;
};

struct Args {
  PolarProblem p;
  const double* exact;  // qkv
  const float* naive;
  const uint16_t* k;
  const uint16_t* v;
  const int32_t* group_index;
  int64_t groups;
  double* out_exact;
  float* out_naive;
  double* exact_scores;  // [gridDim.x, kv_len]
  float* naive_scores;
  int64_t first_row;
};

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

// Element `i` of the key (or value) at position `n`: the newest one comes from qkv, whatever the cache holds there.
__device__ Pair element(const Args& a, const uint16_t* cache, int64_t cache_at, int64_t newest_at, int64_t n,
                        int64_t i) {
  if (n == a.p.kv_len - 1) return {a.exact[newest_at + i], a.naive[newest_at + i]};
  const float value = half_bits_to_float(cache[cache_at + n * a.p.head_dim + i], a.p.dtype);
  return {value, value};
}

// Scores of a row, then their exponentials; returns their sums.
__device__ Pair weights_of_row(const Args& a, int64_t q_at, int64_t cache_at, int64_t newest_at, double* s_exact,
                               float* s_naive) {
  const PolarProblem& p = a.p;
  __shared__ double q_exact[kMaxDim];
  __shared__ float q_naive[kMaxDim];
  if (threadIdx.x < p.head_dim) {
    q_exact[threadIdx.x] = a.exact[q_at + threadIdx.x];
    q_naive[threadIdx.x] = a.naive[q_at + threadIdx.x];
  }
  __syncthreads();
  Pair peak{-INFINITY, -INFINITY};
  for (int64_t n = threadIdx.x; n < p.kv_len; n += kThreads) {
    Pair dot{0.0, 0.0f};
    for (int64_t i = 0; i < p.head_dim; ++i) {
      const Pair key = element(a, a.k, cache_at, newest_at, n, i);
      dot.exact += q_exact[i] * key.exact;
      dot.naive = __fadd_rn(dot.naive, __fmul_rn(q_naive[i], key.naive));
    }
    s_exact[n] = dot.exact / sqrt(static_cast<double>(p.head_dim));
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
  return reduce_block(total, true);  // its barriers also make the weights visible to the whole block
}

// One block per (sequence, query head).
__global__ void __launch_bounds__(kThreads) attention_kernel(const Args a) {
  const PolarProblem& p = a.p;
  const int64_t row = a.first_row + blockIdx.x;
  const int64_t batch = row / p.num_qo_heads, head = row % p.num_qo_heads;
  const int64_t group = head / (p.num_qo_heads / p.num_kv_heads);
  bool active = a.group_index == nullptr;
  for (int64_t i = 0; !active && i < a.groups; ++i) active = a.group_index[batch * a.groups + i] == group;
  if (!active) {
    for (int64_t i = threadIdx.x; i < p.head_dim; i += kThreads) {
      a.out_exact[row * p.head_dim + i] = 0.0;
      a.out_naive[row * p.head_dim + i] = 0.0f;
    }
    return;
  }
  const int64_t first = batch * (p.num_qo_heads + 2 * p.num_kv_heads);
  const int64_t cache_at = (batch * p.num_kv_heads + group) * p.kv_capacity * p.head_dim;
  const int64_t newest_key = (first + p.num_qo_heads + group) * p.head_dim;
  const int64_t newest_value = newest_key + p.num_kv_heads * p.head_dim;
  double* s_exact = a.exact_scores + blockIdx.x * p.kv_len;
  float* s_naive = a.naive_scores + blockIdx.x * p.kv_len;
  const Pair total = weights_of_row(a, (first + head) * p.head_dim, cache_at, newest_key, s_exact, s_naive);

  // Thread (slice, dim): every slices-th position of one output column, then the slices are added in order.
  __shared__ Pair partial[kThreads];
  const int slices = kThreads / static_cast<int>(p.head_dim);
  const int dim = static_cast<int>(threadIdx.x % p.head_dim), slice = static_cast<int>(threadIdx.x / p.head_dim);
  Pair sum{0.0, 0.0f};
  for (int64_t n = slice; slice < slices && n < p.kv_len; n += slices) {
    const Pair value = element(a, a.v, cache_at, newest_value, n, dim);
    sum.exact += s_exact[n] * value.exact;
    const float weight = round_to_dtype(s_naive[n] / total.naive, p.dtype);
    sum.naive = __fadd_rn(sum.naive, __fmul_rn(weight, value.naive));
  }
  partial[threadIdx.x] = sum;
  __syncthreads();
  if (slice != 0) return;
  for (int other = 1; other < slices; ++other) {
    sum.exact += partial[other * p.head_dim + dim].exact;
    sum.naive += partial[other * p.head_dim + dim].naive;
  }
  a.out_exact[row * p.head_dim + dim] = sum.exact / total.exact;
  a.out_naive[row * p.head_dim + dim] = round_to_dtype(sum.naive, p.dtype);
}

}  // namespace

void reference_attention(const PolarProblem& p, const ReferencePair& qkv, const void* k, const void* v,
                         const int32_t* group_index, int64_t groups, ReferencePair& out, void* scratch,
                         cudaStream_t stream) {
  const int64_t rows = p.batch_size * p.num_qo_heads;
  const int64_t per_row = p.kv_len * static_cast<int64_t>(sizeof(double) + sizeof(float));
  const int64_t step = static_cast<int64_t>(reference_attention_scratch_bytes(p)) / per_row;
  double* exact_scores = static_cast<double*>(scratch);
  for (int64_t first = 0; first < rows; first += step) {
    const Args args{p,
                    qkv.exact.as<double>(),
                    qkv.naive.as<float>(),
                    static_cast<const uint16_t*>(k),
                    static_cast<const uint16_t*>(v),
                    group_index,
                    groups,
                    out.exact.as<double>(),
                    out.naive.as<float>(),
                    exact_scores,
                    reinterpret_cast<float*>(exact_scores + step * p.kv_len),
                    first};
    attention_kernel<<<static_cast<unsigned>(std::min(step, rows - first)), kThreads, 0, stream>>>(args);
    CHECK_LAUNCH("reference attention_kernel");
  }
}

}  // namespace polar::cuda::step
