// Instances of the up projection: Y = act(X W1[index]^T + b).
#include "mlp_gemm_instances.cuh"

namespace polar::cuda::mlp {
namespace {

template <typename T>
GemmKernel choose(const GemmConfig& c) {
  constexpr GemmOp kOp = GemmOp::kUp;
  if (c.tile == GemmTile::kShort) return short_kernel<kOp, T>(c);
  if (c.path != GemmPath::kTensorCopy) refuse_config(c);
  if (c.tile == GemmTile::kTall && c.batch_tile == 64) return tensor_copy_instance<kOp, GemmTile::kTall, 64, T>();
  if (c.tile == GemmTile::kBroad && c.batch_tile == 64) return tensor_copy_instance<kOp, GemmTile::kBroad, 64, T>();
  if (c.tile == GemmTile::kWide && c.batch_tile == 8) return tensor_copy_instance<kOp, GemmTile::kWide, 8, T>();
  if (c.tile == GemmTile::kWide && c.batch_tile == 32) return tensor_copy_instance<kOp, GemmTile::kWide, 32, T>();
  if (c.tile == GemmTile::kWide && c.batch_tile == 64) return tensor_copy_instance<kOp, GemmTile::kWide, 64, T>();
  refuse_config(c);
}

}  // namespace

GemmKernel up_kernel(const GemmConfig& config, int32_t dtype) {
  return dtype == POLAR_BF16 ? choose<__nv_bfloat16>(config) : choose<__half>(config);
}

}  // namespace polar::cuda::mlp
