// libpolar_cuda.so's implementation of the backend interface.
#include <memory>
#include <string>
#include <vector>

#include "../src/native/common/backend.h"
#include "../src/native/common/error.h"
#include "../src/native/common/faults.h"
#include "../src/native/common/problem.h"
#include "device/ceilings.h"
#include "device/device.h"
#include "executable.h"
#include "kernels/registry.h"
#include "library/cublaslt_loader.h"
#include "router_session.h"
#include "step/session.h"

namespace polar {
namespace cuda {
namespace {

class CudaSession : public Session {
 public:
  CudaSession(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates, const PolarOptions& options)
      : candidates_(candidates), state_{problem, options, open_device(options.device), {}, {}, nullptr, {}, nullptr} {
    check_scopes();
    const MemoryInfo memory = memory_info();
    const double per_copy = static_cast<double>(input_bytes(problem) + variable_bytes_per_copy());
    need_.required_bytes = static_cast<double>(fixed_bytes()) + per_copy;
    need_.available_bytes = static_cast<double>(memory.available);
    const int64_t fit = copies_that_fit(need_.available_bytes, need_.required_bytes, per_copy);
    rotation_ = plan_rotation(problem, candidates_, options, state_.device.info.l2_bytes, fit);
  }

  MemoryNeed memory() const override { return need_; }

  void prepare(const Reporter& reporter) override {
    state_.reporter = &reporter;
    reporter.alive("fill", 0.0);
    if (!rotation_.complete) {
      reporter.warn(-1, "rotation covers " + std::to_string(static_cast<int64_t>(rotation_bytes() / 1e6)) +
                            " MB, less than 5 times the last-level cache: part of the inputs may be read from it");
    }
    state_.inputs = Inputs(state_.problem, rotation_.copies, state_.stream);
    state_.stream.synchronize("filling the inputs");
    state_.output = DeviceBuffer(largest_output_bytes(state_.problem, candidates_));
    state_.references = std::make_unique<ReferenceResults>(state_.problem, state_.inputs, state_.stream);
    reporter.alive("fill", 1.0);
  }

  std::unique_ptr<Executable> make(const PolarCandidate& candidate) override {
    return make_executable(state_, candidate);
  }

  int64_t rotation_copies() const override { return rotation_.copies; }
  double rotation_bytes() const override {
    return least_streamed_bytes(state_.problem, candidates_) * static_cast<double>(rotation_.copies);
  }

 private:
  // Workspace functions of kernels may assume that the problem is theirs.
  void check_scopes() const {
    for (const PolarCandidate& candidate : candidates_) {
      const bool attention = std::string(candidate.kernel).starts_with("attention/");
      const bool instrument = std::string(candidate.kernel).starts_with("instrument/");
      if (!instrument && attention != is_attention(state_.problem)) {
        throw NativeError("E_UNSUPPORTED",
                          std::string("Expected a kernel of the problem's scope, got ") + candidate.kernel);
      }
    }
  }

  // What does not grow with the copies, and what each copy adds beside the inputs.
  size_t fixed_bytes() const {
    // The output twice: verification keeps the first run's.
    size_t bytes = ReferenceResults::memory_bytes(state_.problem, candidates_) +
                   2 * largest_output_bytes(state_.problem, candidates_);
    for (const PolarCandidate& c : candidates_) bytes += executable_bytes(state_.problem, c, state_.device.info, 0);
    return bytes;
  }
  size_t variable_bytes_per_copy() const {
    size_t bytes = 0;
    for (const PolarCandidate& c : candidates_) {
      bytes += executable_bytes(state_.problem, c, state_.device.info, 1) -
               executable_bytes(state_.problem, c, state_.device.info, 0);
    }
    return bytes;
  }

  std::vector<PolarCandidate> candidates_;
  SessionState state_;
  MemoryNeed need_;
  Rotation rotation_{1, true};
};

class CudaBackend : public Backend {
 public:
  const char* name() const override { return "cuda"; }

  std::vector<std::string> kernels() const override {
    std::vector<std::string> ids = kernel_ids();
    for (std::string& id : step::kernel_ids()) ids.push_back(std::move(id));
    if (kFaultBuild) ids.emplace_back("instrument/spin");
    return ids;
  }

  void describe(int32_t ordinal, const Reporter& reporter) override {
    const Device device = open_device(ordinal);
    const cudaDeviceProp& properties = device.properties;
    const MemoryInfo memory = memory_info();
    const ClockReading clocks = device.nvml.read_clocks();
    int driver = 0, runtime = 0, count = 0;
    CHECK_CUDA(cudaDriverGetVersion(&driver));
    CHECK_CUDA(cudaRuntimeGetVersion(&runtime));
    CHECK_CUDA(cudaGetDeviceCount(&count));
    reporter.text("name", properties.name);
    if (const std::string version = device.nvml.driver_version(); !version.empty()) {
      reporter.text("driver_version", version);
    }
    reporter.text("cuda_driver_version", cuda_version_text(driver));
    reporter.text("runtime_version", cuda_version_text(runtime));
    reporter.text("compute_capability", std::to_string(properties.major) + "." + std::to_string(properties.minor));
    reporter.number("device_count", count);
    reporter.number("sm_count", properties.multiProcessorCount);
    reporter.number("last_level_cache_bytes", static_cast<double>(properties.l2CacheSize));
    reporter.number("shared_bytes_per_block", static_cast<double>(device.info.shared_bytes_per_block_optin));
    reporter.number("total_memory_bytes", static_cast<double>(memory.total));
    reporter.number("free_memory_bytes", static_cast<double>(memory.free));
    reporter.number("ecc_enabled", properties.ECCEnabled);
    if (device.nvml.available()) {
      reporter.number("max_sm_clock_mhz", device.nvml.max_sm_clock_mhz());
      reporter.number("sm_clock_mhz", clocks.sm_mhz);
      reporter.text("throttle_reasons", throttle_text(clocks.throttle_bits));
    } else {
      reporter.text("nvml_unavailable", device.nvml.unavailable());
    }
    if (const char* reason = lt::unavailable_reason()) {
      reporter.text("cublaslt_unavailable", reason);
    } else {
      reporter.number("cublaslt_version", static_cast<double>(lt::api().version()));
    }
  }

  void measure_ceilings(int32_t dtype, const PolarOptions& options, const Reporter& reporter) override {
    cuda::measure_ceilings(open_device(options.device), dtype, reporter);
  }

  std::unique_ptr<Session> open(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates,
                                const PolarOptions& options) override {
    if (is_block(problem)) return step::open_session(problem, candidates, options);
    if (is_router(problem)) return open_router_session(problem, candidates, options);
    if (is_block(problem)) return step::open_session(problem, candidates, options);
    return std::make_unique<CudaSession>(problem, candidates, options);
  }

  void evaluate(const PolarProblem& problem, const PolarCandidate& candidate, const PolarOptions& options,
                const PolarTensors& tensors, const Reporter& reporter) override {
    step::evaluate(problem, candidate, options, tensors, reporter);
  }
};

}  // namespace
}  // namespace cuda

Backend& backend() {
  static cuda::CudaBackend instance;
  return instance;
}

}  // namespace polar
