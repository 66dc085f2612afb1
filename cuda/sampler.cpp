#include "sampler.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace polar::cuda {

void Sampler::plan(cudaStream_t stream, int64_t runs, const std::function<void(int64_t)>& enqueue) {
  runs_ = runs;
  graph_ = Graph();  // the old graph's memory first
  graph_ = Graph(stream, [&] {
    for (int64_t run = 0; run < runs_; ++run) enqueue(run);
  });
}

Sample Sampler::sample(cudaStream_t stream, const Nvml& nvml) {
  Sample sample;
  sample.ns = graph_.time_ns(stream, start_, stop_) / static_cast<double>(runs_);
  // Read after the span, never inside: asking the driver takes locks.
  const ClockReading reading = nvml.read_clocks();
  sample.clock_mhz = reading.sm_mhz;
  sample.throttled = nvml.throttled(reading);
  return sample;
}

double Sampler::energy_mj(const Stream& stream, const Nvml& nvml, double seconds) {
  using Clock = std::chrono::steady_clock;
  if (std::isnan(nvml.total_energy_mj())) return std::nan("");
  const double once_ns = graph_.time_ns(stream, start_, stop_);
  const int64_t per_batch = std::max<int64_t>(1, static_cast<int64_t>(0.02e9 / std::max(once_ns, 1.0)));
  // The counter moves in steps of some 20 to 100 ms: start and end right after a step, and count what ran between.
  auto run_batch = [&] {
    for (int64_t i = 0; i < per_batch; ++i) graph_.launch(stream);
    stream.synchronize("repeating the sample for its energy");
  };
  run_batch();
  const auto begin = Clock::now();
  const double before = nvml.total_energy_mj();
  int64_t batches = 0;
  while (std::chrono::duration<double>(Clock::now() - begin).count() < seconds) {
    run_batch();
    ++batches;
  }
  const double used = nvml.total_energy_mj() - before;
  if (!(used > 0)) return std::nan("");
  return used / static_cast<double>(batches * per_batch * runs_);
}

}  // namespace polar::cuda
