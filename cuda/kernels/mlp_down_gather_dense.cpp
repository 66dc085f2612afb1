// mlp-down/gather-dense: copies the active rows of W2 to the workspace, then dense: the naive sparse baseline.
#include "mlp_launch.h"
#include "registry.h"

namespace polar::cuda {
namespace {

void launch_mlp_down_gather_dense(const LaunchContext& context, const MlpArgs& args) {
  mlp::launch(context, args, mlp::Selection::kGathered, "mlp-down/gather-dense");
}

}  // namespace

const MlpKernel kMlpDownGatherDense =
    mlp::kernel_of<mlp::Selection::kGathered>("mlp-down/gather-dense", launch_mlp_down_gather_dense);

}  // namespace polar::cuda
