// mlp-up/selective: Y = act(X W1[index]^T + b1[index]), [B, active] (Polar Sparsity Alg. 3).
#include "mlp_launch.h"
#include "registry.h"

namespace polar::cuda {
namespace {

void launch_mlp_up_selective(const LaunchContext& context, const MlpArgs& args) {
  mlp::launch(context, args, mlp::Selection::kSelective, "mlp-up/selective");
}

}  // namespace

const MlpKernel kMlpUpSelective =
    mlp::kernel_of<mlp::Selection::kSelective>("mlp-up/selective", launch_mlp_up_selective);

}  // namespace polar::cuda
