// mlp/gather-dense: copies the active rows of W1 and W2 to the workspace, then dense: the naive sparse baseline.
#include "mlp_launch.h"
#include "registry.h"

namespace polar::cuda {
namespace {

void launch_mlp_gather_dense(const LaunchContext& context, const MlpArgs& args) {
  mlp::launch(context, args, mlp::Selection::kGathered, "mlp/gather-dense");
}

}  // namespace

const MlpKernel kMlpGatherDense =
    mlp::kernel_of<mlp::Selection::kGathered>("mlp/gather-dense", launch_mlp_gather_dense);

}  // namespace polar::cuda
