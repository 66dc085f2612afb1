// Launch of the MLP GEMMs: workspace sizes, tensor maps, parameters.
#include "mlp_gemm.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "../common/check.h"
#include "../device/tensor_map.h"
#include "mlp_gemm.cuh"

namespace polar::cuda::mlp {
namespace {

GemmKernel find_kernel(GemmOp op, const GemmConfig& config, int32_t dtype) {
  return op == GemmOp::kUp ? up_kernel(config, dtype) : down_kernel(config, dtype);
}

// A tensor of 16-bit elements, innermost dimension first, read with the 128-byte swizzle; zeros outside.
template <int Rank>
CUtensorMap encode(int32_t dtype, const void* base, const cuuint64_t (&dims)[Rank],
                   const cuuint64_t (&strides)[Rank - 1], const cuuint32_t (&box)[Rank]) {
  CUtensorMap map{};
  cuuint32_t steps[Rank];
  std::fill(steps, steps + Rank, 1u);
  const auto type = dtype == POLAR_BF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  const CUresult result = encode_tiled()(&map, type, Rank, const_cast<void*>(base), dims, strides, box, steps,
                                         CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                         CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    throw NativeError("E_CUDA", "cuTensorMapEncodeTiled failed with CUresult " + std::to_string(result));
  }
  return map;
}

// [weight_rows, hidden_size] as lines of 64 elements, so that one copy brings several lines of one row.
CUtensorMap weight_map(const GemmCall& call, int lines) {
  const auto d = static_cast<cuuint64_t>(call.shape.hidden_size);
  return encode<3>(call.dtype, call.weights,
                   {kLineElements, d / kLineElements, static_cast<cuuint64_t>(call.weight_rows)},
                   {static_cast<cuuint64_t>(kLineBytes), d * 2}, {kLineElements, static_cast<cuuint32_t>(lines), 1u});
}

CUtensorMap input_map(const GemmCall& call, const GemmConfig& config, const void* input, int batch) {
  const int64_t k = call.shape.op == GemmOp::kUp ? call.shape.hidden_size : call.shape.active_neurons;
  return encode<2>(call.dtype, input, {static_cast<cuuint64_t>(k), static_cast<cuuint64_t>(batch)},
                   {static_cast<cuuint64_t>(call.input_stride) * 2},
                   {kLineElements, static_cast<cuuint32_t>(config.batch_tile)});
}

GemmParams parameters(const GemmCall& call, const GemmConfig& config, int64_t first_sequence) {
  GemmParams p{};
  p.weights = call.weights;
  p.input = static_cast<const uint16_t*>(call.input) + first_sequence * call.input_stride;
  p.out = static_cast<uint16_t*>(call.out) + first_sequence * call.out_stride;
  p.bias = call.bias;
  p.index = call.index;
  p.bias_index = call.bias_index;
  p.partial = call.partial;
  p.tickets = call.tickets;
  p.input_stride = call.input_stride;
  p.out_stride = call.out_stride;
  p.total_rows = call.weight_rows;
  p.hidden_size = static_cast<int>(call.shape.hidden_size);
  p.active = static_cast<int>(call.shape.active_neurons);
  const int64_t left = call.shape.batch_size - first_sequence;
  p.batch = static_cast<int>(std::min<int64_t>(left, int64_t{config.batch_tile} * config.batch_tiles));
  p.row_tiles = config.row_tiles;
  p.chunks = config.chunks;
  p.workers = config.workers;
  p.batch_tiles = config.batch_tiles;
  p.weight_slots = config.weight_slots;
  p.input_slots = config.input_slots;
  p.activation = call.activation;
  p.gated = call.shape.gated ? 1 : 0;
  p.skip_unit = call.skip_tile ? 0 : -1;
  p.split = config.split;
  p.lines = config.lines;
  p.slot_rows = config.slot_rows;
  p.blocks = config.blocks;
  p.aliased = config.aliased ? 1 : 0;
  p.tile_share = p.active / p.row_tiles;
  p.tile_rest = p.active % p.row_tiles;
  if (call.shape.op == GemmOp::kUp) {
    p.k_end = p.chunks;
    p.k_share = p.chunks / std::max(p.split, 1);
    p.k_rest = p.chunks % std::max(p.split, 1);
  } else {  // shares of whole 16-byte pieces of the input
    p.k_end = p.active;
    p.k_share = static_cast<int>(ceil_div(p.active, 8 * std::max(p.split, 1)) * 8);
  }
  p.dependent = call.dependent ? 1 : 0;
  return p;
}

// 128-byte lines that one copy brings.
int copied_lines(GemmOp op, const GemmConfig& config) {
  return config.path == GemmPath::kClusterSplit ? config.lines : tile_shape(op, config.tile, config.batch_tile).lines;
}

void launch_kernel(const GemmKernel& kernel, const GemmConfig& config, void** arguments, bool dependent,
                   cudaStream_t stream) {
  cudaLaunchAttribute attributes[2]{};
  cudaLaunchConfig_t launch{};
  launch.gridDim = dim3(static_cast<unsigned>(config.workers * config.batch_tiles));
  launch.blockDim = dim3(static_cast<unsigned>(kernel.threads));
  launch.dynamicSmemBytes = static_cast<size_t>(config.shared_bytes);
  launch.stream = stream;
  launch.attrs = attributes;
  if (config.path == GemmPath::kClusterSplit) {
    launch.gridDim =
        dim3(static_cast<unsigned>(config.workers * config.split), static_cast<unsigned>(config.batch_tiles));
    attributes[launch.numAttrs].id = cudaLaunchAttributeClusterDimension;
    attributes[launch.numAttrs++].val.clusterDim = {static_cast<unsigned>(config.split), 1, 1};
    if (dependent) {
      attributes[launch.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
      attributes[launch.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
    }
  }
  CHECK_CUDA(cudaLaunchKernelExC(&launch, kernel.function, arguments));
}

}  // namespace

int64_t tickets_bytes(const GemmShape&, const GemmConfig& c) {
  if (c.path == GemmPath::kClusterSplit) return 0;
  return int64_t{c.row_tiles} * c.batch_tiles * kConsumerWarps * static_cast<int64_t>(sizeof(unsigned));
}

int64_t partial_bytes(const GemmShape& shape, const GemmConfig& c) {
  if (c.path == GemmPath::kClusterSplit) return 0;
  return int64_t{c.workers} * c.batch_tiles * 2 * tile_floats(shape.op, c) * static_cast<int64_t>(sizeof(float));
}

GemmDevice gemm_device(const DeviceInfo& device) {
  GemmDevice result{device.sm_count, device.compute_major, device.shared_bytes_per_block_optin};
  static_assert(kMaxSplit == kMostClusterBlocks);
  std::copy(std::begin(device.clusters), std::end(device.clusters), std::begin(result.clusters));
  return result;
}

void prepare_gemm(const GemmShape& shape, const GemmConfig& config, int32_t dtype) {
  if (config.weight_slots == 0) {
    throw NativeError("E_UNSUPPORTED", "Expected a device with at least 48 KB of shared memory per block, got less");
  }
  const GemmKernel kernel = find_kernel(shape.op, config, dtype);
  // The limit belongs to the function, and GEMMs that share it need different amounts: the most there is serves all.
  int ordinal = 0, most = 0;
  cudaFuncAttributes attributes{};
  CHECK_CUDA(cudaGetDevice(&ordinal));
  CHECK_CUDA(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, ordinal));
  CHECK_CUDA(cudaFuncGetAttributes(&attributes, kernel.function));
  CHECK_CUDA(cudaFuncSetAttribute(kernel.function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  most - static_cast<int>(attributes.sharedSizeBytes)));
  if (config.path != GemmPath::kAsyncCopy) encode_tiled();
}

void launch_gemm(const GemmCall& call, const GemmConfig& config, cudaStream_t stream) {
  const GemmKernel kernel = find_kernel(call.shape.op, config, call.dtype);
  const int64_t step = int64_t{config.batch_tile} * config.batch_tiles;
  for (int64_t first = 0; first < call.shape.batch_size; first += step) {
    GemmParams params = parameters(call, config, first);
    CUtensorMap weights{}, input{};
    void* arguments[] = {&params, &weights, &input};
    if (config.path != GemmPath::kAsyncCopy) {
      weights = weight_map(call, copied_lines(call.shape.op, config));
      input = input_map(call, config, params.input, params.batch);
    }
    launch_kernel(kernel, config, arguments, call.dependent && first == 0, stream);
  }
}

}  // namespace polar::cuda::mlp
