#include "kernel.h"

namespace polar::cpu {

const std::vector<Kernel>& kernel_registry() {
#define POLAR_ATTENTION(id, name) {id, POLAR_SCOPE_ATTENTION, name##_workspace_bytes, launch_##name, nullptr}
#define POLAR_MLP(id, scope, name) {id, scope, name##_workspace_bytes, nullptr, launch_##name}
#define POLAR_PROGRAM(id, scope)         \
  {                                      \
    id, scope, nullptr, nullptr, nullptr \
  }
  static const std::vector<Kernel> kernels = {
      POLAR_ATTENTION("attention/dense", attention_dense),
      POLAR_ATTENTION("attention/dense-per-query-head", attention_dense_per_query_head),
      POLAR_ATTENTION("attention/selective-head", attention_selective_head),
      POLAR_ATTENTION("attention/gather-dense", attention_gather_dense),
      POLAR_MLP("mlp/dense", POLAR_SCOPE_MLP, mlp_dense),
      POLAR_MLP("mlp/selective", POLAR_SCOPE_MLP, mlp_selective),
      POLAR_MLP("mlp/gather-dense", POLAR_SCOPE_MLP, mlp_gather_dense),
      POLAR_MLP("mlp-up/dense", POLAR_SCOPE_MLP_UP, mlp_up_dense),
      POLAR_MLP("mlp-up/selective", POLAR_SCOPE_MLP_UP, mlp_up_selective),
      POLAR_MLP("mlp-up/gather-dense", POLAR_SCOPE_MLP_UP, mlp_up_gather_dense),
      POLAR_MLP("mlp-down/dense", POLAR_SCOPE_MLP_DOWN, mlp_down_dense),
      POLAR_MLP("mlp-down/selective", POLAR_SCOPE_MLP_DOWN, mlp_down_selective),
      POLAR_MLP("mlp-down/gather-dense", POLAR_SCOPE_MLP_DOWN, mlp_down_gather_dense),
      POLAR_PROGRAM("router/attention-topk", POLAR_SCOPE_ROUTER),
      POLAR_PROGRAM("router/mlp-topk", POLAR_SCOPE_ROUTER),
      POLAR_PROGRAM("layer/dense", POLAR_SCOPE_LAYER),
      POLAR_PROGRAM("layer/mlp-sparse", POLAR_SCOPE_LAYER),
      POLAR_PROGRAM("layer/head-sparse", POLAR_SCOPE_LAYER),
      POLAR_PROGRAM("layer/polar", POLAR_SCOPE_LAYER),
      POLAR_PROGRAM("step/dense", POLAR_SCOPE_STEP),
      POLAR_PROGRAM("step/mlp-sparse", POLAR_SCOPE_STEP),
      POLAR_PROGRAM("step/head-sparse", POLAR_SCOPE_STEP),
      POLAR_PROGRAM("step/polar", POLAR_SCOPE_STEP),
  };
#undef POLAR_ATTENTION
#undef POLAR_MLP
#undef POLAR_PROGRAM
  return kernels;
}

}  // namespace polar::cpu
