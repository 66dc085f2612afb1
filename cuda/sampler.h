// Samples of any candidate: a captured graph of several runs, timed between events, and its energy.
#pragma once

#include <cstdint>
#include <functional>

#include "../src/native/common/backend.h"
#include "device/graph.h"
#include "device/nvml.h"

namespace polar::cuda {

class Sampler {
 public:
  // Captures `runs` >= 1 runs; enqueue(r) puts run r on `stream` and neither allocates nor synchronises.
  void plan(cudaStream_t stream, int64_t runs, const std::function<void(int64_t run)>& enqueue);
  int64_t runs() const { return runs_; }
  const Graph& graph() const { return graph_; }
  // One launch of the graph, per run; synchronises.
  Sample sample(cudaStream_t stream, const Nvml& nvml);
  // Millijoule per run over about `seconds` of launches; NaN without a counter.
  double energy_mj(const Stream& stream, const Nvml& nvml, double seconds);

 private:
  Event start_, stop_;
  Graph graph_;
  int64_t runs_ = 1;
};

}  // namespace polar::cuda
