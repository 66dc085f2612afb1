// mlp/cublaslt, mlp-up/cublaslt, mlp-down/cublaslt: all neurons, the fastest of the library's candidates.
#include <cstdint>

#include "../kernels/registry.h"
#include "cublaslt.h"

namespace polar::cuda {
namespace {

size_t cublaslt_workspace_bytes(const PolarProblem& p, const PolarCandidate&, const DeviceInfo&) {
  return static_cast<size_t>(lt::workspace_layout(p).bytes);
}

void prepare_cublaslt(const PolarProblem& p, const PolarCandidate&, const DeviceInfo& device) {
  if (has_up(p)) lt::plan_gemm(lt::up_key(p, device.ordinal), device);
  if (has_down(p)) lt::plan_gemm(lt::down_key(p, device.ordinal), device);
}

void launch_cublaslt(const LaunchContext& context, const MlpArgs& args) {
  const PolarProblem& p = context.problem;
  const int32_t device = context.device.ordinal;
  const lt::Workspace layout = lt::workspace_layout(p);
  char* workspace = static_cast<char*>(args.workspace);
  float* product = reinterpret_cast<float*>(workspace + layout.product);
  const void* down_input = args.hidden_in;
  if (has_up(p)) {
    void* out = p.scope == POLAR_SCOPE_MLP ? workspace + layout.hidden : args.out;
    lt::run_gemm(lt::plan_gemm(lt::up_key(p, device), context.device),
                 {args.w1, args.x, args.b1, product, out, workspace}, context.stream);
    down_input = out;
  }
  if (has_down(p)) {
    lt::run_gemm(lt::plan_gemm(lt::down_key(p, device), context.device),
                 {args.w2, down_input, args.b2, product, args.out, workspace}, context.stream);
  }
}

}  // namespace

const MlpKernel kMlpCublaslt = {"mlp/cublaslt", cublaslt_workspace_bytes, prepare_cublaslt, launch_cublaslt};
const MlpKernel kMlpUpCublaslt = {"mlp-up/cublaslt", cublaslt_workspace_bytes, prepare_cublaslt, launch_cublaslt};
const MlpKernel kMlpDownCublaslt = {"mlp-down/cublaslt", cublaslt_workspace_bytes, prepare_cublaslt, launch_cublaslt};

}  // namespace polar::cuda
