#include "decoder.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "../common/half.h"
#include "../common/problem.h"
#include "reference.h"

namespace polar {
namespace {

constexpr int64_t kPiece = 64;  // outputs that one call of a parallel loop computes

float rounded(float value, int32_t dtype) { return half_to_float(float_to_half(value, dtype), dtype); }

Row zeros(int64_t count) {
  return {std::vector<double>(static_cast<size_t>(count), 0.0), std::vector<float>(static_cast<size_t>(count), 0.0f)};
}

// Calls body(first, count) for pieces of `total` outputs.
template <typename Body>
void in_pieces(int64_t total, const ParallelFor& parallel, Body body) {
  parallel((total + kPiece - 1) / kPiece, [&](int64_t i) { body(i * kPiece, std::min(kPiece, total - i * kPiece)); });
}

// Values [first, first + count) of a row.
Row slice(const Row& row, int64_t first, int64_t count) {
  return {{row.exact.begin() + first, row.exact.begin() + first + count},
          {row.naive.begin() + first, row.naive.begin() + first + count}};
}

// One head of decode attention over cached positions 0 .. N - 2 and the new key and value.
// q, k_new, v_new, out: [d_h], element type T; round(x) is what happens to scores, probabilities and the output.
template <typename T, typename Round>
void attention_head(const PolarProblem& p, const T* q, const uint16_t* k, const uint16_t* v, const T* k_new,
                    const T* v_new, Round round, T* out) {
  const int64_t d = p.head_dim;
  const int64_t last = p.kv_len - 1;
  const auto at = [&](const uint16_t* cache, const T* fresh, int64_t n, int64_t i) -> T {
    return n == last ? fresh[i] : static_cast<T>(half_to_float(cache[n * d + i], p.dtype));
  };
  std::vector<T> weight(static_cast<size_t>(p.kv_len));
  T highest = -INFINITY;
  for (int64_t n = 0; n <= last; ++n) {
    T dot = 0;
    for (int64_t i = 0; i < d; ++i) dot += q[i] * at(k, k_new, n, i);
    weight[n] = round(dot / std::sqrt(static_cast<T>(d)));
    highest = std::max(highest, weight[n]);
  }
  T sum = 0;
  for (T& w : weight) {
    w = std::exp(w - highest);
    sum += w;
  }
  std::vector<T> acc(static_cast<size_t>(d), T(0));
  for (int64_t n = 0; n <= last; ++n) {
    const T probability = round(weight[n] / sum);
    for (int64_t i = 0; i < d; ++i) acc[i] += probability * at(v, v_new, n, i);
  }
  for (int64_t i = 0; i < d; ++i) out[i] = round(acc[i]);
}

// The attention of all heads of one sequence; rows of unselected groups are zero.
Row attention_reference(const PolarProblem& p, const LayerTensors& t, const Row& q, const LayerRows& rows,
                        int64_t batch, const LayerSelection& selection, const ParallelFor& parallel) {
  Row out = zeros(p.num_qo_heads * p.head_dim);
  const auto exact = [](double x) { return x; };
  const auto naive = [&](float x) { return rounded(x, p.dtype); };
  parallel(p.num_qo_heads, [&](int64_t head) {
    const int64_t group = head / group_size(p);
    const int32_t* end = selection.groups + selection.num_groups;
    if (selection.groups != nullptr && std::find(selection.groups, end, static_cast<int32_t>(group)) == end) return;
    const int64_t cache = (batch * p.num_kv_heads + group) * p.kv_capacity * p.head_dim;
    const int64_t at = head * p.head_dim;
    const int64_t fresh = group * p.head_dim;
    attention_head<double>(p, q.exact.data() + at, t.k_cache + cache, t.v_cache + cache, rows.k.exact.data() + fresh,
                           rows.v.exact.data() + fresh, exact, out.exact.data() + at);
    attention_head<float>(p, q.naive.data() + at, t.k_cache + cache, t.v_cache + cache, rows.k.naive.data() + fresh,
                          rows.v.naive.data() + fresh, naive, out.naive.data() + at);
  });
  return out;
}

// into += row, naive rounded afterwards: the sum is what the next kernel reads.
void add_rounded(const PolarProblem& p, Row& into, const Row& row) {
  for (size_t i = 0; i < into.exact.size(); ++i) {
    into.exact[i] += row.exact[i];
    into.naive[i] += row.naive[i];
  }
  round_naive(p, into);
}

// Hidden activations of the neurons in the list.
Row hidden_reference(const PolarProblem& p, const LayerTensors& t, const Row& x, const std::vector<int32_t>& neurons,
                     const ParallelFor& parallel) {
  const int64_t per = up_rows(p);
  Row hidden = zeros(static_cast<int64_t>(neurons.size()));
  in_pieces(static_cast<int64_t>(neurons.size()), parallel, [&](int64_t first, int64_t count) {
    for (int64_t i = first; i < first + count; ++i) {
      const uint16_t* w = t.w1 + neurons[i] * per * p.hidden_size;
      const uint16_t* bias = t.b1 == nullptr ? nullptr : t.b1 + neurons[i];
      Row z = linear_reference(p, x, w, bias, 1, serial_for);
      round_naive(p, z);
      hidden.exact[i] = activate(p.activation, z.exact[0]);
      hidden.naive[i] = rounded(static_cast<float>(activate(p.activation, z.naive[0])), p.dtype);
      if (!p.gated) continue;
      Row up = linear_reference(p, x, w + p.hidden_size, nullptr, 1, serial_for);
      round_naive(p, up);
      hidden.exact[i] *= up.exact[0];
      hidden.naive[i] = rounded(hidden.naive[i] * up.naive[0], p.dtype);
    }
  });
  return hidden;
}

// MLP of one sequence, naive not rounded: the residual follows.
Row mlp_reference(const PolarProblem& p, const LayerTensors& t, const Row& x, const LayerSelection& selection,
                  const ParallelFor& parallel) {
  std::vector<int32_t> neurons(static_cast<size_t>(p.intermediate_size));
  std::iota(neurons.begin(), neurons.end(), 0);
  if (selection.neurons != nullptr) neurons.assign(selection.neurons, selection.neurons + selection.num_neurons);
  const Row hidden = hidden_reference(p, t, x, neurons, parallel);
  Row out = zeros(p.hidden_size);
  in_pieces(p.hidden_size, parallel, [&](int64_t first, int64_t count) {
    for (size_t n = 0; n < neurons.size(); ++n) {
      const uint16_t* w = t.w2 + neurons[n] * p.hidden_size;
      for (int64_t i = first; i < first + count; ++i) {
        const float weight = half_to_float(w[i], p.dtype);
        out.exact[i] += hidden.exact[n] * weight;
        out.naive[i] += hidden.naive[n] * weight;
      }
    }
    for (int64_t i = first; t.b2 != nullptr && i < first + count; ++i) {
      out.exact[i] += half_to_float(t.b2[i], p.dtype);
      out.naive[i] += half_to_float(t.b2[i], p.dtype);
    }
  });
  return out;
}

template <typename T>
void norm_values(const PolarProblem& p, const std::vector<T>& x, const uint16_t* scale, const uint16_t* bias,
                 std::vector<T>& out) {
  const auto count = static_cast<T>(x.size());
  const bool layer = p.norm == POLAR_NORM_LAYER;
  T mean = 0;
  for (T value : x) mean += value;
  mean = layer ? mean / count : T(0);
  T square = 0;
  for (T value : x) square += (value - mean) * (value - mean);
  const T inverse = 1 / std::sqrt(square / count + static_cast<T>(p.norm_epsilon));
  for (size_t i = 0; i < x.size(); ++i) {
    out[i] = (x[i] - mean) * inverse * half_to_float(scale[i], p.dtype);
    if (bias != nullptr) out[i] += half_to_float(bias[i], p.dtype);
  }
}

template <typename T>
void turn(T* x, int64_t head_dim, int64_t position, double theta) {
  const int64_t half = head_dim / 2;
  for (int64_t i = 0; i < half; ++i) {
    const double angle =
        static_cast<double>(position) * std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    const T c = static_cast<T>(std::cos(angle));
    const T s = static_cast<T>(std::sin(angle));
    const T low = x[i];
    const T high = x[i + half];
    x[i] = low * c - high * s;
    x[i + half] = high * c + low * s;
  }
}

}  // namespace

void serial_for(int64_t total, const std::function<void(int64_t)>& body) {
  for (int64_t i = 0; i < total; ++i) body(i);
}

Row stored_row(const PolarProblem& p, const uint16_t* values, int64_t count) {
  Row row = zeros(count);
  for (int64_t i = 0; i < count; ++i) {
    row.naive[i] = half_to_float(values[i], p.dtype);
    row.exact[i] = row.naive[i];
  }
  return row;
}

void round_naive(const PolarProblem& p, Row& row) {
  for (float& value : row.naive) value = rounded(value, p.dtype);
}

Row norm_reference(const PolarProblem& p, const Row& x, const uint16_t* scale, const uint16_t* bias) {
  Row out = zeros(static_cast<int64_t>(x.exact.size()));
  norm_values(p, x.exact, scale, bias, out.exact);
  norm_values(p, x.naive, scale, bias, out.naive);
  round_naive(p, out);
  return out;
}

Row linear_reference(const PolarProblem& p, const Row& x, const uint16_t* w, const uint16_t* bias, int64_t count,
                     const ParallelFor& parallel) {
  Row out = zeros(count);
  const auto width = static_cast<int64_t>(x.exact.size());
  in_pieces(count, parallel, [&](int64_t first, int64_t piece) {
    for (int64_t n = first; n < first + piece; ++n) {
      const uint16_t* row = w + n * width;
      double exact = 0;
      float naive = 0;
      for (int64_t i = 0; i < width; ++i) {
        const float weight = half_to_float(row[i], p.dtype);
        exact += x.exact[i] * weight;
        naive += x.naive[i] * weight;
      }
      const float add = bias == nullptr ? 0.0f : half_to_float(bias[n], p.dtype);
      out.exact[n] = exact + add;
      out.naive[n] = naive + add;
    }
  });
  return out;
}

void rope_reference(const PolarProblem& p, Row& row, int64_t heads, int64_t position) {
  for (int64_t h = 0; h < heads; ++h) {
    turn(row.exact.data() + h * p.head_dim, p.head_dim, position, p.rope_theta);
    turn(row.naive.data() + h * p.head_dim, p.head_dim, position, p.rope_theta);
  }
  round_naive(p, row);
}

LayerRows layer_reference(const PolarProblem& p, const LayerTensors& t, const Row& x, int64_t batch,
                          const LayerSelection& selection, const ParallelFor& parallel) {
  LayerRows rows;
  rows.a = norm_reference(p, x, t.norm1_scale, t.norm1_bias);
  Row qkv = linear_reference(p, rows.a, t.wqkv, t.bqkv, qkv_columns(p), parallel);
  round_naive(p, qkv);
  const int64_t queries = p.num_qo_heads * p.head_dim;
  const int64_t keys = p.num_kv_heads * p.head_dim;
  Row q = slice(qkv, 0, queries);
  rows.k = slice(qkv, queries, keys);
  rows.v = slice(qkv, queries + keys, keys);
  if (p.rope) {
    rope_reference(p, q, p.num_qo_heads, p.kv_len - 1);
    rope_reference(p, rows.k, p.num_kv_heads, p.kv_len - 1);
  }
  const Row attention = attention_reference(p, t, q, rows, batch, selection, parallel);
  Row y = linear_reference(p, attention, t.wo, t.bo, p.hidden_size, parallel);
  add_rounded(p, y, x);
  rows.out = mlp_reference(p, t, norm_reference(p, y, t.norm2_scale, t.norm2_bias), selection, parallel);
  add_rounded(p, rows.out, y);
  return rows;
}

Row attention_router_reference(const PolarProblem& p, const uint16_t* weight, const Row& a,
                               const ParallelFor& parallel) {
  return linear_reference(p, a, weight, nullptr, p.num_kv_heads, parallel);
}

void add_mlp_router_reference(const PolarProblem& p, const uint16_t* down, const uint16_t* up, const Row& a,
                              const std::vector<int64_t>& neurons, const ParallelFor& parallel, Row& scores) {
  Row hidden = linear_reference(p, a, down, nullptr, p.mlp_router_rank, parallel);
  round_naive(p, hidden);
  in_pieces(static_cast<int64_t>(neurons.size()), parallel, [&](int64_t first, int64_t count) {
    for (int64_t i = first; i < first + count; ++i) {
      const Row logit = linear_reference(p, hidden, up + neurons[i] * p.mlp_router_rank, nullptr, 1, serial_for);
      scores.exact[i] += std::max(0.0, logit.exact[0]);
      scores.naive[i] += std::max(0.0f, logit.naive[0]);
    }
  });
}

Row logits_reference(const PolarProblem& p, const EndTensors& t, const Row& x, const ParallelFor& parallel) {
  return linear_reference(p, norm_reference(p, x, t.norm_scale, t.norm_bias), t.head, nullptr, p.vocab_size, parallel);
}

std::vector<int32_t> top_k_reference(const float* scores, int64_t total, int64_t count) {
  std::vector<int32_t> order(static_cast<size_t>(total));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return scores[a] > scores[b]; });
  order.resize(static_cast<size_t>(count));
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace polar
