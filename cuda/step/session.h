// Sessions of layer and step problems, and evaluate() on the caller's tensors.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../../src/native/common/backend.h"

namespace polar::cuda::step {

// "layer/dense" ... "step/polar", in the order of the catalog.
std::vector<std::string> kernel_ids();

// Throws NativeError E_UNSUPPORTED for a shape that no kernel can lay out.
void check_shape(const PolarProblem& problem);

// Throws NativeError E_UNSUPPORTED for shapes that the kernels cannot compute, E_BACKEND_UNAVAILABLE.
std::unique_ptr<Session> open_session(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates,
                                      const PolarOptions& options);

// Backend::evaluate: all layers of the model are resident. Throws NativeError E_OUT_OF_MEMORY where they do not fit.
void evaluate(const PolarProblem& problem, const PolarCandidate& candidate, const PolarOptions& options,
              const PolarTensors& tensors, const Reporter& reporter);

}  // namespace polar::cuda::step
