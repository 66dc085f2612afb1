#include "attention_units.h"

namespace polar::cpu {

size_t attention_dense_per_query_head_workspace_bytes(const PolarProblem& p, int64_t /*active_groups*/, int threads) {
  return attention_units_workspace_bytes(p, threads);
}

// All heads, a group's cache streamed once per query head: the shape of the paper's baseline. The query head within the
// group is the outermost loop, so the cache really comes again each time instead of being found in a nearby level.
void launch_attention_dense_per_query_head(const Launch& launch, const AttentionArgs& args) {
  attention_units(launch, args, UnitKind::kQueryHead);
}

}  // namespace polar::cpu
