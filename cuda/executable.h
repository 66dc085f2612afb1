// A candidate made ready on the device: verification on copy 0, samples as graph launches that walk through all copies.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../src/native/common/backend.h"
#include "device/device.h"
#include "device/profiler_range.h"
#include "inputs.h"
#include "kernels/problem.h"
#include "reference_results.h"
#include "sampler.h"

namespace polar::cuda {

// What the candidates of a cell share; owned by the session, which outlives them.
struct SessionState {
  PolarProblem problem;
  PolarOptions options;
  Device device;
  Stream stream;
  Inputs inputs;
  std::unique_ptr<ReferenceResults> references;
  DeviceBuffer output;                 // as large as the largest candidate's; each writes it whole
  const Reporter* reporter = nullptr;  // from prepare() on
};

class CudaExecutable : public Executable {
 public:
  // The whole output is compared whatever `rows` says: on the device that costs less than choosing a subset.
  PolarVerification verify(int64_t rows, int32_t repeats) override;
  // Rounds `wanted` up to whole walks over the copies, so that every sample costs the same and the same bytes are not
  // read again before all copies were.
  int64_t plan_sample(int64_t wanted) override;
  Sample sample() override;
  double energy_mj(double seconds) override;

 protected:
  CudaExecutable(SessionState& session, const PolarCandidate& candidate, size_t workspace_bytes);

  // Copies of the inputs that samples walk through.
  virtual int64_t copies() const { return session_.inputs.copies(); }
  // "attention/dense verify: attention bf16 B=64 N=1920 ...", for a profiler.
  std::string range_name(const char* phase) const;
  LaunchContext context() const { return {session_.problem, session_.device.info, session_.stream}; }
  // Enqueues one run over copy `copy` of the inputs into the session's output.
  virtual void launch(int64_t copy) = 0;
  // Judges the output of copy 0 row by row into `errors` [output rows].
  virtual void compare(RowError* errors) = 0;

  SessionState& session_;
  const PolarCandidate candidate_;
  const OutputShape shape_;
  // Shared by all candidates: where a buffer happens to lie changes a kernel of 20 us by a per cent or two, so a kernel
  // measured twice with outputs of its own would differ from itself by more than its intervals say.
  void* output() const { return session_.output.as(); }
  size_t output_bytes() const { return static_cast<size_t>(shape_.rows * shape_.columns) * 2; }
  DeviceBuffer workspace_;

 private:
  void run_poisoned();

  Sampler sampler_;
};

// Throws NativeError E_UNSUPPORTED for a kernel of another op, E_OUT_OF_MEMORY, or what the kernel's prepare throws.
std::unique_ptr<Executable> make_executable(SessionState& session, const PolarCandidate& candidate);

// Device bytes of the largest output among the candidates.
size_t largest_output_bytes(const PolarProblem& p, const std::vector<PolarCandidate>& candidates);

// Device bytes of one candidate beside the output: row errors, workspace, index sets, compact hidden values.
size_t executable_bytes(const PolarProblem& p, const PolarCandidate& candidate, const DeviceInfo& device,
                        int64_t copies);

}  // namespace polar::cuda
