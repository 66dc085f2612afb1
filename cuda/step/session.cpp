#include "session.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "../../src/native/common/error.h"
#include "../../src/native/common/problem.h"
#include "../rotation.h"
#include "executable.h"
#include "kernels.h"

namespace polar::cuda::step {
namespace {

constexpr const char* kVariants[] = {"dense", "mlp-sparse", "head-sparse", "polar"};

class StepSession : public Session {
 public:
  StepSession(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates, const PolarOptions& options)
      : candidates_(candidates), state_{problem, options, open_device(options.device)} {
    check_shape(problem);
    const double fixed = static_cast<double>(fixed_bytes(problem, candidates, state_.device.info));
    const double layer = static_cast<double>(layer_bytes(problem));
    need_.required_bytes = fixed + layer;
    need_.available_bytes = static_cast<double>(memory_info().available);
    const int64_t fit = copies_that_fit(need_.available_bytes, need_.required_bytes, layer);
    residency_ = plan_residency(problem, candidates, options, state_.device.info.l2_bytes, fit);
    state_.resident_layers = residency_.layers;
  }

  MemoryNeed memory() const override { return need_; }

  void prepare(const Reporter& reporter) override {
    state_.reporter = &reporter;
    reporter.alive("fill", 0.0);
    if (!residency_.complete) {
      reporter.warn(-1, "resident layers cover " + std::to_string(static_cast<int64_t>(rotation_bytes() / 1e6)) +
                            " MB, less than 5 times the last-level cache: part of them may be read from it");
    }
    prepare_state(state_, candidates_);
    report_projections(reporter);
    const PolarProblem& p = state_.problem;
    state_.weights = Weights(p, residency_.layers, [&](Tensor tensor, int64_t layer, void* device) {
      if (tensor == Tensor::kKey) {
        reporter.alive("fill", static_cast<double>(layer) / static_cast<double>(residency_.layers));
      }
      fill_tensor(p, tensor, layer, device, state_.stream);
    });
    state_.stream.synchronize("filling the layers");
    reporter.alive("fill", 1.0);
  }

  std::unique_ptr<Executable> make(const PolarCandidate& candidate) override {
    return std::make_unique<StepExecutable>(state_, candidate);
  }

  int64_t rotation_copies() const override {
    return std::max<int64_t>(1, residency_.layers / state_.problem.num_layers);
  }
  double rotation_bytes() const override {
    return least_layer_bytes(state_.problem, candidates_) * static_cast<double>(residency_.layers);
  }
  int64_t resident_layers() const override { return residency_.layers; }

 private:
  // Which library or kernel computes the dense products, with the times that decided.
  void report_projections(const Reporter& reporter) const {
    const Projections& all = *state_.projections;
    const auto report = [&](const std::string& name, const Projection& projection) {
      reporter.text((name + "_by").c_str(), projection.by_library() ? "cublaslt" : "ours");
      if (!std::isnan(projection.ours_us())) reporter.number((name + "_ours_us").c_str(), projection.ours_us());
      if (projection.library_refusal().empty()) {
        reporter.number((name + "_cublaslt_us").c_str(), projection.library_us());
      } else {
        reporter.warn(-1,
                      name + " by our kernel, without the comparison with cuBLASLt: " + projection.library_refusal());
      }
    };
    report("projection_qkv", all.qkv);
    report("projection_out", all.out);
    report("projection_up", all.up);
    report("projection_down", all.down);
    if (all.head) report("projection_head", *all.head);
  }

  std::vector<PolarCandidate> candidates_;
  State state_;
  MemoryNeed need_;
  Residency residency_{1, true};
};

}  // namespace

void check_shape(const PolarProblem& p) {
  check_residual_norm(p.hidden_size);
  // Rows of the hidden activations must start on 16 bytes for every kernel that may be the fastest.
  if (p.intermediate_size % 8 != 0) {
    throw NativeError("E_UNSUPPORTED", "Expected a multiple of 8 for intermediate_size of a layer or step, got " +
                                           std::to_string(p.intermediate_size));
  }
}

std::vector<std::string> kernel_ids() {
  std::vector<std::string> ids;
  for (const char* scope : {"layer/", "step/"}) {
    for (const char* variant : kVariants) ids.push_back(std::string(scope) + variant);
  }
  return ids;
}

std::unique_ptr<Session> open_session(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates,
                                      const PolarOptions& options) {
  return std::make_unique<StepSession>(problem, candidates, options);
}

}  // namespace polar::cuda::step
