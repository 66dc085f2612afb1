// attention/dense-per-query-head: streams a group's cache once per query head, on purpose: the shape of the paper's
// baseline, which gains nothing from grouped queries. At ratio 1 it does what attention/dense does.
#include "attention_decode.h"
#include "registry.h"

namespace polar::cuda {
namespace {

AttentionWork work_of(const PolarProblem& p) { return attention_work(p, p.num_qo_heads, 1); }

size_t workspace_bytes(const PolarProblem& p, const PolarCandidate&, const DeviceInfo& device) {
  const AttentionWork work = work_of(p);
  return attention_workspace(work, choose_attention_config(work, attention_device(device))).bytes;
}

void prepare(const PolarProblem& p, const PolarCandidate&, const DeviceInfo& device) {
  prepare_attention_decode(p, device, work_of(p));
}

// group_index and active_groups of `args` are ignored: every head is active.
void launch_attention_dense_per_query_head(const LaunchContext& context, const AttentionArgs& args) {
  const PolarProblem& p = context.problem;
  const AttentionWork work = work_of(p);
  AttentionLaunch launch{};
  launch.kernel = kAttentionDensePerQueryHead.id;
  launch.k = args.k;
  launch.v = args.v;
  launch.units_per_sequence = p.num_qo_heads;
  launch.stored_kv_heads = p.num_kv_heads;
  launch.kv_capacity = p.kv_capacity;
  launch.heads_per_unit = 1;
  launch.units_per_kv_head = static_cast<int>(p.num_qo_heads / p.num_kv_heads);
  launch.workspace = args.workspace;
  launch_attention_decode(context, args, launch, work, choose_attention_config(work, attention_device(context.device)));
}

}  // namespace

const AttentionKernel kAttentionDensePerQueryHead = {"attention/dense-per-query-head", workspace_bytes, prepare,
                                                     launch_attention_dense_per_query_head};

}  // namespace polar::cuda
