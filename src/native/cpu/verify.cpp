#include "verify.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>

#include "../common/half.h"
#include "../common/problem.h"
#include "../reference/reference.h"

namespace polar::cpu {
namespace {

template <typename Value>
RowError compare(Value value_at, const double* exact, const float* naive, int64_t columns) {
  RowError row;
  for (int64_t i = 0; i < columns; ++i) {
    const double error = std::fabs(static_cast<double>(value_at(i)) - exact[i]);
    row.error = std::isfinite(error) ? std::max(row.error, error) : std::numeric_limits<double>::infinity();
    if (std::isinf(row.error)) break;
    row.naive = std::max(row.naive, std::fabs(static_cast<double>(naive[i]) - exact[i]));
    row.reference = std::max(row.reference, std::fabs(exact[i]));
  }
  return row;
}

// Calls body(i) for 0 <= i < total on all threads, `slice` items between two signs of life.
template <typename Body>
void in_slices(ThreadPool& pool, const Reporter& reporter, int64_t total, int64_t slice, Body body) {
  for (int64_t begin = 0; begin < total; begin += slice) {
    reporter.alive("verify", static_cast<double>(begin) / static_cast<double>(total));
    const int64_t end = std::min(total, begin + slice);
    std::atomic<int64_t> next{begin};
    pool.run([&](int) {
      for (int64_t i = next.fetch_add(1); i < end; i = next.fetch_add(1)) body(i);
    });
  }
}

// Items of `cost` multiply-adds each that all threads do in about a third of a second (some 0.5 G a second and thread).
int64_t slice_of(const ThreadPool& pool, double cost) {
  const double items = 1.5e8 / std::max(1.0, cost) * pool.size();
  return std::clamp<int64_t>(static_cast<int64_t>(items), pool.size(), int64_t{1} << 20);
}

}  // namespace

RowError compare_row(const uint16_t* out, const double* exact, const float* naive, int64_t columns, int32_t dtype) {
  return compare([&](int64_t i) { return half_to_float(out[i], dtype); }, exact, naive, columns);
}

RowError compare_row(const float* out, const double* exact, const float* naive, int64_t columns, int32_t /*dtype*/) {
  return compare([&](int64_t i) { return out[i]; }, exact, naive, columns);
}

std::vector<int64_t> choose_rows(uint64_t seed, int64_t total, int64_t rows) {
  std::vector<int64_t> chosen;
  if (rows <= 0 || rows >= total) {
    chosen.resize(static_cast<size_t>(total));
    std::iota(chosen.begin(), chosen.end(), int64_t{0});
    return chosen;
  }
  const uint64_t key = stream_key(seed, Tensor::kNoise, 1);
  // Selection sampling (Knuth 3.4.2 S).
  for (int64_t i = 0; i < total && static_cast<int64_t>(chosen.size()) < rows; ++i) {
    const double left = static_cast<double>(total - i);
    if (random_uniform(key, static_cast<uint64_t>(i)) * left < static_cast<double>(rows) - chosen.size()) {
      chosen.push_back(i);
    }
  }
  return chosen;
}

void Reference::attention(const uint16_t* out, const std::vector<int32_t>& group_index, int64_t active_groups,
                          int64_t rows, const Reporter& reporter, Verdict& verdict) {
  const int64_t group = group_size(p_);
  const int64_t d = p_.head_dim;
  std::vector<bool> active(static_cast<size_t>(p_.batch_size * p_.num_kv_heads), false);
  for (size_t i = 0; i < group_index.size(); ++i) {
    active[i / static_cast<size_t>(active_groups) * static_cast<size_t>(p_.num_kv_heads) +
           static_cast<size_t>(group_index[i])] = true;
  }
  const auto chosen = choose_rows(p_.seed, static_cast<int64_t>(group_index.size()) * group, rows);
  std::vector<RowError> errors(chosen.size());
  std::vector<int64_t> row_of(chosen.size());
  const double cost = 4.0 * static_cast<double>(p_.kv_len * d);
  in_slices(pool_, reporter, static_cast<int64_t>(chosen.size()), slice_of(pool_, cost), [&](int64_t i) {
    const int64_t entry = chosen[i] / group;
    const int64_t batch = entry / active_groups;
    const int64_t head = group_index[entry] * group + chosen[i] % group;
    std::vector<double> exact(static_cast<size_t>(d));
    std::vector<float> naive(static_cast<size_t>(d));
    attention_row_reference(p_, in_.q, in_.k, in_.v, batch, head, group_index.data() + batch * active_groups,
                            active_groups, exact.data(), naive.data());
    row_of[i] = batch * p_.num_qo_heads + head;
    errors[i] = compare_row(out + row_of[i] * d, exact.data(), naive.data(), d, p_.dtype);
  });
  for (size_t i = 0; i < chosen.size(); ++i) verdict.add(row_of[i], errors[i]);
  const std::vector<double> zero(static_cast<size_t>(d), 0.0);
  const std::vector<float> zero_naive(static_cast<size_t>(d), 0.0f);
  for (int64_t row = 0; row < p_.batch_size * p_.num_qo_heads; ++row) {
    if (active[static_cast<size_t>(row / group)]) continue;
    verdict.add(row, compare_row(out + row * d, zero.data(), zero_naive.data(), d, p_.dtype));
  }
}

void Reference::compute_hidden(int64_t row, const Reporter& reporter) {
  Hidden& h = hidden_[static_cast<size_t>(row)];
  if (!h.exact.empty()) return;
  std::vector<int32_t> all(static_cast<size_t>(p_.intermediate_size));
  std::iota(all.begin(), all.end(), 0);
  std::vector<double> exact(all.size());
  std::vector<float> naive(all.size());
  if (p_.scope == POLAR_SCOPE_MLP_DOWN) {
    for (size_t i = 0; i < all.size(); ++i) {
      naive[i] = half_to_float(in_.hidden[static_cast<size_t>(row) * all.size() + i], p_.dtype);
      exact[i] = naive[i];
    }
  } else {
    constexpr int64_t kPiece = 64;  // neurons
    const int64_t pieces = (p_.intermediate_size + kPiece - 1) / kPiece;
    const double cost = static_cast<double>(kPiece * up_rows(p_) * p_.hidden_size);
    in_slices(pool_, reporter, pieces, slice_of(pool_, cost), [&](int64_t piece) {
      const int64_t first = piece * kPiece;
      const int64_t count = std::min(kPiece, p_.intermediate_size - first);
      mlp_up_row_reference(p_, in_.x, in_.w1, in_.b1, row, all.data() + first, count, exact.data() + first,
                           naive.data() + first);
    });
  }
  h.exact = std::move(exact);
  h.naive = std::move(naive);
}

RowError Reference::mlp_row(const uint16_t* out, const std::vector<int32_t>& neurons, int64_t row) const {
  const Hidden& h = hidden_[static_cast<size_t>(row)];
  const int64_t count = static_cast<int64_t>(neurons.size());
  std::vector<double> hidden_exact(neurons.size());
  std::vector<float> hidden_naive(neurons.size());
  for (size_t i = 0; i < neurons.size(); ++i) {
    hidden_exact[i] = h.exact[static_cast<size_t>(neurons[i])];
    hidden_naive[i] = h.naive[static_cast<size_t>(neurons[i])];
  }
  if (p_.scope == POLAR_SCOPE_MLP_UP) {
    return compare_row(out + row * count, hidden_exact.data(), hidden_naive.data(), count, p_.dtype);
  }
  std::vector<double> exact(static_cast<size_t>(p_.hidden_size));
  std::vector<float> naive(static_cast<size_t>(p_.hidden_size));
  mlp_down_row_reference(p_, hidden_exact.data(), hidden_naive.data(), in_.w2, in_.b2, neurons.data(), count,
                         exact.data(), naive.data());
  return compare_row(out + row * p_.hidden_size, exact.data(), naive.data(), p_.hidden_size, p_.dtype);
}

void Reference::mlp(const uint16_t* out, const std::vector<int32_t>& neurons, int64_t rows, const Reporter& reporter,
                    Verdict& verdict) {
  hidden_.resize(static_cast<size_t>(p_.batch_size));
  const auto chosen = choose_rows(p_.seed, p_.batch_size, rows);
  for (int64_t row : chosen) compute_hidden(row, reporter);
  std::vector<RowError> errors(chosen.size());
  const double cost = 2.0 * static_cast<double>(neurons.size()) * static_cast<double>(p_.hidden_size);
  in_slices(pool_, reporter, static_cast<int64_t>(chosen.size()), slice_of(pool_, cost),
            [&](int64_t i) { errors[i] = mlp_row(out, neurons, chosen[i]); });
  for (size_t i = 0; i < chosen.size(); ++i) verdict.add(chosen[i], errors[i]);
}

}  // namespace polar::cpu
