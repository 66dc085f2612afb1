#include "router_session.h"

#include <algorithm>
#include <string>

#include "../src/native/common/error.h"
#include "router_executable.h"

namespace polar::cuda {
namespace {

class RouterSession final : public Session {
 public:
  RouterSession(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates, const PolarOptions& options)
      : state_{problem, options, open_device(options.device), {}, {}, nullptr, {}, nullptr} {
    double rest = 0;
    for (const PolarCandidate& candidate : candidates) {
      Kind& kind = selects_groups(problem, candidate) ? attention_ : mlp_;
      kind.used = true;
      rest += own_bytes(candidate);
    }
    attention_.bytes = static_cast<double>(RouterInputs::copy_bytes(problem, true));
    mlp_.bytes = static_cast<double>(RouterInputs::copy_bytes(problem, false));
    need_.required_bytes = rest + attention_.once() + mlp_.once();
    need_.available_bytes = static_cast<double>(memory_info().available);
    // What is left after one copy of each goes to the larger kind first: it needs fewer copies.
    double spare = std::max(0.0, need_.available_bytes - need_.required_bytes);
    for (Kind* kind : {&mlp_, &attention_}) spare -= plan(*kind, spare);
  }

  MemoryNeed memory() const override { return need_; }

  void prepare(const Reporter& reporter) override {
    state_.reporter = &reporter;
    reporter.alive("fill", 0.0);
    for (Kind* kind : {&attention_, &mlp_}) {
      if (!kind->used) continue;
      if (!kind->rotation.complete) {
        reporter.warn(-1, "rotation covers " + std::to_string(static_cast<int64_t>(kind->distinct() / 1e6)) +
                              " MB of a router, less than 5 times the last-level cache: part of the inputs may be read"
                              " from it");
      }
      kind->inputs = RouterInputs(state_.problem, kind == &attention_, kind->rotation.copies, state_.stream);
    }
    state_.stream.synchronize("filling the inputs");
    reporter.alive("fill", 1.0);
  }

  std::unique_ptr<Executable> make(const PolarCandidate& candidate) override {
    const Kind& kind = selects_groups(state_.problem, candidate) ? attention_ : mlp_;
    return make_router_executable(state_, candidate, kind.inputs);
  }

  // Of the kind with the fewest.
  int64_t rotation_copies() const override { return fewest().rotation.copies; }
  double rotation_bytes() const override { return fewest().distinct(); }

 private:
  struct Kind {
    bool used = false;
    double bytes = 0;  // of one copy
    Rotation rotation{1, true};
    RouterInputs inputs;
    double once() const { return used ? bytes : 0.0; }
    double distinct() const { return bytes * static_cast<double>(rotation.copies); }
  };

  // A kernel that refuses the problem needs no memory; its own make() says why, and the cell's others go on.
  double own_bytes(const PolarCandidate& candidate) const {
    try {
      return static_cast<double>(router_executable_bytes(state_.problem, candidate, state_.device.info));
    } catch (const NativeError&) {
      return 0;
    }
  }

  // Decides on the copies; returns the bytes that they take beyond the first.
  double plan(Kind& kind, double spare) const {
    if (!kind.used) return 0;
    const PolarOptions& o = state_.options;
    if (o.cold_cache == 0 || o.mode == POLAR_MODE_VERIFY) return 0;
    kind.rotation = rotation_over(kind.bytes, state_.device.info.l2_bytes, copies_that_fit(spare, 0, kind.bytes));
    return kind.distinct() - kind.bytes;
  }

  const Kind& fewest() const {
    if (!attention_.used) return mlp_;
    if (!mlp_.used) return attention_;
    return mlp_.rotation.copies <= attention_.rotation.copies ? mlp_ : attention_;
  }

  SessionState state_;
  Kind attention_, mlp_;
  MemoryNeed need_;
};

}  // namespace

std::unique_ptr<Session> open_router_session(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates,
                                             const PolarOptions& options) {
  return std::make_unique<RouterSession>(problem, candidates, options);
}

}  // namespace polar::cuda
