// The device reference and the device's generated inputs, checked against the host: same definitions, computed twice
// by different code.
#include <algorithm>
#include <cmath>
#include <string>

#include "../src/native/common/error.h"
#include "../src/native/common/half.h"
#include "../src/native/reference/reference.h"
#include "reference_results.h"

namespace polar::cuda {
namespace {

constexpr int64_t kMaxElements = int64_t{1} << 24;  // inputs worth generating on the host
constexpr double kMaxWork = 2e8;                    // multiply-adds, a second or so

std::vector<uint16_t> generate(const PolarProblem& p, Tensor tensor) {
  std::vector<uint16_t> values(static_cast<size_t>(tensor_elements(p, tensor)));
  const uint64_t key = stream_key(p.seed, tensor, 0);
  const float scale = tensor_scale(p, tensor);
  const bool cache = tensor == Tensor::kKey || tensor == Tensor::kValue;
  for (size_t i = 0; i < values.size(); ++i) {
    const bool past_end = cache && static_cast<int64_t>(i) / p.head_dim % p.kv_capacity >= p.kv_len;
    values[i] = past_end ? kHalfNaN : float_to_half(random_value(key, i, scale), p.dtype);
  }
  return values;
}

const uint16_t* data_or_null(const std::vector<uint16_t>& values) { return values.empty() ? nullptr : values.data(); }

int64_t total_elements(const PolarProblem& p) {
  int64_t elements = 0;
  for (const Tensor tensor : kInputTensors) elements += tensor_elements(p, tensor);
  return elements;
}

// Rows 0, step, 2 step, ... so that their work stays within the budget.
int64_t row_step(int64_t rows, double work_per_row) {
  const double affordable = std::max(1.0, kMaxWork / work_per_row);
  return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(static_cast<double>(rows) / affordable)));
}

// Both references of one row. float64 results may differ by summation order; naive ones by the float32 order and then
// by a rounding step of the storage type.
void compare_row(const PolarProblem& p, int64_t row, const std::vector<double>& host_exact,
                 const std::vector<float>& host_naive, const ReferencePair& device) {
  const size_t columns = static_cast<size_t>(device.columns);
  const std::vector<double> exact = to_host<double>(device.exact.as<double>() + row * device.columns, columns);
  const std::vector<float> naive = to_host<float>(device.naive.as<float>() + row * device.columns, columns);
  double largest = 0, exact_gap = 0, naive_gap = 0;
  for (size_t c = 0; c < columns; ++c) {
    largest = std::max(largest, std::fabs(host_exact[c]));
    // A NaN must not slip through the maximum.
    const double gap = std::fabs(exact[c] - host_exact[c]);
    const double other = std::fabs(static_cast<double>(naive[c]) - host_naive[c]);
    exact_gap = gap <= exact_gap ? exact_gap : gap;
    naive_gap = other <= naive_gap ? naive_gap : other;
  }
  if (exact_gap <= 1e-10 * largest && naive_gap <= 4 * tolerance_epsilon(p.dtype) * largest) return;
  throw NativeError("E_NATIVE", "Expected the device reference to equal the host reference in row " +
                                    std::to_string(row) + ", got differences of " + std::to_string(exact_gap) +
                                    " (float64) and " + std::to_string(naive_gap) + " (naive), largest value " +
                                    std::to_string(largest));
}

void check_attention(const PolarProblem& p, const ReferencePair& device) {
  const std::vector<uint16_t> q = generate(p, Tensor::kQuery);
  const std::vector<uint16_t> k = generate(p, Tensor::kKey);
  const std::vector<uint16_t> v = generate(p, Tensor::kValue);
  std::vector<double> exact(static_cast<size_t>(p.head_dim));
  std::vector<float> naive(static_cast<size_t>(p.head_dim));
  const int64_t step = row_step(device.rows, 2.0 * static_cast<double>(p.kv_len * p.head_dim));
  for (int64_t row = 0; row < device.rows; row += step) {
    attention_row_reference(p, q.data(), k.data(), v.data(), row / p.num_qo_heads, row % p.num_qo_heads, nullptr, 0,
                            exact.data(), naive.data());
    compare_row(p, row, exact, naive, device);
  }
}

void check_mlp(const PolarProblem& p, const PolarCandidate& candidate, ReferenceResults& results) {
  const std::vector<uint16_t> x = generate(p, Tensor::kInput), w1 = generate(p, Tensor::kUp);
  const std::vector<uint16_t> b1 = generate(p, Tensor::kUpBias), w2 = generate(p, Tensor::kDown);
  const std::vector<uint16_t> b2 = generate(p, Tensor::kDownBias), given = generate(p, Tensor::kHidden);
  const std::vector<int32_t> selected = neuron_index(p, candidate, 0);
  std::vector<int32_t> all(static_cast<size_t>(p.intermediate_size));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int32_t>(i);
  std::vector<double> hidden_exact(all.size()), picked_exact(selected.size());
  std::vector<float> hidden_naive(all.size()), picked_naive(selected.size());
  std::vector<double> exact(static_cast<size_t>(p.hidden_size));
  std::vector<float> naive(static_cast<size_t>(p.hidden_size));
  const double per_row = static_cast<double>(p.intermediate_size * p.hidden_size * (up_rows(p) + 1));
  const int64_t step = row_step(p.batch_size, per_row);
  for (int64_t b = 0; b < p.batch_size; b += step) {
    if (has_up(p)) {
      mlp_up_row_reference(p, x.data(), w1.data(), data_or_null(b1), b, all.data(), p.intermediate_size,
                           hidden_exact.data(), hidden_naive.data());
    } else {
      for (size_t i = 0; i < all.size(); ++i) {
        hidden_naive[i] = half_to_float(given[static_cast<size_t>(b) * all.size() + i], p.dtype);
        hidden_exact[i] = hidden_naive[i];
      }
    }
    compare_row(p, b, hidden_exact, hidden_naive, results.hidden());
    if (!has_down(p)) continue;
    for (size_t i = 0; i < selected.size(); ++i) {
      picked_exact[i] = hidden_exact[static_cast<size_t>(selected[i])];
      picked_naive[i] = hidden_naive[static_cast<size_t>(selected[i])];
    }
    mlp_down_row_reference(p, picked_exact.data(), picked_naive.data(), w2.data(), data_or_null(b2), selected.data(),
                           static_cast<int64_t>(selected.size()), exact.data(), naive.data());
    compare_row(p, b, exact, naive, results.down(selected));
  }
}

}  // namespace

void check_against_host(const PolarProblem& p, const PolarCandidate& candidate, ReferenceResults& results) {
  if (total_elements(p) > kMaxElements) return;
  if (is_attention(p)) {
    check_attention(p, results.attention());
  } else {
    check_mlp(p, candidate, results);
  }
}

}  // namespace polar::cuda
