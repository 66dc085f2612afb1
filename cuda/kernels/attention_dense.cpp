// attention/dense: decode attention over all heads; a KV group's cache is read once for all its query heads (ours).
#include "../../src/native/common/problem.h"
#include "attention_decode.h"
#include "registry.h"

namespace polar::cuda {
namespace {

AttentionWork work_of(const PolarProblem& p) { return attention_work(p, p.num_kv_heads, group_size(p)); }

size_t workspace_bytes(const PolarProblem& p, const PolarCandidate&, const DeviceInfo& device) {
  const AttentionWork work = work_of(p);
  return attention_workspace(work, choose_attention_config(work, attention_device(device))).bytes;
}

void prepare(const PolarProblem& p, const PolarCandidate&, const DeviceInfo& device) {
  prepare_attention_decode(p, device, work_of(p));
}

// group_index and active_groups of `args` are ignored: every group is active.
void launch_attention_dense(const LaunchContext& context, const AttentionArgs& args) {
  const PolarProblem& p = context.problem;
  const AttentionWork work = work_of(p);
  AttentionLaunch launch{};
  launch.kernel = kAttentionDense.id;
  launch.k = args.k;
  launch.v = args.v;
  launch.units_per_sequence = p.num_kv_heads;
  launch.stored_kv_heads = p.num_kv_heads;
  launch.kv_capacity = p.kv_capacity;
  launch.heads_per_unit = work.heads_per_unit;
  launch.units_per_kv_head = 1;
  launch.workspace = args.workspace;
  launch_attention_decode(context, args, launch, work, choose_attention_config(work, attention_device(context.device)));
}

}  // namespace

const AttentionKernel kAttentionDense = {"attention/dense", workspace_bytes, prepare, launch_attention_dense};

}  // namespace polar::cuda
