#include "router_session.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <string>

#include "../common/faults.h"
#include "../common/problem.h"
#include "block/verify.h"
#include "buffer.h"
#include "kernels/router.h"
#include "machine.h"
#include "memory.h"
#include "parallel.h"
#include "session.h"

namespace polar::cpu {
namespace {

using Clock = std::chrono::steady_clock;

// Rotating weights of one kind of router; the other pointers of its copies are null.
struct RouterCopy {
  const uint16_t* attention;  // [H_kv, d]
  const uint16_t* down;       // [rank, d]
  const uint16_t* up;         // [D, rank]
};

struct RouterShared {
  PolarProblem p;
  Isa isa;
  ThreadPool& pool;
  const Reporter* reporter = nullptr;
  const uint16_t* x = nullptr;  // [B, d]
  std::vector<RouterCopy> attention{}, mlp{};
  size_t next_attention = 0, next_mlp = 0;
  Buffer workspace{};
};

// Output and workspace of both routers.
struct RouterSpace {
  float* scores;
  int32_t* index;
  std::byte* scratch;
};

RouterSpace carve(Carver& carver, const PolarProblem& p, int threads) {
  const auto most = static_cast<size_t>(std::max(p.batch_size * p.num_kv_heads, p.intermediate_size));
  RouterSpace s;
  s.scores = reinterpret_cast<float*>(carver.take(most * sizeof(float)));
  s.index = reinterpret_cast<int32_t*>(carver.take(most * sizeof(int32_t)));
  s.scratch =
      carver.take(std::max(attention_router_workspace_bytes(p, threads), mlp_router_workspace_bytes(p, threads)));
  return s;
}

size_t space_bytes(const PolarProblem& p, int threads) {
  Carver carver(nullptr);
  carve(carver, p, threads);
  return carver.used();
}

class RouterExecutable final : public Executable {
 public:
  RouterExecutable(RouterShared& shared, const PolarCandidate& candidate)
      : shared_(shared), groups_(selects_groups(shared.p, candidate)) {
    const PolarProblem& p = shared.p;
    Carver carver(shared.workspace.data());
    space_ = carve(carver, p, shared.pool.size());
    top_k_ = groups_ ? candidate.active_groups : candidate.active_neurons;
    num_scores_ = static_cast<size_t>(groups_ ? p.batch_size * p.num_kv_heads : p.intermediate_size);
    num_index_ = static_cast<size_t>(groups_ ? p.batch_size * top_k_ : top_k_);
    skip_tile_ = fault_active("skip-tile", candidate.kernel);
  }

  PolarVerification verify(int64_t rows, int32_t repeats) override {
    poisoned_run();
    const std::vector<float> scores(space_.scores, space_.scores + num_scores_);
    const std::vector<int32_t> index(space_.index, space_.index + num_index_);
    bool equal = true;
    for (int32_t i = 1; i < repeats; ++i) {
      shared_.reporter->alive("verify", static_cast<double>(i) / repeats);
      poisoned_run();
      equal = equal && std::memcmp(scores.data(), space_.scores, num_scores_ * sizeof(float)) == 0 &&
              std::equal(index.begin(), index.end(), space_.index);
    }
    Verdict verdict(shared_.p.dtype);
    compare(scores, index, rows, verdict);
    return verdict.result(equal);
  }

  int64_t plan_sample(int64_t wanted) override { return runs_ = std::max<int64_t>(1, wanted); }

  Sample sample() override {
    auto& next = groups_ ? shared_.next_attention : shared_.next_mlp;
    const size_t copies = (groups_ ? shared_.attention : shared_.mlp).size();
    const auto start = Clock::now();
    for (int64_t r = 0; r < runs_; ++r) {
      run(next);
      if (++next == copies) next = 0;
    }
    Sample sample;
    sample.ns = std::chrono::duration<double, std::nano>(Clock::now() - start).count() / static_cast<double>(runs_);
    return sample;
  }

 private:
  void poisoned_run() {
    std::memset(shared_.workspace.data(), 0xff, shared_.workspace.size());
    run(0);
  }

  void run(size_t copy) {
    const Launch launch{shared_.p, inner(shared_.isa, shared_.p.dtype), shared_.pool, space_.scratch, skip_tile_};
    if (groups_) {
      const RouterCopy& w = shared_.attention[copy];
      return attention_router(launch, {shared_.x, w.attention, top_k_, space_.scores, space_.index}, space_.scratch);
    }
    const RouterCopy& w = shared_.mlp[copy];
    mlp_router(launch, {shared_.x, w.down, w.up, top_k_, space_.scores, space_.index}, space_.scratch);
  }

  void compare(const std::vector<float>& scores, const std::vector<int32_t>& index, int64_t rows, Verdict& verdict) {
    const PolarProblem& p = shared_.p;
    const ParallelFor parallel = pool_for(shared_.pool, *shared_.reporter);
    const auto input = [&](int64_t b) { return stored_row(p, shared_.x + b * p.hidden_size, p.hidden_size); };
    if (groups_) {
      for (int64_t b : choose_rows(p.seed, p.batch_size, rows)) {
        verify_groups(p, shared_.attention[0].attention, input(b), scores.data() + b * p.num_kv_heads,
                      index.data() + b * top_k_, top_k_, b, parallel, verdict);
      }
      return;
    }
    std::vector<Row> inputs;
    for (int64_t b = 0; b < p.batch_size; ++b) inputs.push_back(input(b));
    verify_neurons(p, shared_.mlp[0].down, shared_.mlp[0].up, inputs, scores.data(), index.data(), top_k_, rows, 0,
                   parallel, verdict);
  }

  RouterShared& shared_;
  RouterSpace space_{};
  bool groups_;
  bool skip_tile_ = false;
  int64_t top_k_ = 0;
  size_t num_scores_ = 0;
  size_t num_index_ = 0;
  int64_t runs_ = 1;
};

// Each kind of router rotates over copies of its own: the attention router's weights are hundreds of times smaller, and
// rotating both by the same count would fill the memory with copies of the larger one.
class RouterSession final : public Session {
 public:
  RouterSession(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates, const PolarOptions& options,
                Isa isa, ThreadPool& pool, InputStore& store)
      : shared_{problem, isa, pool}, cold_(options.cold_cache != 0), store_(store) {
    x_ = tensor_spec(problem, Tensor::kInput);
    attention_ = tensor_spec(problem, Tensor::kAttentionRouter);
    down_ = tensor_spec(problem, Tensor::kMlpRouterDown);
    up_ = tensor_spec(problem, Tensor::kMlpRouterUp);
    for (const PolarCandidate& c : candidates) (selects_groups(problem, c) ? with_attention_ : with_mlp_) = true;
  }

  MemoryNeed memory() const override {
    return {attention_bytes() + mlp_bytes() + x_.bytes() + own_bytes(), usable_bytes(store_)};
  }

  void prepare(const Reporter& reporter) override {
    shared_.reporter = &reporter;
    const double free = usable_bytes(store_) - own_bytes() - x_.bytes();
    const int64_t mlp = plan(mlp_bytes(), free, reporter);
    const int64_t attention = plan(attention_bytes(), free - mlp_bytes() * static_cast<double>(mlp), reporter);
    make_room(store_, {{x_, 1}, {attention_, attention}, {down_, mlp}, {up_, mlp}}, own_bytes());
    const auto get = [&](const TensorSpec& spec, int64_t copies) {
      return store_.get(spec, copies, shared_.isa, shared_.pool, reporter);
    };
    if (with_attention_) {
      for (const uint16_t* weight : get(attention_, attention)) shared_.attention.push_back({weight, nullptr, nullptr});
    }
    if (with_mlp_) {
      const auto down = get(down_, mlp);
      const auto up = get(up_, mlp);
      for (size_t i = 0; i < down.size(); ++i) shared_.mlp.push_back({nullptr, down[i], up[i]});
    }
    shared_.x = get(x_, 1)[0];
    shared_.workspace = Buffer(space_bytes(shared_.p, shared_.pool.size()));
  }

  std::unique_ptr<Executable> make(const PolarCandidate& candidate) override {
    return std::make_unique<RouterExecutable>(shared_, candidate);
  }

  // Of the kind with the fewest.
  int64_t rotation_copies() const override { return copies_; }
  double rotation_bytes() const override { return distinct_; }

 private:
  double attention_bytes() const { return with_attention_ ? attention_.bytes() : 0.0; }
  double mlp_bytes() const { return with_mlp_ ? down_.bytes() + up_.bytes() : 0.0; }
  // The workspace, and the copies of scores and indices that verification keeps.
  double own_bytes() const { return 2.0 * static_cast<double>(space_bytes(shared_.p, shared_.pool.size())); }

  // Copies of a kind of router that takes `bytes`; 0 where no candidate has it.
  int64_t plan(double bytes, double free, const Reporter& reporter) {
    if (bytes == 0) return 0;
    const double cache = last_level_cache_bytes();
    const int64_t copies = cold_ ? plan_copies(bytes, bytes, cache, free) : 1;
    const double distinct = bytes * static_cast<double>(copies);
    if (cold_ && distinct < kRotationCaches * cache) {
      reporter.warn(-1, "Free memory allows " + std::to_string(copies) + " rotation copies of a router, " +
                            std::to_string(static_cast<int64_t>(distinct / 1e6)) +
                            " MB, less than 5x the last-level cache of " +
                            std::to_string(static_cast<int64_t>(cache / 1e6)) + " MB");
    }
    copies_ = copies_ == 0 ? copies : std::min(copies_, copies);
    distinct_ = distinct_ == 0 ? distinct : std::min(distinct_, distinct);
    return copies;
  }

  RouterShared shared_;
  bool cold_;
  InputStore& store_;
  TensorSpec x_{}, attention_{}, down_{}, up_{};
  bool with_attention_ = false;
  bool with_mlp_ = false;
  int64_t copies_ = 0;
  double distinct_ = 0;
};

}  // namespace

std::unique_ptr<Session> open_router_session(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates,
                                             const PolarOptions& options, Isa isa, ThreadPool& pool,
                                             InputStore& store) {
  return std::make_unique<RouterSession>(problem, candidates, options, isa, pool, store);
}

}  // namespace polar::cpu
