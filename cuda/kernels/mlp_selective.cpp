// mlp/selective: the same over the active neurons, gathered inside both GEMMs (Polar Sparsity Alg. 3).
#include "mlp_launch.h"
#include "registry.h"

namespace polar::cuda {
namespace {

void launch_mlp_selective(const LaunchContext& context, const MlpArgs& args) {
  mlp::launch(context, args, mlp::Selection::kSelective, "mlp/selective");
}

}  // namespace

const MlpKernel kMlpSelective = mlp::kernel_of<mlp::Selection::kSelective>("mlp/selective", launch_mlp_selective);

}  // namespace polar::cuda
