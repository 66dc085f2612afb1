#include "../common/check.h"
#include "../device/half.cuh"
#include "reference.h"

namespace polar::cuda {
namespace {

constexpr int kThreads = 256;

unsigned blocks_for(int64_t count) { return static_cast<unsigned>((count + kThreads - 1) / kThreads); }

// Both references of out[b, row] = in[b] . weights[row], one thread per output. The input is 16-bit (`bits`) or a pair.
__global__ void __launch_bounds__(kThreads)
    reference_linear_kernel(const uint16_t* bits, const double* in_exact, const float* in_naive,
                            const uint16_t* weights, int64_t batch, int64_t rows, int64_t depth, int32_t dtype,
                            bool round_naive, double* exact, float* naive) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= batch * rows) return;
  const int64_t b = at / rows, row = at % rows;
  double sum = 0;
  float plain = 0;
  for (int64_t k = 0; k < depth; ++k) {
    const float weight = half_bits_to_float(weights[row * depth + k], dtype);
    const float rounded = bits != nullptr ? half_bits_to_float(bits[b * depth + k], dtype) : in_naive[b * depth + k];
    const double value = bits != nullptr ? static_cast<double>(rounded) : in_exact[b * depth + k];
    sum += value * static_cast<double>(weight);
    plain = __fadd_rn(plain, __fmul_rn(rounded, weight));
  }
  exact[at] = sum;
  naive[at] = round_naive ? round_to_dtype(plain, dtype) : plain;
}

// scores[n] = sum over b, ascending, of max(0, logits[b, n]).
__global__ void __launch_bounds__(kThreads)
    reference_scores_kernel(const double* logits_exact, const float* logits_naive, int64_t batch, int64_t neurons,
                            double* exact, float* naive) {
  const int64_t n = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (n >= neurons) return;
  double sum = 0;
  float plain = 0;
  for (int64_t b = 0; b < batch; ++b) {
    const double logit = logits_exact[b * neurons + n];
    const float rough = logits_naive[b * neurons + n];
    sum += logit < 0 ? 0 : logit;  // NaN stays NaN
    plain = __fadd_rn(plain, rough < 0 ? 0 : rough);
  }
  exact[n] = sum;
  naive[n] = plain;
}

}  // namespace

void launch_reference_attention_router(const PolarProblem& p, const void* x, const void* weight, double* exact,
                                       float* naive, cudaStream_t stream) {
  reference_linear_kernel<<<blocks_for(p.batch_size * p.num_kv_heads), kThreads, 0, stream>>>(
      static_cast<const uint16_t*>(x), nullptr, nullptr, static_cast<const uint16_t*>(weight), p.batch_size,
      p.num_kv_heads, p.hidden_size, p.dtype, false, exact, naive);
  CHECK_LAUNCH("reference_linear");
}

size_t reference_mlp_router_scratch_bytes(const PolarProblem& p) {
  const auto elements = static_cast<size_t>(p.batch_size * (p.mlp_router_rank + p.intermediate_size));
  return elements * (sizeof(double) + sizeof(float));
}

void launch_reference_mlp_router(const PolarProblem& p, const void* x, const void* down, const void* up, double* exact,
                                 float* naive, void* scratch, cudaStream_t stream) {
  const int64_t hidden = p.batch_size * p.mlp_router_rank, logits = p.batch_size * p.intermediate_size;
  double* hidden_exact = static_cast<double*>(scratch);
  double* logits_exact = hidden_exact + hidden;
  float* hidden_naive = reinterpret_cast<float*>(logits_exact + logits);
  float* logits_naive = hidden_naive + hidden;
  reference_linear_kernel<<<blocks_for(hidden), kThreads, 0, stream>>>(
      static_cast<const uint16_t*>(x), nullptr, nullptr, static_cast<const uint16_t*>(down), p.batch_size,
      p.mlp_router_rank, p.hidden_size, p.dtype, true, hidden_exact, hidden_naive);
  CHECK_LAUNCH("reference_linear");
  reference_linear_kernel<<<blocks_for(logits), kThreads, 0, stream>>>(
      nullptr, hidden_exact, hidden_naive, static_cast<const uint16_t*>(up), p.batch_size, p.intermediate_size,
      p.mlp_router_rank, p.dtype, false, logits_exact, logits_naive);
  CHECK_LAUNCH("reference_linear");
  reference_scores_kernel<<<blocks_for(p.intermediate_size), kThreads, 0, stream>>>(
      logits_exact, logits_naive, p.batch_size, p.intermediate_size, exact, naive);
  CHECK_LAUNCH("reference_scores");
}

}  // namespace polar::cuda
