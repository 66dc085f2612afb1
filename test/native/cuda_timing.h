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

// Median and spread in microseconds of one run, from graphs that walk through all copies.
inline void time_runs(const char* name, int64_t copies, double bytes,
                      const std::function<void(int64_t, cudaStream_t)>& run) {
  const Stream stream;
  const Event start, stop;
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  run(0, stream);
  stream.synchronize(name);
  const int64_t runs = std::max<int64_t>(copies, 16);
  CHECK_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (int64_t i = 0; i < runs; ++i) run(i % copies, stream);
  CHECK_CUDA(cudaStreamEndCapture(stream, &graph));
  CHECK_CUDA(cudaGraphInstantiate(&exec, graph, 0));
  std::vector<double> us;
  for (int i = 0; i < 24; ++i) {
    CHECK_CUDA(cudaEventRecord(start, stream));
    CHECK_CUDA(cudaGraphLaunch(exec, stream));
    CHECK_CUDA(cudaEventRecord(stop, stream));
    stream.synchronize(name);
    float ms = 0;
    CHECK_CUDA(cudaEventElapsedTime(&ms, start, stop));
    if (i >= 4) us.push_back(ms * 1e3 / static_cast<double>(runs));
  }
  CHECK_CUDA(cudaGraphExecDestroy(exec));
  CHECK_CUDA(cudaGraphDestroy(graph));
  std::sort(us.begin(), us.end());
  std::printf("%-44s %8.2f us (q1 %7.2f, q3 %7.2f) %7.0f GB/s\n", name, us[us.size() / 2], us[us.size() / 4],
              us[us.size() * 3 / 4], bytes / us[us.size() / 2] * 1e-3);
}

}  // namespace polar::cuda
