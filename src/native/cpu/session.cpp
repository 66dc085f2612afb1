#include "session.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "../common/problem.h"
#include "executable.h"
#include "machine.h"
#include "memory.h"
#include "spin.h"

namespace polar::cpu {
namespace {

bool is_spin(const PolarCandidate& c) { return std::strcmp(c.kernel, kSpinKernel) == 0; }

// Tensors of which every rotation copy has its own.
std::vector<TensorSpec> rotating_tensors(const PolarProblem& p) {
  std::vector<TensorSpec> specs;
  for (Tensor t : {Tensor::kKey, Tensor::kValue, Tensor::kUp, Tensor::kDown}) {
    const TensorSpec spec = tensor_spec(p, t);
    if (spec.elements > 0) specs.push_back(spec);
  }
  return specs;
}

// Small tensors that the previous layer has just written: one copy, warm, as in a real decode step.
std::vector<TensorSpec> resident_tensors(const PolarProblem& p) {
  std::vector<TensorSpec> specs;
  for (Tensor t : {Tensor::kQuery, Tensor::kInput, Tensor::kUpBias, Tensor::kDownBias, Tensor::kHidden}) {
    const TensorSpec spec = tensor_spec(p, t);
    if (spec.elements > 0) specs.push_back(spec);
  }
  return specs;
}

double sum_bytes(const std::vector<TensorSpec>& specs) {
  double bytes = 0;
  for (const TensorSpec& s : specs) bytes += s.bytes();
  return bytes;
}

class CpuSession final : public Session {
 public:
  CpuSession(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates, const PolarOptions& options,
             Isa isa, ThreadPool& pool, InputStore& store)
      : shared_{problem, isa, pool}, candidates_(candidates), cold_(options.cold_cache != 0), store_(store) {
    needs_inputs_ = std::any_of(candidates.begin(), candidates.end(), [](const auto& c) { return !is_spin(c); });
  }

  MemoryNeed memory() const override {
    MemoryNeed need;
    if (needs_inputs_) {
      need.required_bytes =
          sum_bytes(rotating_tensors(shared_.p)) + sum_bytes(resident_tensors(shared_.p)) + own_bytes();
    }
    need.available_bytes = usable_bytes(store_);
    return need;
  }

  void prepare(const Reporter& reporter) override {
    shared_.reporter = &reporter;
    if (!needs_inputs_) return;
    const auto rotating = rotating_tensors(shared_.p);
    const auto resident = resident_tensors(shared_.p);
    plan(rotating, reporter);
    std::vector<TensorCopies> wanted;
    for (const TensorSpec& spec : rotating) wanted.push_back({spec, shared_.copies});
    for (const TensorSpec& spec : resident) wanted.push_back({spec, 1});
    make_room(store_, wanted, own_bytes());
    const auto get = [&](Tensor tensor, int64_t copies) {
      const TensorSpec spec = tensor_spec(shared_.p, tensor);
      std::vector<const uint16_t*> pointers;
      if (spec.elements == 0) return pointers;
      const auto filled = store_.get(spec, copies, shared_.isa, shared_.pool, reporter);
      pointers.assign(filled.begin(), filled.end());
      return pointers;
    };
    const auto one = [&](Tensor tensor) {
      const auto pointers = get(tensor, 1);
      return pointers.empty() ? nullptr : pointers[0];
    };
    const auto front = [](const std::vector<const uint16_t*>& list) { return list.empty() ? nullptr : list[0]; };
    shared_.k = get(Tensor::kKey, shared_.copies);
    shared_.v = get(Tensor::kValue, shared_.copies);
    shared_.w1 = get(Tensor::kUp, shared_.copies);
    shared_.w2 = get(Tensor::kDown, shared_.copies);
    shared_.first = {one(Tensor::kQuery), front(shared_.k),       front(shared_.v),
                     one(Tensor::kInput), front(shared_.w1),      one(Tensor::kUpBias),
                     front(shared_.w2),   one(Tensor::kDownBias), one(Tensor::kHidden)};
    shared_.reference = std::make_unique<Reference>(shared_.p, shared_.first, shared_.pool);
    shared_.workspace = Buffer(scratch().workspace);
    shared_.out = Buffer(scratch().output);
  }

  std::unique_ptr<Executable> make(const PolarCandidate& candidate) override {
    if (is_spin(candidate)) return make_spin(shared_.p.seed, candidate.active_neurons, ++spins_);
    return make_executable(shared_, candidate);
  }

  int64_t rotation_copies() const override { return shared_.copies; }
  double rotation_bytes() const override { return rotation_bytes_; }

 private:
  struct Scratch {
    size_t workspace = 0;
    size_t output = 0;
  };

  // One output and one workspace serve all candidates; the largest decides.
  Scratch scratch() const {
    Scratch most;
    for (const PolarCandidate& c : candidates_) {
      if (is_spin(c)) continue;
      const int64_t active = active_count(shared_.p, c);
      most.workspace = std::max(
          most.workspace, find_kernel(shared_.p, c.kernel).workspace_bytes(shared_.p, active, shared_.pool.size()));
      most.output = std::max(most.output, output_bytes(shared_.p, c));
    }
    return most;
  }

  // Scratch, and the copy of the output that verification keeps.
  double own_bytes() const {
    return static_cast<double>(scratch().workspace) + 2.0 * static_cast<double>(scratch().output);
  }

  void plan(const std::vector<TensorSpec>& rotating, const Reporter& reporter) {
    const double copy = sum_bytes(rotating);
    double least = copy;
    for (const PolarCandidate& c : candidates_) {
      if (!is_spin(c)) least = std::min(least, touched_bytes(shared_.p, c));
    }
    if (cold_) {
      const double cache = last_level_cache_bytes();
      const double free = memory().available_bytes - own_bytes() - sum_bytes(resident_tensors(shared_.p));
      shared_.copies = plan_copies(copy, least, cache, free);
      const double distinct = least * static_cast<double>(shared_.copies);
      if (distinct < kRotationCaches * cache) {
        reporter.warn(-1, "Free memory allows " + std::to_string(shared_.copies) + " rotation copies, of which the " +
                              "sparsest candidate touches " + std::to_string(static_cast<int64_t>(distinct / 1e6)) +
                              " MB, less than 5x the last-level cache of " +
                              std::to_string(static_cast<int64_t>(cache / 1e6)) + " MB");
      }
    }
    rotation_bytes_ = least * static_cast<double>(shared_.copies);
  }

  Shared shared_;
  std::vector<PolarCandidate> candidates_;
  bool cold_;
  InputStore& store_;
  bool needs_inputs_ = false;
  double rotation_bytes_ = 0;
  int64_t spins_ = 0;
};

}  // namespace

double touched_bytes(const PolarProblem& p, const PolarCandidate& candidate) {
  const auto active = static_cast<double>(active_count(p, candidate));
  if (is_attention(p)) return 4.0 * active * static_cast<double>(p.batch_size * p.kv_len * p.head_dim);
  const double rows = (has_up(p) ? static_cast<double>(up_rows(p)) : 0.0) + (has_down(p) ? 1.0 : 0.0);
  return 2.0 * active * rows * static_cast<double>(p.hidden_size);
}

int64_t plan_copies(double copy_bytes, double least_touched, double cache_bytes, double free_bytes) {
  const double wanted = std::ceil(kRotationCaches * cache_bytes / least_touched);
  const double allowed = std::floor(kRotationShare * free_bytes / copy_bytes);
  return static_cast<int64_t>(std::max(1.0, std::min(wanted, allowed)));
}

std::unique_ptr<Session> open_session(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates,
                                      const PolarOptions& options, Isa isa, ThreadPool& pool, InputStore& store) {
  return std::make_unique<CpuSession>(problem, candidates, options, isa, pool, store);
}

}  // namespace polar::cpu
