// The compiled router GEMM kernels; one translation unit per storage type.
#pragma once

#include "router_config.h"

namespace polar::cuda::router {

// Address of the kernel for a batch tile of 8, 32 or 64.
const void* router_gemm_kernel_bf16(int batch_tile, Depth depth);
const void* router_gemm_kernel_fp16(int batch_tile, Depth depth);

}  // namespace polar::cuda::router
