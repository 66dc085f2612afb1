#include <algorithm>

#include "../src/native/common/error.h"
#include "../src/native/common/faults.h"
#include "device/fill.h"
#include "executable.h"

namespace polar::cuda {
namespace {

// A graph of more nodes takes longer to build than its samples are worth.
constexpr int64_t kMaxRuns = 4096;

}  // namespace

CudaExecutable::CudaExecutable(SessionState& session, const PolarCandidate& candidate, size_t workspace_bytes)
    : session_(session),
      candidate_(candidate),
      shape_(output_shape(session.problem, candidate)),
      workspace_(workspace_bytes) {
  // Tickets in a workspace start at zero and reset themselves; that is the contract of problem.h.
  if (workspace_) CHECK_CUDA(cudaMemsetAsync(workspace_.as(), 0, workspace_.bytes(), session.stream));
}

std::string CudaExecutable::range_name(const char* phase) const {
  return std::string(candidate_.kernel) + " " + phase + ": " + problem_text(session_.problem);
}

void CudaExecutable::run_poisoned() {
  fill_nan(output(), shape_.rows * shape_.columns, session_.stream);
  launch(0);
  session_.stream.synchronize("the run that is verified");
}

PolarVerification CudaExecutable::verify(int64_t /*rows*/, int32_t repeats) {
  const ProfilerRange range(range_name("verify"));
  const int64_t count = shape_.rows * shape_.columns;
  if constexpr (kFaultBuild) {
    if (fault_active("sticky", candidate_.kernel)) launch_trap(session_.stream);
  }
  run_poisoned();
  const DeviceBuffer first(output_bytes());
  CHECK_CUDA(cudaMemcpyAsync(first.as(), output(), output_bytes(), cudaMemcpyDeviceToDevice, session_.stream));
  DeviceBuffer differences(sizeof(unsigned long long));
  CHECK_CUDA(cudaMemsetAsync(differences.as(), 0, differences.bytes(), session_.stream));
  for (int32_t i = 1; i < repeats; ++i) {
    run_poisoned();
    count_differences(first.as(), output(), count, differences.as<unsigned long long>(), session_.stream);
  }
  const DeviceBuffer errors(static_cast<size_t>(shape_.rows) * sizeof(RowError));
  compare(errors.as<RowError>());
  session_.stream.synchronize("comparing the output");
  const bool repeats_equal = to_host<unsigned long long>(differences.as(), 1)[0] == 0;
  Verdict verdict(session_.problem.dtype);
  const std::vector<RowError> rows = to_host<RowError>(errors.as(), static_cast<size_t>(shape_.rows));
  for (size_t row = 0; row < rows.size(); ++row) verdict.add(static_cast<int64_t>(row), rows[row]);
  return verdict.result(repeats_equal);
}

int64_t CudaExecutable::plan_sample(int64_t wanted) {
  const int64_t copies = this->copies();
  const int64_t walks = std::clamp<int64_t>((wanted + copies - 1) / copies, 1, std::max<int64_t>(1, kMaxRuns / copies));
  sampler_.plan(session_.stream, walks * copies, [&](int64_t run) { launch(run % copies); });
  return sampler_.runs();
}

Sample CudaExecutable::sample() {
  const ProfilerRange range(range_name("sample"));
  return sampler_.sample(session_.stream, session_.device.nvml);
}

double CudaExecutable::energy_mj(double seconds) {
  return sampler_.energy_mj(session_.stream, session_.device.nvml, seconds);
}

}  // namespace polar::cuda
