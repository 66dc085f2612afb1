#include "session.h"

#include <cstdio>
#include <string>

#include "../../common/problem.h"
#include "../machine.h"
#include "../memory.h"
#include "../session.h"
#include "executable.h"
#include "plan.h"

namespace polar::cpu {
namespace {

double sum_bytes(const std::vector<TensorSpec>& specs) {
  double bytes = 0;
  for (const TensorSpec& s : specs) bytes += s.bytes();
  return bytes;
}

std::string megabytes(double bytes) { return std::to_string(static_cast<int64_t>(bytes / 1e6)) + " MB"; }

class BlockSession final : public Session {
 public:
  BlockSession(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates, const PolarOptions& options,
               Isa isa, ThreadPool& pool, InputStore& store)
      : shared_{problem, isa, pool, options.breakdown != 0, options.warmup, BlockConstants(problem)},
        candidates_(candidates),
        cold_(options.cold_cache != 0),
        store_(store),
        layer_(layer_specs(problem, candidates)),
        end_(end_specs(problem)),
        x_(tensor_spec(problem, Tensor::kInput)) {}

  MemoryNeed memory() const override {
    return {sum_bytes(layer_) + sum_bytes(end_) + x_.bytes() + own_bytes(), usable_bytes(store_)};
  }

  void prepare(const Reporter& reporter) override {
    shared_.reporter = &reporter;
    plan(reporter);
    std::vector<TensorCopies> wanted{{x_, 1}};
    for (const TensorSpec& spec : layer_) wanted.push_back({spec, plan_.layers});
    for (const TensorSpec& spec : end_) wanted.push_back({spec, 1});
    make_room(store_, wanted, own_bytes());
    fill(reporter);
    shared_.workspace = Buffer(block_space_bytes(shared_.p, shared_.pool.size()));
  }

  std::unique_ptr<Executable> make(const PolarCandidate& candidate) override {
    return make_block_executable(shared_, candidate);
  }

  int64_t rotation_copies() const override { return plan_.layers; }
  double rotation_bytes() const override { return plan_.layer_distance; }
  int64_t resident_layers() const override { return plan_.layers; }

 private:
  // The workspace, and the copy of a layer's input that verification keeps.
  double own_bytes() const {
    return static_cast<double>(block_space_bytes(shared_.p, shared_.pool.size())) + x_.bytes();
  }

  void plan(const Reporter& reporter) {
    const double cache = last_level_cache_bytes();
    const double free = usable_bytes(store_) - own_bytes() - sum_bytes(end_) - x_.bytes();
    plan_ = plan_resident(shared_.p, candidates_, cold_, cache, free);
    if (!cold_) return;
    const std::string limit = ", less than 5x the last-level cache of " + megabytes(cache);
    if (plan_.layer_distance < kRotationCaches * cache) {
      reporter.warn(-1, "Free memory allows " + std::to_string(plan_.layers) +
                            " distinct layers; between two uses of one the sparsest candidate reads " +
                            megabytes(plan_.layer_distance) + limit);
    }
    if (plan_.end_distance < kRotationCaches * cache) {
      reporter.warn(-1, "The language-model head is read again after " + megabytes(plan_.end_distance) + limit +
                            ": part of it may come from the cache");
    }
  }

  void fill(const Reporter& reporter) {
    const auto get = [&](const TensorSpec& spec, int64_t copies) {
      return store_.get(spec, copies, shared_.isa, shared_.pool, reporter);
    };
    shared_.layers.assign(static_cast<size_t>(plan_.layers), LayerTensors{});
    for (const TensorSpec& spec : layer_) {
      const auto pointers = get(spec, plan_.layers);
      for (size_t i = 0; i < pointers.size(); ++i) place(spec.tensor, pointers[i], shared_.layers[i]);
    }
    for (const TensorSpec& spec : end_) {
      for (const EndField& field : kEndFields) {
        if (field.tensor == spec.tensor) shared_.end.*field.member = get(spec, 1)[0];
      }
    }
    shared_.x = get(x_, 1)[0];
  }

  static void place(Tensor tensor, uint16_t* data, LayerTensors& layer) {
    if (tensor == Tensor::kKey) layer.k_cache = data;
    if (tensor == Tensor::kValue) layer.v_cache = data;
    for (const LayerField& field : kLayerFields) {
      if (field.tensor == tensor) layer.*field.member = data;
    }
  }

  BlockShared shared_;
  std::vector<PolarCandidate> candidates_;
  bool cold_;
  InputStore& store_;
  std::vector<TensorSpec> layer_;
  std::vector<TensorSpec> end_;
  TensorSpec x_;
  ResidentPlan plan_{};
};

}  // namespace

std::unique_ptr<Session> open_block_session(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates,
                                            const PolarOptions& options, Isa isa, ThreadPool& pool, InputStore& store) {
  return std::make_unique<BlockSession>(problem, candidates, options, isa, pool, store);
}

}  // namespace polar::cpu
