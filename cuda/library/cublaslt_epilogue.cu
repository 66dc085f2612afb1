#include "cublaslt_epilogue.h"

#include <algorithm>

#include "../../src/native/abi.h"
#include "../../src/native/common/random.h"
#include "../common/check.h"
#include "../kernels/mlp_gemm.cuh"

namespace polar::cuda::lt {
namespace {

template <typename T>
__global__ void cublaslt_epilogue_kernel(const EpilogueArgs args) {
  const int64_t out_columns = args.gated ? args.columns / 2 : args.columns;
  const int64_t total = args.batch_size * out_columns;
  const T* bias = static_cast<const T*>(args.bias);
  T* out = static_cast<T*>(args.out);
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < total; i += int64_t{gridDim.x} * blockDim.x) {
    const float2 pair =
        args.gated ? reinterpret_cast<const float2*>(args.product)[i] : make_float2(args.product[i], 1.0f);
    float value = pair.x;
    if (bias != nullptr) value += static_cast<float>(bias[i % out_columns]);
    if (args.activation >= 0) value = mlp::activate(args.activation, value);
    out[i] = mlp::from_float<T>(value * pair.y);
  }
}

template <typename T>
__global__ void fill_random_kernel(T* data, int64_t elements, float scale, uint64_t key) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < elements; i += int64_t{gridDim.x} * blockDim.x) {
    data[i] = mlp::from_float<T>(random_value(key, static_cast<uint64_t>(i), scale));
  }
}

unsigned blocks_for(int64_t elements) { return static_cast<unsigned>(std::clamp<int64_t>(elements / 256, 1, 4096)); }

}  // namespace

void launch_epilogue(const EpilogueArgs& args, cudaStream_t stream) {
  const unsigned blocks = blocks_for(args.batch_size * args.columns);
  if (args.dtype == POLAR_BF16) {
    cublaslt_epilogue_kernel<__nv_bfloat16><<<blocks, 256, 0, stream>>>(args);
  } else {
    cublaslt_epilogue_kernel<__half><<<blocks, 256, 0, stream>>>(args);
  }
  CHECK_LAUNCH("cublaslt_epilogue_kernel");
}

void fill_random(void* data, int64_t elements, int32_t dtype, float scale, uint64_t seed, cudaStream_t stream) {
  const unsigned blocks = blocks_for(elements);
  if (dtype == POLAR_BF16) {
    fill_random_kernel<<<blocks, 256, 0, stream>>>(static_cast<__nv_bfloat16*>(data), elements, scale, seed);
  } else {
    fill_random_kernel<<<blocks, 256, 0, stream>>>(static_cast<__half*>(data), elements, scale, seed);
  }
  CHECK_LAUNCH("fill_random_kernel");
}

}  // namespace polar::cuda::lt
