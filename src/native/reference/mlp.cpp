#include <vector>

#include "../common/half.h"
#include "../common/problem.h"
#include "reference.h"

namespace polar {
namespace {

float rounded(float value, int32_t dtype) { return half_to_float(float_to_half(value, dtype), dtype); }

// Both dot products of a row of X and a row of W1.
struct Dot {
  double exact = 0;
  float naive = 0;
};

Dot dot_row(const PolarProblem& p, const uint16_t* x, const uint16_t* w) {
  Dot dot;
  for (int64_t i = 0; i < p.hidden_size; ++i) {
    const float a = half_to_float(x[i], p.dtype);
    const float b = half_to_float(w[i], p.dtype);
    dot.exact += static_cast<double>(a) * b;
    dot.naive += a * b;
  }
  return dot;
}

}  // namespace

void mlp_up_row_reference(const PolarProblem& p, const uint16_t* x, const uint16_t* w1, const uint16_t* b1,
                          int64_t batch, const int32_t* neurons, int64_t num_neurons, double* exact, float* naive) {
  const uint16_t* row = x + batch * p.hidden_size;
  for (int64_t i = 0; i < num_neurons; ++i) {
    const int64_t n = neurons[i];
    const uint16_t* w = w1 + n * up_rows(p) * p.hidden_size;
    const float bias = b1 == nullptr ? 0.0f : half_to_float(b1[n], p.dtype);
    // The bias belongs to what the activation sees: the gate row of a gated MLP.
    const Dot first = dot_row(p, row, w);
    exact[i] = activate(p.activation, first.exact + bias);
    const float z = rounded(first.naive + bias, p.dtype);
    naive[i] = rounded(static_cast<float>(activate(p.activation, z)), p.dtype);
    if (!p.gated) continue;
    const Dot up = dot_row(p, row, w + p.hidden_size);
    exact[i] *= up.exact;
    naive[i] = rounded(naive[i] * rounded(up.naive, p.dtype), p.dtype);
  }
}

void mlp_down_row_reference(const PolarProblem& p, const double* hidden_exact, const float* hidden_naive,
                            const uint16_t* w2, const uint16_t* b2, const int32_t* neurons, int64_t num_neurons,
                            double* exact, float* naive) {
  const int64_t d = p.hidden_size;
  for (int64_t i = 0; i < d; ++i) {
    exact[i] = 0;
    naive[i] = 0;
  }
  for (int64_t n = 0; n < num_neurons; ++n) {
    const uint16_t* w = w2 + static_cast<int64_t>(neurons[n]) * d;
    for (int64_t i = 0; i < d; ++i) {
      const float weight = half_to_float(w[i], p.dtype);
      exact[i] += hidden_exact[n] * weight;
      naive[i] += hidden_naive[n] * weight;
    }
  }
  for (int64_t i = 0; i < d; ++i) {
    const float bias = b2 == nullptr ? 0.0f : half_to_float(b2[i], p.dtype);
    exact[i] += bias;
    naive[i] = rounded(naive[i] + bias, p.dtype);
  }
}

}  // namespace polar
