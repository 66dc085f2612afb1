// Launch of the routers: plans, workspaces, kernels in a row.
//   attention: partial scores over splits of d -> sum, selection per sequence
//   MLP:       hidden -> scores with the batch reduced -> selection; on sm_90a through router_products.cu
#include "router.h"

#include <string>

#include "../common/check.h"
#include "router_gemm.h"
#include "router_groups.cuh"
#include "router_params.cuh"
#include "router_products.h"
#include "router_select.h"

namespace polar::cuda {
namespace {

using router::Finish;
using router::GemmParams;
using router::GemmPlan;

constexpr size_t kAlignment = 256;
constexpr int kGroupThreads = 512;

size_t align(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

void expect_at_most(const char* name, int64_t value, int64_t limit) {
  if (value <= limit) return;
  throw NativeError("E_UNSUPPORTED", std::string("Expected at most ") + std::to_string(limit) + " for " + name +
                                         " of a router, got " + std::to_string(value));
}

GemmPlan usable(const GemmPlan& plan, const DeviceInfo& device) {
  if (plan.stages >= 2) return plan;
  throw NativeError("E_UNSUPPORTED", "Expected " +
                                         std::to_string(plan.shared_bytes + (2 - plan.stages) * plan.stage_bytes) +
                                         " bytes of shared memory per block for a router, got " +
                                         std::to_string(device.shared_bytes_per_block_optin));
}

GemmPlan attention_plan(const AttentionRouterArgs& a, const DeviceInfo& device) {
  expect_at_most("num_kv_heads", a.num_groups, kMaxRouterGroups);
  return usable(router::plan_split_k(a.num_groups, a.hidden_size, a.batch_size, device.sm_count,
                                     device.shared_bytes_per_block_optin, router::kAttentionLeastK),
                device);
}

GemmPlan hidden_plan(const MlpRouterArgs& a, const DeviceInfo& device) {
  expect_at_most("mlp_router_rank", a.rank, kMaxRouterRank);
  return usable(router::plan_split_k(a.rank, a.hidden_size, a.batch_size, device.sm_count,
                                     device.shared_bytes_per_block_optin, router::kHiddenLeastK),
                device);
}

GemmPlan scores_plan(const MlpRouterArgs& a, const DeviceInfo& device) {
  return usable(
      router::plan_whole_k(a.num_neurons, a.rank, a.batch_size, device.sm_count, device.shared_bytes_per_block_optin),
      device);
}

struct MlpWorkspace {
  size_t tickets, partial, hidden, bytes;  // first the selection's, which begins with the range of keys
};

MlpWorkspace mlp_workspace(const MlpRouterArgs& a, const GemmPlan& plan) {
  const auto tiles = static_cast<size_t>(plan.batch_tiles) * static_cast<size_t>(plan.row_tiles);
  MlpWorkspace w{};
  w.tickets = align(select_workspace_bytes());
  w.partial = w.tickets + align(tiles * 2 * sizeof(unsigned));
  w.hidden = w.partial + align(tiles * static_cast<size_t>(plan.splits * router::kTileRows * plan.batch_tile) * 4);
  w.bytes = w.hidden + align(static_cast<size_t>(a.batch_size * a.rank) * 2);
  return w;
}

const void* gemm_kernel(int32_t dtype, int batch_tile, router::Depth depth) {
  return dtype == POLAR_BF16 ? router::router_gemm_kernel_bf16(batch_tile, depth)
                             : router::router_gemm_kernel_fp16(batch_tile, depth);
}

// The compiler reads keys eight at a time before it knows how many there are.
size_t group_keys_bytes(int64_t groups) {
  return static_cast<size_t>(router::divide_up(groups, 8) * 8) * sizeof(uint32_t);
}

struct LaunchShape {
  unsigned grid, threads;
  size_t shared_bytes;
  bool after_previous;  // may start while the kernel before it in the stream still runs
};

void enqueue(const void* kernel, const LaunchShape& shape, void* params, const DeviceInfo& device,
             cudaStream_t stream) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(shape.grid);
  config.blockDim = dim3(shape.threads);
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  cudaLaunchAttribute attribute;
  config.attrs = &attribute;
  if (shape.after_previous && device.compute_major >= 9) {
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    config.numAttrs = 1;
  }
  void* arguments[] = {params};
  CHECK_CUDA(cudaLaunchKernelExC(&config, kernel, arguments));
}

void launch_gemm(int32_t dtype, const DeviceInfo& device, GemmParams& p, cudaStream_t stream) {
  enqueue(gemm_kernel(dtype, p.plan.batch_tile, router::depth_of(p.k_total, p.plan.k_block)),
          {static_cast<unsigned>(p.plan.splits * p.plan.row_blocks), router::kThreads,
           static_cast<size_t>(p.plan.shared_bytes), false},
          &p, device, stream);
}

void allow_shared_memory(const void* kernel, size_t bytes) {
  CHECK_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
}

}  // namespace

size_t attention_router_workspace_bytes(const AttentionRouterArgs& a, const DeviceInfo& device) {
  const GemmPlan plan = attention_plan(a, device);
  return align(static_cast<size_t>(plan.splits * a.batch_size * a.num_groups) * sizeof(float));
}

size_t mlp_router_workspace_bytes(const MlpRouterArgs& a, const DeviceInfo& device) {
  expect_at_most("mlp_router_rank", a.rank, kMaxRouterRank);
  if (router::has_products(device)) {
    return align(select_workspace_bytes()) + router::products_workspace_bytes(a);
  }
  (void)scores_plan(a, device);
  return mlp_workspace(a, hidden_plan(a, device)).bytes;
}

void prepare_routers(int32_t dtype, const DeviceInfo& device) {
  prepare_selections(device);
  for (const int batch_tile : {8, 32, 64}) {
    for (const router::Depth depth : {router::Depth::kFull, router::Depth::kLines, router::Depth::kAny}) {
      allow_shared_memory(gemm_kernel(dtype, batch_tile, depth), device.shared_bytes_per_block_optin);
    }
  }
  if (router::has_products(device)) router::prepare_products(dtype, device);
}

void launch_attention_router(int32_t dtype, const DeviceInfo& device, const AttentionRouterArgs& a,
                             cudaStream_t stream) {
  GemmParams p{};
  p.weights = a.weight;
  p.input = a.x;
  p.k_total = a.hidden_size;
  p.rows = a.num_groups;
  p.batch = a.batch_size;
  p.plan = attention_plan(a, device);
  p.finish = Finish::kPartial;
  p.partial = static_cast<float*>(a.workspace);
  launch_gemm(dtype, device, p, stream);
  router::GroupParams g{
      p.partial, p.plan.splits, static_cast<int>(a.num_groups), static_cast<int>(a.top_k), a.batch_size,
      a.scores,  a.index};
  enqueue(reinterpret_cast<const void*>(router::group_select_kernel<kGroupThreads>),
          {static_cast<unsigned>(a.batch_size), kGroupThreads, group_keys_bytes(a.num_groups), true}, &g, device,
          stream);
}

namespace {

// Hidden values and scores through the kernels that every device from sm_80 on runs.
void launch_plain_products(int32_t dtype, const DeviceInfo& device, const MlpRouterArgs& a, cudaStream_t stream) {
  GemmParams p{};
  p.weights = a.down;
  p.input = a.x;
  p.k_total = a.hidden_size;
  p.rows = a.rank;
  p.batch = a.batch_size;
  p.plan = hidden_plan(a, device);
  p.finish = Finish::kHidden;
  const MlpWorkspace workspace = mlp_workspace(a, p.plan);
  char* base = static_cast<char*>(a.workspace);
  p.tickets = reinterpret_cast<unsigned*>(base + workspace.tickets);
  p.partial = reinterpret_cast<float*>(base + workspace.partial);
  p.hidden = base + workspace.hidden;
  launch_gemm(dtype, device, p, stream);

  GemmParams q{};
  q.weights = a.up;
  q.input = p.hidden;
  q.k_total = a.rank;
  q.rows = a.num_neurons;
  q.batch = a.batch_size;
  q.plan = scores_plan(a, device);
  q.finish = Finish::kScores;
  q.scores = a.scores;
  q.range = reinterpret_cast<uint32_t*>(base);
  launch_gemm(dtype, device, q, stream);
}

}  // namespace

void launch_mlp_router(int32_t dtype, const DeviceInfo& device, const MlpRouterArgs& a, cudaStream_t stream) {
  // The workspace begins with the selection's, and that with the range of keys.
  if (router::has_products(device)) {
    expect_at_most("mlp_router_rank", a.rank, kMaxRouterRank);
    router::launch_products(dtype, device, a, static_cast<uint32_t*>(a.workspace),
                            static_cast<char*>(a.workspace) + align(select_workspace_bytes()), stream);
  } else {
    launch_plain_products(dtype, device, a, stream);
  }
  router::SelectArgs s{};
  s.scores = a.scores;
  s.n = a.num_neurons;
  s.k = a.top_k;
  s.range_known = true;
  s.after_previous = true;
  s.index = a.index;
  s.workspace = a.workspace;
  launch_select(device, s, stream);
}

}  // namespace polar::cuda
