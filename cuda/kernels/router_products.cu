// Launch of the products of the MLP router: plans, tensor maps, the two kernels.
#include "router_products.h"

#include "../common/check.h"
#include "../device/alignment.h"
#include "../device/tensor_map.h"
#include "router_hidden.cuh"
#include "router_scores.cuh"

namespace polar::cuda::router {
namespace {

const void* hidden_kernel(int32_t dtype, int columns) {
  return dtype == POLAR_BF16 ? hidden_kernel_bf16(columns) : hidden_kernel_fp16(columns);
}
const void* scores_kernel(int32_t dtype, int columns) {
  return dtype == POLAR_BF16 ? scores_kernel_bf16(columns) : scores_kernel_fp16(columns);
}

void launch_hidden(int32_t dtype, const DeviceInfo& device, const MlpRouterArgs& a, void* hidden, cudaStream_t stream) {
  const HiddenPlan plan = plan_hidden(a.rank, a.hidden_size, a.batch_size, device.shared_bytes_per_block_optin);
  HiddenParams p{};
  p.hidden = hidden;
  p.rows = static_cast<int>(a.rank);
  p.slices = plan.slices;
  p.slots = plan.slots;
  p.keep_weights = plan.batch_tiles > 1;
  CUtensorMap weights = matrix_map(dtype, a.down, a.rank, a.hidden_size, kHiddenRows);
  CUtensorMap input = matrix_map(dtype, a.x, a.batch_size, a.hidden_size, plan.columns);
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {kHiddenSplits, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(kHiddenSplits, static_cast<unsigned>(plan.row_tiles), static_cast<unsigned>(plan.batch_tiles));
  config.blockDim = dim3(kHiddenThreads);
  config.dynamicSmemBytes = static_cast<size_t>(plan.shared_bytes);
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  void* arguments[] = {&p, &weights, &input};
  CHECK_CUDA(cudaLaunchKernelExC(&config, hidden_kernel(dtype, plan.columns), arguments));
}

void launch_scores(int32_t dtype, const DeviceInfo& device, const MlpRouterArgs& a, const void* hidden, uint32_t* range,
                   cudaStream_t stream) {
  const ScoresPlan plan =
      plan_scores(a.num_neurons, a.rank, a.batch_size, device.sm_count, device.shared_bytes_per_block_optin);
  ScoresParams p{};
  p.scores = a.scores;
  p.range = range;
  p.rows = static_cast<int>(a.num_neurons);
  p.batch = static_cast<int>(a.batch_size);
  p.slices = plan.slices;
  p.warpgroup_rows = plan.warpgroup_rows;
  p.passes = plan.passes;
  p.batch_tiles = plan.batch_tiles;
  p.slot_rows = plan.slot_rows;
  p.slots = plan.slots;
  CUtensorMap weights = matrix_map(dtype, a.up, a.num_neurons, a.rank, plan.warpgroup_rows);
  CUtensorMap input =
      matrix_map(dtype, hidden, static_cast<int64_t>(plan.batch_tiles) * plan.columns, a.rank, plan.columns);
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(plan.blocks));
  config.blockDim = dim3(static_cast<unsigned>(scores_threads(plan.warpgroups)));
  config.dynamicSmemBytes = static_cast<size_t>(plan.shared_bytes);
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  void* arguments[] = {&p, &weights, &input};
  CHECK_CUDA(cudaLaunchKernelExC(&config, scores_kernel(dtype, plan.columns), arguments));
}

}  // namespace

bool has_products(const DeviceInfo& device) { return device.compute_major == 9 && device.compute_minor == 0; }

size_t products_workspace_bytes(const MlpRouterArgs& a) {
  const int64_t columns = columns_of(a.batch_size);
  return align_up(static_cast<size_t>(divide_up(a.batch_size, columns) * columns * a.rank) * 2);
}

void prepare_products(int32_t dtype, const DeviceInfo& device) {
  for (const int columns : {8, 32, 64, 128}) {
    for (const void* kernel : {hidden_kernel(dtype, columns), scores_kernel(dtype, columns)}) {
      CHECK_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(device.shared_bytes_per_block_optin)));
    }
  }
}

void launch_products(int32_t dtype, const DeviceInfo& device, const MlpRouterArgs& a, uint32_t* range, void* workspace,
                     cudaStream_t stream) {
  launch_hidden(dtype, device, a, workspace, stream);
  launch_scores(dtype, device, a, workspace, range, stream);
}

}  // namespace polar::cuda::router
