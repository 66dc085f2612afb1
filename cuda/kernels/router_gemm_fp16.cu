#include "router_gemm.cuh"
#include "router_gemm.h"

namespace polar::cuda::router {

const void* router_gemm_kernel_fp16(int batch_tile, bool tail) {
  using T = __half;
  const auto address = [](auto* kernel) { return reinterpret_cast<const void*>(kernel); };
  if (batch_tile == 8) return tail ? address(router_gemm_kernel<8, T, true>) : address(router_gemm_kernel<8, T, false>);
  if (batch_tile == 32) {
    return tail ? address(router_gemm_kernel<32, T, true>) : address(router_gemm_kernel<32, T, false>);
  }
  return tail ? address(router_gemm_kernel<64, T, true>) : address(router_gemm_kernel<64, T, false>);
}

}  // namespace polar::cuda::router
