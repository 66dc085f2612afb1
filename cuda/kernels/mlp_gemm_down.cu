// Instances of the down projection: Z = Y W2[index] + b.
#include "mlp_gemm_instances.cuh"

namespace polar::cuda::mlp {
namespace {

template <typename T>
GemmKernel choose(const GemmConfig& c) {
  constexpr GemmOp kOp = GemmOp::kDown;
  if (c.tile == GemmTile::kShort) return short_kernel<kOp, T>(c);
  if (c.tile != GemmTile::kTall || c.path != GemmPath::kTensorCopy) refuse_config(c);
  if (c.batch_tile == 8) return tensor_copy_instance<kOp, GemmTile::kTall, 8, T>();
  if (c.batch_tile == 32) return tensor_copy_instance<kOp, GemmTile::kTall, 32, T>();
  if (c.batch_tile == 64) return tensor_copy_instance<kOp, GemmTile::kTall, 64, T>();
  refuse_config(c);
}

}  // namespace

GemmKernel down_kernel(const GemmConfig& config, int32_t dtype) {
  return dtype == POLAR_BF16 ? choose<__nv_bfloat16>(config) : choose<__half>(config);
}

}  // namespace polar::cuda::mlp
