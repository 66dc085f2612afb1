// Router problems on the device: scores and selection of one router.
#pragma once

#include <memory>
#include <vector>

#include "../src/native/common/backend.h"

namespace polar::cuda {

// Session of a router problem; throws NativeError for a device that cannot be used. Each kind of router rotates over
// copies of its own input and weights: the attention router's are hundreds of times smaller.
std::unique_ptr<Session> open_router_session(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates,
                                             const PolarOptions& options);

}  // namespace polar::cuda
