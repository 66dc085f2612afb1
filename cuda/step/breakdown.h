// Where the time of a step goes: the same graph once more with event nodes between the modules of every layer.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "layer_sequence.h"

namespace polar::cuda::step {

// Nanoseconds per run of attention, qkv (with RoPE and append), out-proj, mlp, routers and other (norms, residuals,
// head, argmax), in this order. Time on the main stream: routers hold what attention and MLP wait for their routers
// beyond the kernels beside which these run; what they slow those kernels down is in the kernels' time. Event nodes
// delay a graph: what the instrumented graph takes longer than the plain one is taken off in equal shares per event,
// and the rest scaled to the plain graph's time.
std::vector<std::pair<std::string, double>> measure_parts(const State& state, const LayerSequence& sequence);

}  // namespace polar::cuda::step
