// mlp/dense: out = act(X W1^T + b1) W2 + b2 over all neurons, hidden values in the workspace (ours).
#include "mlp_launch.h"
#include "registry.h"

namespace polar::cuda {
namespace {

void launch_mlp_dense(const LaunchContext& context, const MlpArgs& args) {
  mlp::launch(context, args, mlp::Selection::kDense, "mlp/dense");
}

}  // namespace

const MlpKernel kMlpDense = mlp::kernel_of<mlp::Selection::kDense>("mlp/dense", launch_mlp_dense);

}  // namespace polar::cuda
