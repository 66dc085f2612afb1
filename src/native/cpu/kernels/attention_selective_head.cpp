#include "attention_units.h"

namespace polar::cpu {

size_t attention_selective_head_workspace_bytes(const PolarProblem& p, int64_t /*active_groups*/, int threads) {
  return attention_units_workspace_bytes(p, threads);
}

// The active heads (MHA) or KV groups (GQA) of each sequence (Polar Sparsity Alg. 1): the dense kernel on a shorter
// list, in place, without copies.
void launch_attention_selective_head(const Launch& launch, const AttentionArgs& args) {
  attention_units(launch, args, UnitKind::kGroup);
}

}  // namespace polar::cpu
