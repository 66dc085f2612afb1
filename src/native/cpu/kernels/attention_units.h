// The scheduler that all attention kernels share.
#pragma once

#include "kernel.h"

namespace polar::cpu {

// What is attended to together: the unit whose keys are streamed once.
enum class UnitKind {
  kGroup,     // (sequence, active KV group) with all its query heads
  kQueryHead  // (query head of the group, sequence, group): a group's cache is streamed once per query head
};

size_t attention_units_workspace_bytes(const PolarProblem& p, int threads);

// Attention over the active groups; every thread takes an equal contiguous range of the flattened (unit, 64-key tile)
// list. Units cut between threads are merged afterwards in ascending order by log-sum-exp, so the result depends on
// the number of threads and on nothing else. Rows of unselected groups become zero.
void attention_units(const Launch& launch, const AttentionArgs& args, UnitKind kind);

}  // namespace polar::cpu
