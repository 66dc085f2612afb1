// Router problems on the CPU: scores and selection of one router.
#pragma once

#include <memory>
#include <vector>

#include "../common/backend.h"
#include "inputs.h"
#include "isa.h"
#include "threads.h"

namespace polar::cpu {

std::unique_ptr<Session> open_router_session(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates,
                                             const PolarOptions& options, Isa isa, ThreadPool& pool, InputStore& store);

}  // namespace polar::cpu
