#include "spin.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "../common/error.h"
#include "../common/random.h"

namespace polar::cpu {

#ifdef POLAR_FAULTS

namespace {

using Clock = std::chrono::steady_clock;
constexpr double kNoise = 0.005;

class Spin final : public Executable {
 public:
  Spin(uint64_t seed, int64_t ns, int64_t lane)
      : key_(stream_key(seed, Tensor::kNoise, static_cast<uint64_t>(lane + 1))), ns_(static_cast<double>(ns)) {}

  PolarVerification verify(int64_t, int32_t) override {
    PolarVerification v{};
    v.rows_checked = 1;
    v.worst_row = -1;
    v.repeats_equal = 1;
    v.passed = 1;
    return v;
  }

  int64_t plan_sample(int64_t wanted) override { return runs_ = std::max<int64_t>(1, wanted); }

  Sample sample() override {
    double wanted = 0;
    for (int64_t r = 0; r < runs_; ++r) wanted += ns_ * (1 + kNoise * normal());
    const auto start = Clock::now();
    double waited = 0;
    while (waited < wanted) waited = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
    Sample sample;
    sample.ns = waited / static_cast<double>(runs_);
    return sample;
  }

 private:
  // Box and Muller.
  double normal() {
    const double u = random_uniform(key_, counter_++);
    const double v = random_uniform(key_, counter_++);
    return std::sqrt(-2 * std::log(u)) * std::cos(2 * 3.14159265358979323846 * v);
  }

  uint64_t key_;
  double ns_;
  uint64_t counter_ = 0;
  int64_t runs_ = 1;
};

}  // namespace

std::unique_ptr<Executable> make_spin(uint64_t seed, int64_t ns, int64_t lane) {
  if (ns <= 0) throw NativeError("E_NATIVE", "Expected a positive number of nanoseconds for active_neurons");
  return std::make_unique<Spin>(seed, ns, lane);
}

#else

std::unique_ptr<Executable> make_spin(uint64_t, int64_t, int64_t) {
  throw NativeError("E_UNSUPPORTED", "The spin kernel exists only in the test build (POLAR_FAULTS)");
}

#endif

}  // namespace polar::cpu
