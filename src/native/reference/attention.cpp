#include <algorithm>
#include <cmath>
#include <vector>

#include "../common/half.h"
#include "../common/problem.h"
#include "reference.h"

namespace polar {
namespace {

float rounded(float value, int32_t dtype) { return half_to_float(float_to_half(value, dtype), dtype); }

bool contains(const int32_t* groups, int64_t count, int64_t group) {
  if (groups == nullptr) return true;
  return std::find(groups, groups + count, static_cast<int32_t>(group)) != groups + count;
}

// softmax(q K^T / sqrt(d_h)) V in float64.
void exact_row(const PolarProblem& p, const uint16_t* q, const uint16_t* k, const uint16_t* v, double* out) {
  const int64_t d = p.head_dim;
  std::vector<double> weight(static_cast<size_t>(p.kv_len));
  double highest = -INFINITY;
  for (int64_t n = 0; n < p.kv_len; ++n) {
    double dot = 0;
    for (int64_t i = 0; i < d; ++i) {
      dot += static_cast<double>(half_to_float(q[i], p.dtype)) * half_to_float(k[n * d + i], p.dtype);
    }
    weight[n] = dot / std::sqrt(static_cast<double>(d));
    highest = std::max(highest, weight[n]);
  }
  double sum = 0;
  for (double& w : weight) {
    w = std::exp(w - highest);
    sum += w;
  }
  std::fill(out, out + d, 0.0);
  for (int64_t n = 0; n < p.kv_len; ++n) {
    for (int64_t i = 0; i < d; ++i) out[i] += weight[n] / sum * half_to_float(v[n * d + i], p.dtype);
  }
}

// The same, with scores, probabilities and output rounded to the storage type and sums in float32.
void naive_row(const PolarProblem& p, const uint16_t* q, const uint16_t* k, const uint16_t* v, float* out) {
  const int64_t d = p.head_dim;
  std::vector<float> weight(static_cast<size_t>(p.kv_len));
  float highest = -INFINITY;
  for (int64_t n = 0; n < p.kv_len; ++n) {
    float dot = 0;
    for (int64_t i = 0; i < d; ++i) dot += half_to_float(q[i], p.dtype) * half_to_float(k[n * d + i], p.dtype);
    weight[n] = rounded(dot / std::sqrt(static_cast<float>(d)), p.dtype);
    highest = std::max(highest, weight[n]);
  }
  float sum = 0;
  for (float& w : weight) {
    w = std::exp(w - highest);
    sum += w;
  }
  std::vector<float> acc(static_cast<size_t>(d), 0.0f);
  for (int64_t n = 0; n < p.kv_len; ++n) {
    const float probability = rounded(weight[n] / sum, p.dtype);
    for (int64_t i = 0; i < d; ++i) acc[i] += probability * half_to_float(v[n * d + i], p.dtype);
  }
  for (int64_t i = 0; i < d; ++i) out[i] = rounded(acc[i], p.dtype);
}

}  // namespace

void attention_row_reference(const PolarProblem& p, const uint16_t* q, const uint16_t* k, const uint16_t* v,
                             int64_t batch, int64_t head, const int32_t* groups, int64_t num_groups, double* exact,
                             float* naive) {
  const int64_t group = head / group_size(p);
  if (!contains(groups, num_groups, group)) {
    std::fill(exact, exact + p.head_dim, 0.0);
    std::fill(naive, naive + p.head_dim, 0.0f);
    return;
  }
  const uint16_t* query = q + (batch * p.num_qo_heads + head) * p.head_dim;
  const int64_t cache = (batch * p.num_kv_heads + group) * p.kv_capacity * p.head_dim;
  exact_row(p, query, k + cache, v + cache, exact);
  naive_row(p, query, k + cache, v + cache, naive);
}

}  // namespace polar
