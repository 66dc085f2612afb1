// mlp-down/dense: Z = Y W2 + b2 over all neurons (ours).
#include "mlp_launch.h"
#include "registry.h"

namespace polar::cuda {
namespace {

void launch_mlp_down_dense(const LaunchContext& context, const MlpArgs& args) {
  mlp::launch(context, args, mlp::Selection::kDense, "mlp-down/dense");
}

}  // namespace

const MlpKernel kMlpDownDense = mlp::kernel_of<mlp::Selection::kDense>("mlp-down/dense", launch_mlp_down_dense);

}  // namespace polar::cuda
