#include "mlp_phases.h"

namespace polar::cpu {

size_t mlp_selective_workspace_bytes(const PolarProblem& p, int64_t active_neurons, int threads) {
  return mlp_direct_workspace_bytes(p, active_neurons, threads);
}

// Up (and gate), activation and down over the active neurons, whose rows are read where they lie (Alg. 3).
void launch_mlp_selective(const Launch& launch, const MlpArgs& args) { mlp_direct(launch, args); }

}  // namespace polar::cpu
