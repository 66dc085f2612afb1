// What the stand-alone checks of CUDA kernels share: facts of the device, times of launches in a graph.
#pragma once

#include <algorithm>
#include <cstdio>
#include <functional>
#include <vector>

#include "../../cuda/common/check.h"
#include "../../cuda/device/memory.h"

namespace polar::cuda {

// With CUDA_ROUTER_SM80 defined, those of a device of sm_80 with 99 KB of shared memory per block.
inline DeviceInfo device_info() {
  cudaDeviceProp p{};
  CHECK_CUDA(cudaGetDeviceProperties(&p, 0));
#ifdef CUDA_ROUTER_SM80
  p.major = 8, p.minor = 0, p.sharedMemPerBlockOptin = 101376;
#endif
  return {0,
          p.multiProcessorCount,
          p.major,
          p.minor,
          p.sharedMemPerBlockOptin,
          p.sharedMemPerMultiprocessor,
          static_cast<size_t>(p.l2CacheSize)};
}

// Microseconds of one run.
struct RunTimes {
  double median, q1, q3, spread;  // spread: slowest minus fastest graph
};

// Graphs of `runs` runs each, `run` enqueues the i-th; the first `unused` graph launches do not count.
inline RunTimes time_graph(int64_t runs, const std::function<void(int64_t, cudaStream_t)>& run, int unused = 3,
                           int counted = 11) {
  const Stream stream;
  const Event start, stop;
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  CHECK_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (int64_t i = 0; i < runs; ++i) run(i, stream);
  CHECK_CUDA(cudaStreamEndCapture(stream, &graph));
  CHECK_CUDA(cudaGraphInstantiate(&exec, graph, 0));
  std::vector<double> us;
  for (int i = 0; i < unused + counted; ++i) {
    CHECK_CUDA(cudaEventRecord(start, stream));
    CHECK_CUDA(cudaGraphLaunch(exec, stream));
    CHECK_CUDA(cudaEventRecord(stop, stream));
    stream.synchronize("a timed graph");
    float ms = 0;
    CHECK_CUDA(cudaEventElapsedTime(&ms, start, stop));
    if (i >= unused) us.push_back(ms * 1e3 / static_cast<double>(runs));
  }
  CHECK_CUDA(cudaGraphExecDestroy(exec));
  CHECK_CUDA(cudaGraphDestroy(graph));
  std::sort(us.begin(), us.end());
  return {us[us.size() / 2], us[us.size() / 4], us[us.size() * 3 / 4], us.back() - us.front()};
}

// Prints the times of runs that walk through all copies, after one outside a graph: modules load lazily.
inline void time_runs(const char* name, int64_t copies, double bytes,
                      const std::function<void(int64_t, cudaStream_t)>& run) {
  const Stream first;
  run(0, first);
  first.synchronize(name);
  const auto next = [&](int64_t i, cudaStream_t stream) { run(i % copies, stream); };
  const RunTimes t = time_graph(std::max<int64_t>(copies, 16), next, 4, 20);
  std::printf("%-44s %8.2f us (q1 %7.2f, q3 %7.2f) %7.0f GB/s\n", name, t.median, t.q1, t.q3, bytes / t.median * 1e-3);
}

}  // namespace polar::cuda
