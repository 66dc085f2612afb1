// The compiled router GEMM kernels; one translation unit per storage type.
#pragma once

namespace polar::cuda::router {

// Address of the kernel for a batch tile of 8, 32 or 64. `tail`: k of some split is no multiple of 64.
const void* router_gemm_kernel_bf16(int batch_tile, bool tail);
const void* router_gemm_kernel_fp16(int batch_tile, bool tail);

}  // namespace polar::cuda::router
