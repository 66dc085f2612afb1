#include "attention_units.h"

namespace polar::cpu {

size_t attention_dense_workspace_bytes(const PolarProblem& p, int64_t /*active_groups*/, int threads) {
  return attention_units_workspace_bytes(p, threads);
}

// All KV groups, a group's cache read once for all its query heads.
void launch_attention_dense(const Launch& launch, const AttentionArgs& args) {
  attention_units(launch, args, UnitKind::kGroup);
}

}  // namespace polar::cpu
