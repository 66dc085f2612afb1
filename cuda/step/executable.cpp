#include "executable.h"

#include "../../src/native/common/faults.h"
#include "../../src/native/common/problem.h"
#include "../device/fill.h"
#include "../device/profiler_range.h"
#include "breakdown.h"
#include "reference_step.h"

namespace polar::cuda::step {
namespace {

// The output of a run: logits of a step, x of a layer.
struct Output {
  const void* data;
  int64_t count;  // of 16-bit elements
};

Output output_of(const State& state) {
  const PolarProblem& p = state.problem;
  const Activations& at = state.activations.at();
  if (p.scope == POLAR_SCOPE_STEP) return {at.logits, p.batch_size * p.vocab_size};
  return {at.x, p.batch_size * p.hidden_size};
}

}  // namespace

StepExecutable::StepExecutable(State& state, const PolarCandidate& candidate)
    : state_(state), candidate_(candidate), sequence_(state, candidate) {}

std::string StepExecutable::range_name(const char* phase) const {
  return std::string(candidate_.kernel) + " " + phase + ": " + problem_text(state_.problem);
}

PolarVerification StepExecutable::verify(int64_t /*rows*/, int32_t repeats) {
  const ProfilerRange range(range_name("verify"));
  const Stream& stream = state_.stream;
  if constexpr (kFaultBuild) {
    if (fault_active("sticky", candidate_.kernel)) launch_trap(stream);
  }
  const Output out = output_of(state_);
  state_.activations.poison(false, stream);
  RunCheck check(state_, sequence_, candidate_.kernel);
  sequence_.enqueue(0, [&](Stage stage, int64_t layer) { check(stage, layer); });
  const DeviceBuffer first(static_cast<size_t>(out.count) * 2), differences(sizeof(unsigned long long));
  CHECK_CUDA(cudaMemcpyAsync(first.as(), out.data, first.bytes(), cudaMemcpyDeviceToDevice, stream));
  CHECK_CUDA(cudaMemsetAsync(differences.as(), 0, differences.bytes(), stream));
  if (repeats > 1) {
    const Graph graph(stream, [&] { sequence_.enqueue(0, {}); });
    for (int32_t i = 1; i < repeats; ++i) {
      state_.activations.poison(false, stream);
      graph.launch(stream);
      count_differences(first.as(), out.data, out.count, differences.as<unsigned long long>(), stream);
    }
    stream.synchronize("the repeated runs");
  }
  stream.synchronize("the run that is verified");
  return check.result(to_host<unsigned long long>(differences.as(), 1)[0] == 0);
}

int64_t StepExecutable::plan_sample(int64_t wanted) {
  const PolarProblem& p = state_.problem;
  const int64_t runs = runs_per_sample(p, state_.resident_layers, wanted);
  sampler_.plan(state_.stream, runs,
                [&](int64_t run) { sequence_.enqueue(run * p.num_layers % state_.resident_layers, {}); });
  return runs;
}

Sample StepExecutable::sample() {
  const ProfilerRange range(range_name("sample"));
  return sampler_.sample(state_.stream, state_.device.nvml);
}

std::vector<std::pair<std::string, double>> StepExecutable::parts() {
  if (state_.problem.scope != POLAR_SCOPE_STEP) return {};
  return measure_parts(state_, sequence_);
}

}  // namespace polar::cuda::step
