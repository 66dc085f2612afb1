#include "mlp_phases.h"

namespace polar::cpu {

size_t mlp_down_dense_workspace_bytes(const PolarProblem& p, int64_t active_neurons, int threads) {
  return mlp_direct_workspace_bytes(p, active_neurons, threads);
}

// Down projection over all neurons.
void launch_mlp_down_dense(const Launch& launch, const MlpArgs& args) { mlp_direct(launch, args); }

}  // namespace polar::cpu
