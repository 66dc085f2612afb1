// A layer or step candidate made ready: checked stage by stage, timed as graph launches, taken apart by an instrumented
// graph.
#pragma once

#include "../sampler.h"
#include "layer_sequence.h"

namespace polar::cuda::step {

class StepExecutable : public Executable {
 public:
  StepExecutable(State& state, const PolarCandidate& candidate);

  // The first run is judged (RunCheck; all rows, whatever `rows` says), the others are graph launches, as measured
  // runs are: all must leave the same bits.
  PolarVerification verify(int64_t rows, int32_t repeats) override;
  int64_t plan_sample(int64_t wanted) override;
  Sample sample() override;
  double energy_mj(double seconds) override { return sampler_.energy_mj(state_.stream, state_.device.nvml, seconds); }
  // Step problems only.
  std::vector<std::pair<std::string, double>> parts() override;

 private:
  std::string range_name(const char* phase) const;

  State& state_;
  const PolarCandidate candidate_;
  LayerSequence sequence_;
  Sampler sampler_;
};

}  // namespace polar::cuda::step
