// mlp-down/selective: Z = Y W2[index] + b2, the gather runs along the reduction (Polar Sparsity Alg. 3).
#include "mlp_launch.h"
#include "registry.h"

namespace polar::cuda {
namespace {

void launch_mlp_down_selective(const LaunchContext& context, const MlpArgs& args) {
  mlp::launch(context, args, mlp::Selection::kSelective, "mlp-down/selective");
}

}  // namespace

const MlpKernel kMlpDownSelective =
    mlp::kernel_of<mlp::Selection::kSelective>("mlp-down/selective", launch_mlp_down_selective);

}  // namespace polar::cuda
