// One problem on the CPU: inputs, rotation copies and the executables of its candidates.
#pragma once

#include <memory>
#include <vector>

#include "../common/backend.h"
#include "inputs.h"
#include "isa.h"
#include "kernels/kernel.h"
#include "memory.h"
#include "threads.h"
#include "verify.h"

namespace polar::cpu {

// Cold cache: distinct bytes that a rotation touches, in units of the last-level cache.
inline constexpr double kRotationCaches = 5.0;

// Bytes of rotating tensors (weights, KV) that one run of the candidate reads. Pure.
double touched_bytes(const PolarProblem& p, const PolarCandidate& candidate);

// Copies of `copy_bytes` each, so that the candidate which touches the fewest bytes of a copy (`least_touched`) meets
// none again before `cache_bytes` * kRotationCaches distinct bytes; limited to what `free_bytes` allows, at least 1.
int64_t plan_copies(double copy_bytes, double least_touched, double cache_bytes, double free_bytes);

std::unique_ptr<Session> open_session(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates,
                                      const PolarOptions& options, Isa isa, ThreadPool& pool, InputStore& store);

// The instrument's own test kernel, in the POLAR_FAULTS build only: busy-waits active_neurons nanoseconds with noise.
inline constexpr const char* kSpinKernel = "instrument/spin";

}  // namespace polar::cpu
