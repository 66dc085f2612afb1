// Instances of the up projection: Y = act(X W1[index]^T + b).
#include "mlp_gemm_instances.cuh"

namespace polar::cuda::mlp {

GemmKernel up_kernel(const GemmConfig& config, int32_t dtype) {
  return dtype == POLAR_BF16 ? find_instance<GemmOp::kUp, __nv_bfloat16>(config)
                             : find_instance<GemmOp::kUp, __half>(config);
}

}  // namespace polar::cuda::mlp
