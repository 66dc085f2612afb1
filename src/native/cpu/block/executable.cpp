#include "executable.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "../../common/faults.h"
#include "../../common/problem.h"
#include "../../common/random.h"
#include "verify.h"

namespace polar::cpu {
namespace {

using Clock = std::chrono::steady_clock;

// Sensitive to every bit and to the order.
uint64_t digest(uint64_t seed, const void* data, size_t bytes) {
  const auto* from = static_cast<const std::byte*>(data);
  for (size_t i = 0; i < bytes; i += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, from + i, std::min(sizeof word, bytes - i));
    seed = mix64(seed ^ word);
  }
  return seed;
}

class BlockExecutable final : public Executable {
 public:
  BlockExecutable(BlockShared& shared, const PolarCandidate& candidate)
      : shared_(shared), space_(carve_block_space(shared.p, shared.pool.size(), shared.workspace.data())) {
    for (int64_t l = 0; l < shared.p.num_layers; ++l) counts_.push_back(layer_counts(shared.p, candidate, l));
    skip_tile_ = fault_active("skip-tile", candidate.kernel);
  }

  PolarVerification verify(int64_t rows, int32_t repeats) override {
    BlockVerifier verifier(shared_.p, shared_.pool, *shared_.reporter, rows);
    const uint64_t first = poisoned_run(&verifier);
    bool equal = true;
    for (int32_t i = 1; i < repeats; ++i) equal = poisoned_run(nullptr) == first && equal;
    return verifier.result(equal);
  }

  int64_t plan_sample(int64_t wanted) override {
    history_.clear();  // samples of another length, taken to find out this one
    taken_ = 0;
    return runs_ = std::max<int64_t>(1, wanted);
  }

  Sample sample() override {
    PartTimes times{};
    const auto start = Clock::now();
    PartClock clock(shared_.breakdown ? &times : nullptr);
    for (int64_t r = 0; r < runs_; ++r) run(clock);
    Sample sample;
    sample.ns = std::chrono::duration<double, std::nano>(Clock::now() - start).count() / static_cast<double>(runs_);
    if (shared_.breakdown && ++taken_ > shared_.warmup) {
      for (double& ns : times) ns /= static_cast<double>(runs_);
      history_.push_back({sample.ns, times});
    }
    return sample;
  }

  // The parts of the sample with the median duration (of an even number, the mean of the two in the middle): they sum
  // to the latency that is reported.
  std::vector<std::pair<std::string, double>> parts() override {
    std::vector<std::pair<std::string, double>> parts;
    if (history_.empty()) return parts;
    std::sort(history_.begin(), history_.end(), [](const Timed& a, const Timed& b) { return a.ns < b.ns; });
    const Timed& upper = history_[history_.size() / 2];
    const Timed& lower = history_[(history_.size() - 1) / 2];
    for (size_t i = 0; i < kPartNames.size(); ++i) {
      parts.emplace_back(kPartNames[i], 0.5 * (lower.parts[i] + upper.parts[i]));
    }
    return parts;
  }

 private:
  struct Timed {
    double ns;
    PartTimes parts;
  };

  Launch launch() const {
    return {shared_.p, inner(shared_.isa, shared_.p.dtype), shared_.pool, space_.scratch, skip_tile_};
  }
  bool step() const { return shared_.p.scope == POLAR_SCOPE_STEP; }

  // One run; the next one goes on with the resident layer where this one ends.
  void run(PartClock& clock) {
    const uint16_t* x = shared_.x;
    for (int64_t l = 0; l < shared_.p.num_layers; ++l) {
      uint16_t* out = space_.out[l % 2];
      run_layer(launch(), shared_.layers[static_cast<size_t>(shared_.next_layer)], counts_[static_cast<size_t>(l)],
                shared_.constants, space_, x, out, clock);
      if (++shared_.next_layer == static_cast<int64_t>(shared_.layers.size())) shared_.next_layer = 0;
      x = out;
      keep_alive();
    }
    if (step()) run_end(launch(), shared_.end, space_, x, clock);
  }

  // A step of a large model takes longer than a watcher waits for a sign of life.
  void keep_alive() {
    constexpr std::chrono::milliseconds kSilence{500};
    const auto now = Clock::now();
    if (now - last_sign_ < kSilence) return;
    last_sign_ = now;
    shared_.reporter->alive("sample", std::nan(""));
  }

  // The same from resident layer 0 on, every buffer and the appended positions NaN before each layer. Returns a digest
  // of all that was computed; the verifier may be null.
  uint64_t poisoned_run(BlockVerifier* verifier) {
    const PolarProblem& p = shared_.p;
    const size_t row = static_cast<size_t>(p.batch_size * p.hidden_size) * sizeof(uint16_t);
    std::vector<uint16_t> x(shared_.x, shared_.x + p.batch_size * p.hidden_size);
    PartClock clock(nullptr);
    uint64_t seen = 0;
    for (int64_t l = 0; l < p.num_layers; ++l) {
      shared_.reporter->alive("verify", static_cast<double>(l) / static_cast<double>(p.num_layers));
      const LayerTensors& t = shared_.layers[static_cast<size_t>(l) % shared_.layers.size()];
      const LayerCounts& counts = counts_[static_cast<size_t>(l)];
      poison(t);
      uint16_t* out = space_.out[l % 2];
      run_layer(launch(), t, counts, shared_.constants, space_, x.data(), out, clock);
      if (verifier != nullptr && verifier->wants(l)) verifier->layer(l, t, counts, space_, x.data(), out);
      seen = digest(digest_selection(seen, counts), out, row);
      x.assign(out, out + x.size());
    }
    if (step()) {
      std::memset(shared_.workspace.data(), 0xff, shared_.workspace.size());
      run_end(launch(), shared_.end, space_, x.data(), clock);
      if (verifier != nullptr) verifier->end(shared_.end, space_, x.data());
      seen = digest(seen, space_.logits, static_cast<size_t>(p.batch_size * p.vocab_size) * sizeof(float));
      seen = digest(seen, space_.token, static_cast<size_t>(p.batch_size) * sizeof(int32_t));
    }
    return seen;
  }

  uint64_t digest_selection(uint64_t seen, const LayerCounts& counts) const {
    const PolarProblem& p = shared_.p;
    if (counts.routes_groups) {
      seen = digest(seen, space_.group_scores, static_cast<size_t>(p.batch_size * p.num_kv_heads) * sizeof(float));
      seen = digest(seen, space_.group_index, static_cast<size_t>(p.batch_size * counts.groups) * sizeof(int32_t));
    }
    if (counts.routes_neurons) {
      seen = digest(seen, space_.neuron_scores, static_cast<size_t>(p.intermediate_size) * sizeof(float));
      seen = digest(seen, space_.neuron_index, static_cast<size_t>(counts.neurons) * sizeof(int32_t));
    }
    return seen;
  }

  // All ones is a NaN in bf16, fp16 and float32.
  void poison(const LayerTensors& t) {
    const PolarProblem& p = shared_.p;
    std::memset(shared_.workspace.data(), 0xff, shared_.workspace.size());
    for (int64_t i = 0; i < p.batch_size * p.num_kv_heads; ++i) {
      const int64_t at = (i * p.kv_capacity + p.kv_len - 1) * p.head_dim;
      std::memset(t.k_cache + at, 0xff, static_cast<size_t>(p.head_dim) * sizeof(uint16_t));
      std::memset(t.v_cache + at, 0xff, static_cast<size_t>(p.head_dim) * sizeof(uint16_t));
    }
  }

  BlockShared& shared_;
  BlockSpace space_;
  std::vector<LayerCounts> counts_;
  bool skip_tile_ = false;
  int64_t runs_ = 1;
  int64_t taken_ = 0;  // samples since the last plan
  std::vector<Timed> history_;
  Clock::time_point last_sign_ = Clock::now();
};

}  // namespace

std::unique_ptr<Executable> make_block_executable(BlockShared& shared, const PolarCandidate& candidate) {
  return std::make_unique<BlockExecutable>(shared, candidate);
}

}  // namespace polar::cpu
