#include "router_gemm.cuh"
#include "router_gemm.h"

namespace polar::cuda::router {

const void* router_gemm_kernel_fp16(int batch_tile, Depth depth) { return kernel_of<__half>(batch_tile, depth); }

}  // namespace polar::cuda::router
