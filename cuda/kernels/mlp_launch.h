// What the MLP kernels share on the host: workspace layout and the steps up, down, gather.
#pragma once

#include "mlp_gemm.h"

namespace polar::cuda::mlp {

// How a kernel treats the neurons.
enum class Selection {
  kDense,      // all of them; the candidate's index is ignored
  kSelective,  // gathered inside the GEMM (Polar Sparsity Alg. 3)
  kGathered    // rows copied to the workspace first, then dense
};

// Bytes of workspace for `candidate`, scope taken from the problem; a pure function.
size_t workspace_bytes(const PolarProblem& problem, const PolarCandidate& candidate, const DeviceInfo& device,
                       Selection selection);
void prepare(const PolarProblem& problem, const PolarCandidate& candidate, const DeviceInfo& device,
             Selection selection);
// Enqueues the scope's GEMMs; `id` names the kernel for planted faults.
void launch(const LaunchContext& context, const MlpArgs& args, Selection selection, const char* id);

// The registry entry of one id and selection.
template <Selection S>
constexpr MlpKernel kernel_of(const char* id, void (*launch_function)(const LaunchContext&, const MlpArgs&)) {
  return {id,
          [](const PolarProblem& p, const PolarCandidate& c, const DeviceInfo& device) {
            return workspace_bytes(p, c, device, S);
          },
          [](const PolarProblem& p, const PolarCandidate& c, const DeviceInfo& device) { prepare(p, c, device, S); },
          launch_function};
}

}  // namespace polar::cuda::mlp
