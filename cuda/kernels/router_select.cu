// Launch of the selection over neurons.
#include "router_select.h"

#include "router_select.cuh"

namespace polar::cuda {

namespace {

// Blocks are launched while those of the kernel before end, as many on the first SM to be free as find room there, and
// would then share its speed. This much shared memory leaves no room for a second one.
size_t half_an_sm(const DeviceInfo& device) {
  const size_t half = device.shared_bytes_per_sm / 2;
  return half < sizeof(router::SelectShared) ? 0 : half - sizeof(router::SelectShared) + 128;
}

}  // namespace

void prepare_selections(const DeviceInfo& device) {
  CHECK_CUDA(cudaFuncSetAttribute(router::select_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(half_an_sm(device))));
}

void router::launch_select(const DeviceInfo& device, const SelectArgs& a, cudaStream_t stream) {
  SelectParams p{};
  p.scores = a.scores;
  p.n = static_cast<int>(a.n);
  p.k = static_cast<int>(a.k);
  p.threshold = a.threshold;
  p.plan = plan_select(a.n, device.sm_count);
  p.range_known = a.range_known;
  p.state = static_cast<SelectState*>(a.workspace);
  p.index = a.index;
  p.count = a.count;
  launch_kernel(select_kernel, static_cast<unsigned>(p.plan.blocks), kSelectThreads, half_an_sm(device),
                a.after_previous && device.compute_major >= 9, stream, p);
}

size_t select_workspace_bytes() { return sizeof(router::SelectState); }

void launch_top_k(const DeviceInfo& device, const float* scores, int64_t n, int64_t k, int32_t* index, void* workspace,
                  cudaStream_t stream) {
  router::SelectArgs a{};
  a.scores = scores;
  a.n = n;
  a.k = k;
  a.index = index;
  a.workspace = workspace;
  launch_select(device, a, stream);
}

void launch_select_above(const DeviceInfo& device, const float* scores, int64_t n, float threshold, int32_t* index,
                         int32_t* count, void* workspace, cudaStream_t stream) {
  router::SelectArgs a{};
  a.scores = scores;
  a.n = n;
  a.threshold = threshold;
  a.index = index;
  a.count = count;
  a.workspace = workspace;
  launch_select(device, a, stream);
}

}  // namespace polar::cuda
