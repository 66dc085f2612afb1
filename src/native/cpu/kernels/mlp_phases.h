// The two phases that every MLP kernel is made of, and the gather of the naive baseline.
#pragma once

#include "kernel.h"

namespace polar::cpu {

// Up (and gate) projection with activation into out [B, active_neurons]; neurons are divided evenly among the threads.
size_t mlp_up_workspace_bytes(const PolarProblem& p, int threads);
void mlp_up_phase(const Launch& launch, const MlpArgs& args, std::byte* workspace, uint16_t* out);

// Down projection of hidden [B, active_neurons] into args.out. The reduction runs over neurons: every thread sums its
// share, and the shares are added in the order of the threads, so equal runs give equal bits.
size_t mlp_down_workspace_bytes(const PolarProblem& p, int threads);
void mlp_down_phase(const Launch& launch, const MlpArgs& args, std::byte* workspace, const uint16_t* hidden);

// Workspace and launch of a whole kernel of the scope (up, down or both), without a gather.
size_t mlp_direct_workspace_bytes(const PolarProblem& p, int64_t active_neurons, int threads);
void mlp_direct(const Launch& launch, const MlpArgs& args);

// Copies the rows of the active neurons (and their biases) on every run, then runs the direct kernel on the copy.
size_t mlp_gather_workspace_bytes(const PolarProblem& p, int64_t active_neurons, int threads);
void mlp_gather(const Launch& launch, const MlpArgs& args);

}  // namespace polar::cpu
