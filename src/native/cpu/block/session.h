// Layer and step problems on the CPU.
#pragma once

#include <memory>
#include <vector>

#include "../../common/backend.h"
#include "../inputs.h"
#include "../isa.h"
#include "../threads.h"

namespace polar::cpu {

std::unique_ptr<Session> open_block_session(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates,
                                            const PolarOptions& options, Isa isa, ThreadPool& pool, InputStore& store);

// Backend::evaluate: one run on the caller's tensors, layer by layer, so that one layer's weights are in memory at a
// time. Throws NativeError E_OUT_OF_MEMORY.
void evaluate_block(const PolarProblem& problem, const PolarCandidate& candidate, const PolarTensors& tensors, Isa isa,
                    ThreadPool& pool, const Reporter& reporter);

}  // namespace polar::cpu
