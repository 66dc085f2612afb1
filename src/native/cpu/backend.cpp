// The CPU backend: one processor, all its threads.
#include "../common/backend.h"

#include <memory>

#include "../common/error.h"
#include "../common/problem.h"
#include "block/session.h"
#include "ceilings.h"
#include "inputs.h"
#include "isa.h"
#include "kernels/kernel.h"
#include "machine.h"
#include "router_session.h"
#include "session.h"
#include "threads.h"

namespace polar {
namespace cpu {
namespace {

class CpuBackend final : public Backend {
 public:
  const char* name() const override { return "cpu"; }

  std::vector<std::string> kernels() const override {
    std::vector<std::string> ids;
    for (const Kernel& kernel : kernel_registry()) ids.emplace_back(kernel.id);
#ifdef POLAR_FAULTS
    ids.emplace_back(kSpinKernel);
#endif
    return ids;
  }

  void describe(int32_t device, const Reporter& reporter) override {
    expect_device(device);
    reporter.text("name", processor_name());
    reporter.text("isa", isa_name(active_isa()));
    reporter.number("last_level_cache_bytes", last_level_cache_bytes());
    reporter.number("total_memory_bytes", total_memory_bytes());
    reporter.number("free_memory_bytes", available_memory_bytes());
    reporter.number("threads", available_processors());
  }

  void measure_ceilings(int32_t dtype, const PolarOptions& options, const Reporter& reporter) override {
    expect_device(options.device);
    if (dtype != POLAR_BF16 && dtype != POLAR_FP16) {
      throw NativeError("E_NATIVE", "Expected bf16 or fp16 for dtype, got " + std::to_string(dtype));
    }
    store_.release({});
    cpu::measure_ceilings(dtype, active_isa(), pool(options.threads), reporter);
  }

  std::unique_ptr<Session> open(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates,
                                const PolarOptions& options) override {
    expect_device(options.device);
    if (is_router(problem)) {
      return open_router_session(problem, candidates, options, active_isa(), pool(options.threads), store_);
    }
    if (is_block(problem)) {
      return open_block_session(problem, candidates, options, active_isa(), pool(options.threads), store_);
    }
    return open_session(problem, candidates, options, active_isa(), pool(options.threads), store_);
  }

  void evaluate(const PolarProblem& problem, const PolarCandidate& candidate, const PolarOptions& options,
                const PolarTensors& tensors, const Reporter& reporter) override {
    expect_device(options.device);
    store_.release({});
    evaluate_block(problem, candidate, tensors, active_isa(), pool(options.threads), reporter);
  }

 private:
  static void expect_device(int32_t device) {
    if (device == 0) return;
    throw NativeError("E_BACKEND_UNAVAILABLE", "Expected device 0 for the CPU backend, got " + std::to_string(device));
  }

  // Threads are kept from cell to cell.
  ThreadPool& pool(int32_t threads) {
    const int wanted = threads > 0 ? threads : available_processors();
    if (!pool_ || pool_->size() != wanted) {
      pool_.reset();
      pool_ = std::make_unique<ThreadPool>(wanted);
    }
    return *pool_;
  }

  std::unique_ptr<ThreadPool> pool_;
  InputStore store_;
};

}  // namespace
}  // namespace cpu

Backend& backend() {
  static cpu::CpuBackend instance;
  return instance;
}

}  // namespace polar
