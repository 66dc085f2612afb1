// The device reference and the device's generated inputs, checked against the host: same definitions, computed twice
// by different code.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

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

// Calls body(row) for rows 0, step, 2 step, ... below `rows` on every core; the first exception is thrown again.
template <typename Body>
void each_row(int64_t rows, int64_t step, const Body& body) {
  std::atomic<int64_t> next{0};
  std::exception_ptr failure;
  std::mutex mutex;
  const auto work = [&] {
    try {
      for (int64_t row = next.fetch_add(step); row < rows; row = next.fetch_add(step)) body(row);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      next = rows;
    }
  };
  const int64_t items = (rows + step - 1) / step;
  const int64_t cores = std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> threads;
  for (int64_t i = 1; i < std::min(items, cores); ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
}

// The device's two references, copied to the host once.
struct HostPair {
  explicit HostPair(const ReferencePair& device)
      : columns(device.columns),
        exact(to_host<double>(device.exact.as<double>(), static_cast<size_t>(device.rows * device.columns))),
        naive(to_host<float>(device.naive.as<float>(), static_cast<size_t>(device.rows * device.columns))) {}
  int64_t columns;
  std::vector<double> exact;
  std::vector<float> naive;
};

// Both references of one row. float64 results may differ by summation order; naive ones by the float32 order and then
// by a rounding step of the storage type.
void compare_row(const PolarProblem& p, int64_t row, const std::vector<double>& host_exact,
                 const std::vector<float>& host_naive, const HostPair& device) {
  const double* exact = device.exact.data() + row * device.columns;
  const float* naive = device.naive.data() + row * device.columns;
  double largest = 0, exact_gap = 0, naive_gap = 0;
  for (int64_t c = 0; c < device.columns; ++c) {
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
  const HostPair results(device);
  const int64_t step = row_step(device.rows, 2.0 * static_cast<double>(p.kv_len * p.head_dim));
  each_row(device.rows, step, [&](int64_t row) {
    std::vector<double> exact(static_cast<size_t>(p.head_dim));
    std::vector<float> naive(static_cast<size_t>(p.head_dim));
    attention_row_reference(p, q.data(), k.data(), v.data(), row / p.num_qo_heads, row % p.num_qo_heads, nullptr, 0,
                            exact.data(), naive.data());
    compare_row(p, row, exact, naive, results);
  });
}

// One sequence of the MLP: all hidden values, then the output from the selected ones.
struct MlpHostCheck {
  const PolarProblem& p;
  const std::vector<uint16_t> x = generate(p, Tensor::kInput), w1 = generate(p, Tensor::kUp);
  const std::vector<uint16_t> b1 = generate(p, Tensor::kUpBias), w2 = generate(p, Tensor::kDown);
  const std::vector<uint16_t> b2 = generate(p, Tensor::kDownBias), given = generate(p, Tensor::kHidden);

  void hidden(int64_t b, std::vector<double>& exact, std::vector<float>& naive) const {
    if (has_up(p)) {
      std::vector<int32_t> all(exact.size());
      for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int32_t>(i);
      mlp_up_row_reference(p, x.data(), w1.data(), data_or_null(b1), b, all.data(), p.intermediate_size, exact.data(),
                           naive.data());
      return;
    }
    for (size_t i = 0; i < exact.size(); ++i) {
      naive[i] = half_to_float(given[static_cast<size_t>(b) * exact.size() + i], p.dtype);
      exact[i] = naive[i];
    }
  }

  void down(const std::vector<int32_t>& selected, const std::vector<double>& hidden_exact,
            const std::vector<float>& hidden_naive, std::vector<double>& exact, std::vector<float>& naive) const {
    std::vector<double> picked_exact(selected.size());
    std::vector<float> picked_naive(selected.size());
    for (size_t i = 0; i < selected.size(); ++i) {
      picked_exact[i] = hidden_exact[static_cast<size_t>(selected[i])];
      picked_naive[i] = hidden_naive[static_cast<size_t>(selected[i])];
    }
    mlp_down_row_reference(p, picked_exact.data(), picked_naive.data(), w2.data(), data_or_null(b2), selected.data(),
                           static_cast<int64_t>(selected.size()), exact.data(), naive.data());
  }
};

void check_mlp(const PolarProblem& p, const PolarCandidate& candidate, ReferenceResults& results) {
  const MlpHostCheck host{p};
  const std::vector<int32_t> selected = neuron_index(p, candidate, 0);
  const HostPair hidden(results.hidden());
  const HostPair down = has_down(p) ? HostPair(results.down(selected)) : HostPair(ReferencePair());
  const double per_row = static_cast<double>(p.intermediate_size * p.hidden_size * (up_rows(p) + 1));
  each_row(p.batch_size, row_step(p.batch_size, per_row), [&](int64_t b) {
    std::vector<double> hidden_exact(static_cast<size_t>(p.intermediate_size));
    std::vector<float> hidden_naive(hidden_exact.size());
    host.hidden(b, hidden_exact, hidden_naive);
    compare_row(p, b, hidden_exact, hidden_naive, hidden);
    if (!has_down(p)) return;
    std::vector<double> exact(static_cast<size_t>(p.hidden_size));
    std::vector<float> naive(exact.size());
    host.down(selected, hidden_exact, hidden_naive, exact, naive);
    compare_row(p, b, exact, naive, down);
  });
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
