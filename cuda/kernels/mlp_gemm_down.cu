// Instances of the down projection: Z = Y W2[index] + b.
#include "mlp_gemm_instances.cuh"

namespace polar::cuda::mlp {

GemmKernel down_kernel(const GemmConfig& config, int32_t dtype) {
  return dtype == POLAR_BF16 ? find_instance<GemmOp::kDown, __nv_bfloat16>(config)
                             : find_instance<GemmOp::kDown, __half>(config);
}

}  // namespace polar::cuda::mlp
