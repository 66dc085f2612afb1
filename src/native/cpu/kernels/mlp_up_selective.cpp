#include "mlp_phases.h"

namespace polar::cpu {

size_t mlp_up_selective_workspace_bytes(const PolarProblem& p, int64_t active_neurons, int threads) {
  return mlp_direct_workspace_bytes(p, active_neurons, threads);
}

// Up (and gate) with the activation over the active neurons, whose rows are read where they lie (Alg. 3).
void launch_mlp_up_selective(const Launch& launch, const MlpArgs& args) { mlp_direct(launch, args); }

}  // namespace polar::cpu
