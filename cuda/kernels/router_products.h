// The products of the MLP router on sm_90a: x -> hidden -> scores, two kernels in a row.
#pragma once

#include "router.h"

namespace polar::cuda::router {

// Whether the device runs them; others run the kernels of router_gemm.cuh.
bool has_products(const DeviceInfo& device);

// Bytes of the hidden values between the two, on 256 bytes.
size_t products_workspace_bytes(const MlpRouterArgs& args);

// Function attributes, as prepare_routers().
void prepare_products(int32_t dtype, const DeviceInfo& device);

// args.scores, and the smallest and largest of their keys as {max of ~key, max of key} into `range`, zero before.
// `workspace`: products_workspace_bytes(). The kernel that follows may be launched as a dependent one.
void launch_products(int32_t dtype, const DeviceInfo& device, const MlpRouterArgs& args, uint32_t* range,
                     void* workspace, cudaStream_t stream);

// Addresses of the kernels for 8, 32, 64 or 128 columns, compiled in one translation unit per storage type.
const void* hidden_kernel_bf16(int columns);
const void* hidden_kernel_fp16(int columns);
const void* scores_kernel_bf16(int columns);
const void* scores_kernel_fp16(int columns);

}  // namespace polar::cuda::router
