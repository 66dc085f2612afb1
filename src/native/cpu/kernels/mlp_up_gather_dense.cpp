#include "mlp_phases.h"

namespace polar::cpu {

size_t mlp_up_gather_dense_workspace_bytes(const PolarProblem& p, int64_t active_neurons, int threads) {
  return mlp_gather_workspace_bytes(p, active_neurons, threads);
}

// Copies the active neurons' rows of W1, then computes densely.
void launch_mlp_up_gather_dense(const Launch& launch, const MlpArgs& args) { mlp_gather(launch, args); }

}  // namespace polar::cpu
