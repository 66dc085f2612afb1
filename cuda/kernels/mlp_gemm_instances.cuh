// Picks the compiled kernel of a configuration. Included by one source file per op.
#pragma once

#include "../../src/native/common/error.h"
#include "mlp_gemm.h"
#include "mlp_gemm_kernels.cuh"

namespace polar::cuda::mlp {

template <GemmOp Op, GemmTile Tile, int BatchTile, typename T>
GemmKernel tensor_copy_instance() {
  using G = Geometry<Op, Tile, BatchTile>;
  return {reinterpret_cast<const void*>(&mlp_gemm_tensor_copy_kernel<G, T>), kTensorThreads};
}

template <GemmOp Op, GemmTile Tile, int BatchTile, typename T>
GemmKernel async_copy_instance() {
  using G = Geometry<Op, Tile, BatchTile>;
  return {reinterpret_cast<const void*>(&mlp_gemm_async_copy_kernel<G, T>), kAsyncThreads};
}

[[noreturn]] inline void refuse_config(const GemmConfig& c) {
  throw NativeError("E_NATIVE", "Expected a configuration of choose_gemm_config for tile, got tile " +
                                    std::to_string(static_cast<int>(c.tile)) + " with batch tile " +
                                    std::to_string(c.batch_tile));
}

// Tiles of both ops: short with every batch size.
template <GemmOp Op, typename T>
GemmKernel short_kernel(const GemmConfig& c) {
  if (c.path == GemmPath::kAsyncCopy) {
    if (c.batch_tile == 8) return async_copy_instance<Op, GemmTile::kShort, 8, T>();
    if (c.batch_tile == 32) return async_copy_instance<Op, GemmTile::kShort, 32, T>();
    if (c.batch_tile == 64) return async_copy_instance<Op, GemmTile::kShort, 64, T>();
    refuse_config(c);
  }
  if (c.batch_tile == 8) return tensor_copy_instance<Op, GemmTile::kShort, 8, T>();
  if (c.batch_tile == 32) return tensor_copy_instance<Op, GemmTile::kShort, 32, T>();
  if (c.batch_tile == 64) return tensor_copy_instance<Op, GemmTile::kShort, 64, T>();
  if (c.batch_tile == 128) return tensor_copy_instance<Op, GemmTile::kShort, 128, T>();
  refuse_config(c);
}

}  // namespace polar::cuda::mlp
