// mlp/cublaslt, mlp-up/cublaslt, mlp-down/cublaslt: all neurons, the fastest of the library's candidates.
#include <cstdint>

#include "../kernels/registry.h"
#include "cublaslt.h"

namespace polar::cuda {
namespace {

int64_t aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }
bool runs_up(const PolarProblem& p) { return p.scope != POLAR_SCOPE_MLP_DOWN; }
bool runs_down(const PolarProblem& p) { return p.scope != POLAR_SCOPE_MLP_UP; }

lt::GemmKey up_key(const PolarProblem& p, const DeviceInfo& device) {
  return {p.dtype, 1,      p.batch_size, p.intermediate_size * (p.gated ? 2 : 1), p.hidden_size, p.activation,
          p.gated, p.mlp_bias, device.ordinal};
}

lt::GemmKey down_key(const PolarProblem& p, const DeviceInfo& device) {
  return {p.dtype, 0, p.batch_size, p.hidden_size, p.intermediate_size, -1, 0, p.mlp_bias, device.ordinal};
}

// Workspace: the library's, then hidden values (mlp), then gate and up values (gated).
int64_t hidden_bytes(const PolarProblem& p) {
  return p.scope == POLAR_SCOPE_MLP ? aligned(p.batch_size * p.intermediate_size * 2) : 0;
}
int64_t product_bytes(const PolarProblem& p) {
  return runs_up(p) && p.gated ? aligned(p.batch_size * p.intermediate_size * 4) : 0;
}

size_t cublaslt_workspace_bytes(const PolarProblem& p, const PolarCandidate&, const DeviceInfo&) {
  return lt::kWorkspaceBytes + static_cast<size_t>(hidden_bytes(p) + product_bytes(p));
}

void prepare_cublaslt(const PolarProblem& p, const PolarCandidate&, const DeviceInfo& device) {
  if (runs_up(p)) lt::plan_gemm(up_key(p, device), device);
  if (runs_down(p)) lt::plan_gemm(down_key(p, device), device);
}

void launch_cublaslt(const LaunchContext& context, const MlpArgs& args) {
  const PolarProblem& p = context.problem;
  char* workspace = static_cast<char*>(args.workspace);
  char* hidden = workspace + lt::kWorkspaceBytes;
  const void* down_input = args.hidden_in;
  if (runs_up(p)) {
    void* out = p.scope == POLAR_SCOPE_MLP ? hidden : args.out;
    void* product = p.gated ? hidden + hidden_bytes(p) : out;
    lt::run_gemm(lt::plan_gemm(up_key(p, context.device), context.device),
                 {args.w1, args.x, args.b1, product, out, workspace}, context.stream);
    down_input = out;
  }
  if (runs_down(p)) {
    lt::run_gemm(lt::plan_gemm(down_key(p, context.device), context.device),
                 {args.w2, down_input, args.b2, args.out, args.out, workspace}, context.stream);
  }
}

}  // namespace

const MlpKernel kMlpCublaslt = {"mlp/cublaslt", cublaslt_workspace_bytes, prepare_cublaslt, launch_cublaslt};
const MlpKernel kMlpUpCublaslt = {"mlp-up/cublaslt", cublaslt_workspace_bytes, prepare_cublaslt, launch_cublaslt};
const MlpKernel kMlpDownCublaslt = {"mlp-down/cublaslt", cublaslt_workspace_bytes, prepare_cublaslt, launch_cublaslt};

}  // namespace polar::cuda
