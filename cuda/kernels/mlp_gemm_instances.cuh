// The compiled kernels of one op, from the list in mlp_config.h. Included by one source file per op.
#pragma once

#include <string>

#include "../../src/native/common/error.h"
#include "mlp_gemm.h"
#include "mlp_gemm_kernels.cuh"
#include "mlp_split_kernel.cuh"

namespace polar::cuda::mlp {

template <size_t I, typename T>
GemmKernel instance_kernel() {
  constexpr GemmInstance kInstance = kGemmInstances[I];
  if constexpr (kInstance.path == GemmPath::kClusterSplit) {
    using G = SplitGeometry<kInstance.op, kInstance.batch_tile>;
    return {reinterpret_cast<const void*>(&mlp_split_kernel<G, T>), kSplitThreads};
  } else {
    using G = Geometry<kInstance.op, kInstance.tile, kInstance.batch_tile>;
    if constexpr (kInstance.path == GemmPath::kTensorCopy) {
      return {reinterpret_cast<const void*>(&mlp_gemm_tensor_copy_kernel<G, T>), kTensorThreads};
    } else {
      return {reinterpret_cast<const void*>(&mlp_gemm_async_copy_kernel<G, T>), kAsyncThreads};
    }
  }
}

// Throws NativeError E_NATIVE for a configuration that is not in the list.
template <GemmOp Op, typename T, size_t I = 0>
GemmKernel find_instance(const GemmConfig& c) {
  if constexpr (I == kGemmInstanceCount) {
    throw NativeError("E_NATIVE", "Expected a compiled configuration for tile, got tile " +
                                      std::to_string(static_cast<int>(c.tile)) + " with batch tile " +
                                      std::to_string(c.batch_tile));
  } else {
    if constexpr (kGemmInstances[I].op == Op) {
      if (runs(kGemmInstances[I], Op, c)) return instance_kernel<I, T>();
    }
    return find_instance<Op, T, I + 1>(c);
  }
}

}  // namespace polar::cuda::mlp
