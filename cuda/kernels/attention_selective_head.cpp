// attention/selective-head: decode attention over the active heads or KV groups of each sequence (Polar Sparsity
// Alg. 1). Work is split over the active units alone; rows of the others are zeroed by the same kernel.
#include "../../src/native/common/problem.h"
#include "attention_decode.h"
#include "registry.h"

namespace polar::cuda {
namespace {

AttentionWork work_of(const PolarProblem& p, int64_t active_groups) {
  return attention_work(p, active_groups, group_size(p));
}

size_t workspace_bytes(const PolarProblem& p, const PolarCandidate& candidate, const DeviceInfo& device) {
  const AttentionWork work = work_of(p, candidate.active_groups);
  return attention_workspace(work, choose_attention_config(work, attention_device(device))).bytes;
}

void prepare(const PolarProblem& p, const PolarCandidate& candidate, const DeviceInfo& device) {
  prepare_attention_decode(p, device, work_of(p, candidate.active_groups));
}

// group_index null: all groups, active_groups = num_kv_heads.
void launch_attention_selective_head(const LaunchContext& context, const AttentionArgs& args) {
  const PolarProblem& p = context.problem;
  const AttentionWork work = work_of(p, args.active_groups);
  AttentionLaunch launch{};
  launch.kernel = kAttentionSelectiveHead.id;
  launch.k = args.k;
  launch.v = args.v;
  launch.group_index = args.group_index;
  launch.units_per_sequence = args.active_groups;
  launch.stored_kv_heads = p.num_kv_heads;
  launch.kv_capacity = p.kv_capacity;
  launch.heads_per_unit = work.heads_per_unit;
  launch.units_per_kv_head = 1;
  launch.workspace = args.workspace;
  launch_attention_decode(context, args, launch, work, choose_attention_config(work, attention_device(context.device)));
}

}  // namespace

const AttentionKernel kAttentionSelectiveHead = {"attention/selective-head", workspace_bytes, prepare,
                                                 launch_attention_selective_head};

}  // namespace polar::cuda
