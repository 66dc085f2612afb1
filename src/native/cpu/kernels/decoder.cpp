#include "decoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../../common/half.h"
#include "../../common/problem.h"

namespace polar::cpu {
namespace {

// Sums in double: a row is read from the caches, so their cost is small, and the order of the sums cannot matter.
void norm_row(const PolarProblem& p, const uint16_t* x, const uint16_t* scale, const uint16_t* bias, uint16_t* out) {
  const int64_t d = p.hidden_size;
  double mean = 0;
  double square = 0;
  for (int64_t i = 0; i < d; ++i) mean += half_to_float(x[i], p.dtype);
  mean = p.norm == POLAR_NORM_LAYER ? mean / static_cast<double>(d) : 0.0;
  for (int64_t i = 0; i < d; ++i) {
    const double centred = half_to_float(x[i], p.dtype) - mean;
    square += centred * centred;
  }
  const auto inverse = static_cast<float>(1 / std::sqrt(square / static_cast<double>(d) + p.norm_epsilon));
  const auto centre = static_cast<float>(mean);
  for (int64_t i = 0; i < d; ++i) {
    const float value = (half_to_float(x[i], p.dtype) - centre) * inverse * half_to_float(scale[i], p.dtype);
    out[i] = float_to_half(bias == nullptr ? value : value + half_to_float(bias[i], p.dtype), p.dtype);
  }
}

// Pairs (i, i + d_h/2); without angles a copy.
void turn(const PolarProblem& p, const uint16_t* x, const RopeAngles& angles, uint16_t* out) {
  if (angles.cosine == nullptr) {
    std::memcpy(out, x, static_cast<size_t>(p.head_dim) * sizeof(uint16_t));
    return;
  }
  const int64_t half = p.head_dim / 2;
  for (int64_t i = 0; i < half; ++i) {
    const float low = half_to_float(x[i], p.dtype);
    const float high = half_to_float(x[i + half], p.dtype);
    out[i] = float_to_half(low * angles.cosine[i] - high * angles.sine[i], p.dtype);
    out[i + half] = float_to_half(high * angles.cosine[i] + low * angles.sine[i], p.dtype);
  }
}

// Ascending with the value: a total order, also over infinities and NaN; both zeros alike.
uint32_t sort_key(float value) {
  uint32_t bits = float_bits(value + 0.0f);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0xffffffffu;
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

}  // namespace

void norm(const Launch& launch, const uint16_t* x, const uint16_t* scale, const uint16_t* bias, uint16_t* out) {
  const PolarProblem& p = launch.problem;
  launch.pool.run([&](int t) {
    const Span rows = share(p.batch_size, t, launch.pool.size());
    for (int64_t b = rows.begin; b < rows.end; ++b) {
      norm_row(p, x + b * p.hidden_size, scale, bias, out + b * p.hidden_size);
    }
  });
}

void fill_rope_angles(const PolarProblem& p, float* cosine, float* sine) {
  for (int64_t i = 0; i < p.head_dim / 2; ++i) {
    const double frequency = std::pow(p.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(p.head_dim));
    const double angle = static_cast<double>(p.kv_len - 1) * frequency;
    cosine[i] = static_cast<float>(std::cos(angle));
    sine[i] = static_cast<float>(std::sin(angle));
  }
}

void split_append(const Launch& launch, const uint16_t* qkv, const RopeAngles& angles, uint16_t* q, uint16_t* k_cache,
                  uint16_t* v_cache) {
  const PolarProblem& p = launch.problem;
  const int64_t d = p.head_dim;
  const int64_t heads = p.num_qo_heads + 2 * p.num_kv_heads;
  launch.pool.run([&](int t) {
    const Span span = share(p.batch_size * heads, t, launch.pool.size());
    for (int64_t i = span.begin; i < span.end; ++i) {
      const int64_t batch = i / heads;
      const int64_t head = i % heads;
      const uint16_t* from = qkv + i * d;
      if (head < p.num_qo_heads) {
        turn(p, from, angles, q + (batch * p.num_qo_heads + head) * d);
        continue;
      }
      const int64_t group = (head - p.num_qo_heads) % p.num_kv_heads;
      const int64_t at = ((batch * p.num_kv_heads + group) * p.kv_capacity + p.kv_len - 1) * d;
      if (head < p.num_qo_heads + p.num_kv_heads) {
        turn(p, from, angles, k_cache + at);
      } else {
        std::memcpy(v_cache + at, from, static_cast<size_t>(d) * sizeof(uint16_t));
      }
    }
  });
}

void argmax(const Launch& launch, const float* logits, int32_t* token) {
  const PolarProblem& p = launch.problem;
  launch.pool.run([&](int t) {
    const Span rows = share(p.batch_size, t, launch.pool.size());
    for (int64_t b = rows.begin; b < rows.end; ++b) {
      const float* row = logits + b * p.vocab_size;
      token[b] = static_cast<int32_t>(std::max_element(row, row + p.vocab_size) - row);  // the first of equals
    }
  });
}

void top_k(const float* scores, int64_t total, int64_t count, uint64_t* order, int32_t* index) {
  // One integer that falls with the score and rises with the index among equals: no look-up during the selection.
  for (int64_t i = 0; i < total; ++i) {
    order[i] = static_cast<uint64_t>(~sort_key(scores[i])) << 32 | static_cast<uint64_t>(i);
  }
  if (count < total) std::nth_element(order, order + count, order + total);
  for (int64_t i = 0; i < count; ++i) index[i] = static_cast<int32_t>(order[i]);
  std::sort(index, index + count);
}

}  // namespace polar::cpu
