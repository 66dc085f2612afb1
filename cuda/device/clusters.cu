#include "clusters.h"

#include "../common/check.h"

namespace polar::cuda {
namespace {

// Stands for any kernel that fills an SM's shared memory, so that one block runs per SM.
__global__ void cluster_probe_kernel() {}

}  // namespace

void count_clusters(DeviceInfo& info) {
  if (info.compute_major < 9) return;
  const auto* probe = reinterpret_cast<const void*>(&cluster_probe_kernel);
  const int shared = static_cast<int>(info.shared_bytes_per_block_optin);
  CHECK_CUDA(cudaFuncSetAttribute(probe, cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
  for (int size = 1; size <= kMostClusterBlocks; ++size) {
    cudaLaunchAttribute cluster{};
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim = {static_cast<unsigned>(size), 1, 1};
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(static_cast<unsigned>(info.sm_count / size * size));
    config.blockDim = dim3(128);
    config.dynamicSmemBytes = info.shared_bytes_per_block_optin;
    config.attrs = &cluster;
    config.numAttrs = 1;
    CHECK_CUDA(cudaOccupancyMaxActiveClusters(&info.clusters[size], probe, &config));
  }
}

}  // namespace polar::cuda
