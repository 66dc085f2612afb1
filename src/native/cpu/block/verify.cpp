#include "verify.h"

#include <algorithm>
#include <limits>

#include "../../common/problem.h"
#include "../parallel.h"
#include "../verify.h"

namespace polar::cpu {
namespace {

// In measure mode: a reference row of a large layer costs as much as a thousand runs of the kernels.
constexpr int64_t kMeasuredSequences = 2;
constexpr int64_t kMeasuredNeurons = 64;

// What a run wrote into a cache for one sequence [H_kv d_h].
std::vector<uint16_t> appended(const PolarProblem& p, const uint16_t* cache, int64_t batch) {
  std::vector<uint16_t> row;
  for (int64_t g = 0; g < p.num_kv_heads; ++g) {
    const uint16_t* at = cache + ((batch * p.num_kv_heads + g) * p.kv_capacity + p.kv_len - 1) * p.head_dim;
    row.insert(row.end(), at, at + p.head_dim);
  }
  return row;
}

constexpr RowError kWrong{std::numeric_limits<double>::infinity(), 0, 0};

}  // namespace

BlockVerifier::BlockVerifier(const PolarProblem& p, ThreadPool& pool, const Reporter& reporter, int64_t rows)
    : p_(p),
      rows_(rows),
      sequences_(choose_rows(p.seed, p.batch_size, std::min(rows, kMeasuredSequences))),
      parallel_(pool_for(pool, reporter)),
      verdict_(p.dtype) {}

bool BlockVerifier::wants(int64_t layer) const { return rows_ == 0 || layer < 2 || layer == p_.num_layers - 1; }

void BlockVerifier::add(int64_t row, const uint16_t* out, const Row& reference) {
  verdict_.add(row, compare_row(out, reference.exact.data(), reference.naive.data(),
                                static_cast<int64_t>(reference.exact.size()), p_.dtype));
}

void BlockVerifier::layer(int64_t layer, const LayerTensors& t, const LayerCounts& counts, const BlockSpace& s,
                          const uint16_t* x, const uint16_t* out) {
  const int32_t* neurons_of = counts.routes_neurons ? s.neuron_index : nullptr;
  for (int64_t b : sequences_) {
    const int32_t* groups_of = counts.routes_groups ? s.group_index + b * counts.groups : nullptr;
    const LayerRows reference = layer_reference(p_, t, stored_row(p_, x + b * p_.hidden_size, p_.hidden_size), b,
                                                {groups_of, counts.groups, neurons_of, counts.neurons}, parallel_);
    const int64_t row = layer * p_.batch_size + b;
    add(row, out + b * p_.hidden_size, reference.out);
    // The new key is one of N in the output: its own comparison, with the value's, finds what the output hides.
    add(row, appended(p_, t.k_cache, b).data(), reference.k);
    add(row, appended(p_, t.v_cache, b).data(), reference.v);
    if (counts.routes_groups) groups(layer, t, counts, s, reference.a, b);
  }
  if (counts.routes_neurons) neurons(layer, t, counts, s, x);
}

void BlockVerifier::groups(int64_t layer, const LayerTensors& t, const LayerCounts& counts, const BlockSpace& s,
                           const Row& a, int64_t batch) {
  verify_groups(p_, t.attention_router, a, s.group_scores + batch * p_.num_kv_heads,
                s.group_index + batch * counts.groups, counts.groups, layer * p_.batch_size + batch, parallel_,
                verdict_);
}

void BlockVerifier::neurons(int64_t layer, const LayerTensors& t, const LayerCounts& counts, const BlockSpace& s,
                            const uint16_t* x) {
  std::vector<Row> a;
  for (int64_t b = 0; b < p_.batch_size; ++b) {
    const Row row = stored_row(p_, x + b * p_.hidden_size, p_.hidden_size);
    a.push_back(norm_reference(p_, row, t.norm1_scale, t.norm1_bias));
  }
  verify_neurons(p_, t.mlp_router_down, t.mlp_router_up, a, s.neuron_scores, s.neuron_index, counts.neurons, rows_,
                 layer * p_.batch_size, parallel_, verdict_);
}

void BlockVerifier::end(const EndTensors& t, const BlockSpace& s, const uint16_t* x) {
  const int64_t base = p_.num_layers * p_.batch_size;
  for (int64_t b : sequences_) {
    const Row row = logits_reference(p_, t, stored_row(p_, x + b * p_.hidden_size, p_.hidden_size), parallel_);
    verdict_.add(base + b, compare_row(s.logits + b * p_.vocab_size, row.exact.data(), row.naive.data(), p_.vocab_size,
                                       p_.dtype));
  }
  for (int64_t b = 0; b < p_.batch_size; ++b) {
    int64_t best = 0;
    const float* logits = s.logits + b * p_.vocab_size;
    for (int64_t v = 1; v < p_.vocab_size; ++v) {
      if (logits[v] > logits[best]) best = v;
    }
    if (s.token[b] != best) verdict_.add(base + b, kWrong);
  }
}

void verify_groups(const PolarProblem& p, const uint16_t* weight, const Row& a, const float* scores,
                   const int32_t* index, int64_t top_k, int64_t row, const ParallelFor& parallel, Verdict& verdict) {
  const Row reference = attention_router_reference(p, weight, a, parallel);
  verdict.add(row, compare_row(scores, reference.exact.data(), reference.naive.data(), p.num_kv_heads, p.dtype));
  const std::vector<int32_t> expected = top_k_reference(scores, p.num_kv_heads, top_k);
  if (!std::equal(expected.begin(), expected.end(), index)) verdict.add(row, kWrong);
}

void verify_neurons(const PolarProblem& p, const uint16_t* down, const uint16_t* up, const std::vector<Row>& a,
                    const float* scores, const int32_t* index, int64_t top_k, int64_t columns, int64_t row,
                    const ParallelFor& parallel, Verdict& verdict) {
  const int64_t wanted = columns == 0 ? 0 : std::max(columns, kMeasuredNeurons);
  const std::vector<int64_t> chosen = choose_rows(p.seed, p.intermediate_size, wanted);
  Row reference{std::vector<double>(chosen.size(), 0.0), std::vector<float>(chosen.size(), 0.0f)};
  for (const Row& x : a) add_mlp_router_reference(p, down, up, x, chosen, parallel, reference);
  std::vector<float> own;
  for (int64_t n : chosen) own.push_back(scores[n]);
  verdict.add(row, compare_row(own.data(), reference.exact.data(), reference.naive.data(),
                               static_cast<int64_t>(own.size()), p.dtype));
  const std::vector<int32_t> expected = top_k_reference(scores, p.intermediate_size, top_k);
  if (!std::equal(expected.begin(), expected.end(), index)) verdict.add(row, kWrong);
}

}  // namespace polar::cpu
