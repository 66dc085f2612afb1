// mlp-up/dense: Y = act(X W1^T + b1) over all neurons (ours).
#include "mlp_launch.h"
#include "registry.h"

namespace polar::cuda {
namespace {

void launch_mlp_up_dense(const LaunchContext& context, const MlpArgs& args) {
  mlp::launch(context, args, mlp::Selection::kDense, "mlp-up/dense");
}

}  // namespace

const MlpKernel kMlpUpDense = mlp::kernel_of<mlp::Selection::kDense>("mlp-up/dense", launch_mlp_up_dense);

}  // namespace polar::cuda
