#include "router_products.h"
#include "router_products_instances.cuh"

namespace polar::cuda::router {

const void* hidden_kernel_bf16(int columns) { return hidden_kernel_of<__nv_bfloat16>(columns); }
const void* scores_kernel_bf16(int columns) { return scores_kernel_of<__nv_bfloat16>(columns); }

}  // namespace polar::cuda::router
