// attention/gather-dense: copies K and V of the active groups into the workspace, then runs dense attention over the
// copy: the naive sparse baseline, which moves every active byte three times.
#include "../../src/native/common/problem.h"
#include "../common/check.h"
#include "attention_decode.h"
#include "registry.h"

namespace polar::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kVectorsPerThread = 4;  // 16-byte loads in flight per thread and tensor
constexpr int kBlocksPerSm = 8;

struct GatherParams {
  const uint4* k;  // [B, H_kv, kv_capacity, vectors]
  const uint4* v;
  uint4* k_out;  // [B, active_groups, kv_len, vectors]
  uint4* v_out;
  const int32_t* group_index;  // [B, active_groups] or null
  int64_t active_groups;
  int64_t num_kv_heads;
  int64_t row_vectors;  // 16-byte vectors of one (sequence, head): kv_len * head_dim / 8
  int64_t row_stride;   // kv_capacity * head_dim / 8
  int64_t pieces_per_row;
  int64_t pieces;
};

__global__ void __launch_bounds__(kThreads) attention_gather_kernel(const GatherParams p) {
  for (int64_t piece = blockIdx.x; piece < p.pieces; piece += gridDim.x) {
    const int64_t unit = piece / p.pieces_per_row;
    const int64_t start = (piece - unit * p.pieces_per_row) * kThreads * kVectorsPerThread + threadIdx.x;
    const int64_t batch = unit / p.active_groups;
    const int64_t group = p.group_index == nullptr ? unit - batch * p.active_groups : p.group_index[unit];
    const int64_t source = (batch * p.num_kv_heads + group) * p.row_stride;
    const int64_t target = unit * p.row_vectors;
    uint4 k[kVectorsPerThread], v[kVectorsPerThread];
#pragma unroll
    for (int i = 0; i < kVectorsPerThread; ++i) {
      const int64_t at = start + i * kThreads;
      if (at < p.row_vectors) {
        k[i] = __ldcs(p.k + source + at);
        v[i] = __ldcs(p.v + source + at);
      }
    }
#pragma unroll
    for (int i = 0; i < kVectorsPerThread; ++i) {
      const int64_t at = start + i * kThreads;
      if (at < p.row_vectors) {
        p.k_out[target + at] = k[i];
        p.v_out[target + at] = v[i];
      }
    }
  }
}

AttentionWork work_of(const PolarProblem& p, int64_t active_groups) {
  return attention_work(p, active_groups, group_size(p));
}

// Bytes of the copy of K, or of V, rounded up to the alignment of tensor copies and of what follows.
size_t copy_bytes(const PolarProblem& p, int64_t active_groups) {
  return (static_cast<size_t>(p.batch_size * active_groups * p.kv_len * p.head_dim) * 2 + 255) / 256 * 256;
}

size_t attention_bytes(const AttentionWork& work, const DeviceInfo& device) {
  return attention_workspace(work, choose_attention_config(work, attention_device(device))).bytes;
}

// Workspace: the attention kernel's own part first, then K and V of the active groups.
size_t workspace_bytes(const PolarProblem& p, const PolarCandidate& candidate, const DeviceInfo& device) {
  return attention_bytes(work_of(p, candidate.active_groups), device) + 2 * copy_bytes(p, candidate.active_groups);
}

void prepare(const PolarProblem& p, const PolarCandidate& candidate, const DeviceInfo& device) {
  prepare_attention_decode(p, device, work_of(p, candidate.active_groups));
}

void launch_gather(const LaunchContext& context, const AttentionArgs& args, char* k_copy, char* v_copy) {
  const PolarProblem& p = context.problem;
  GatherParams g{};
  g.k = static_cast<const uint4*>(args.k);
  g.v = static_cast<const uint4*>(args.v);
  g.k_out = reinterpret_cast<uint4*>(k_copy);
  g.v_out = reinterpret_cast<uint4*>(v_copy);
  g.group_index = args.group_index;
  g.active_groups = args.active_groups;
  g.num_kv_heads = p.num_kv_heads;
  g.row_vectors = p.kv_len * p.head_dim / 8;
  g.row_stride = p.kv_capacity * p.head_dim / 8;
  g.pieces_per_row = (g.row_vectors + kThreads * kVectorsPerThread - 1) / (kThreads * kVectorsPerThread);
  g.pieces = p.batch_size * args.active_groups * g.pieces_per_row;
  const int64_t blocks = std::min<int64_t>(g.pieces, int64_t{1} * context.device.sm_count * kBlocksPerSm);
  attention_gather_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, context.stream>>>(g);
  CHECK_LAUNCH("attention/gather-dense");
}

void launch_attention_gather_dense(const LaunchContext& context, const AttentionArgs& args) {
  const PolarProblem& p = context.problem;
  const AttentionWork work = work_of(p, args.active_groups);
  char* k_copy = static_cast<char*>(args.workspace) + attention_bytes(work, context.device);
  char* v_copy = k_copy + copy_bytes(p, args.active_groups);
  launch_gather(context, args, k_copy, v_copy);
  AttentionLaunch launch{};
  launch.kernel = kAttentionGatherDense.id;
  launch.k = k_copy;
  launch.v = v_copy;
  launch.group_index = args.group_index;
  launch.units_per_sequence = args.active_groups;
  launch.stored_kv_heads = args.active_groups;
  launch.kv_capacity = p.kv_len;
  launch.heads_per_unit = work.heads_per_unit;
  launch.units_per_kv_head = 1;
  launch.compact = true;
  launch.workspace = args.workspace;
  launch_attention_decode(context, args, launch, work, choose_attention_config(work, attention_device(context.device)));
}

}  // namespace

const AttentionKernel kAttentionGatherDense = {"attention/gather-dense", workspace_bytes, prepare,
                                               launch_attention_gather_dense};

}  // namespace polar::cuda
