// Host side of the decode attention kernel: tensor maps, attributes, launch.
#include "attention_decode.h"

#include <cmath>

#include "../../src/native/common/faults.h"
#include "../common/check.h"
#include "../device/tensor_map.h"

namespace polar::cuda {
namespace {

// K or V as a tensor [stored heads of all sequences, panels of a row, keys, elements of a panel], innermost last. The
// key axis ends at kv_len, so what lies behind it is never read and arrives in shared memory as zeros.
CUtensorMap encode_cache(const void* cache, const PolarProblem& p, const AttentionLaunch& launch,
                         const AttentionConfig& config) {
  const auto head_dim = static_cast<cuuint64_t>(p.head_dim);
  const cuuint64_t panel = head_dim % 64 == 0 ? 64 : 32;  // elements: 128 or 64 bytes, the span of the swizzle
  const cuuint64_t sizes[4] = {panel, static_cast<cuuint64_t>(p.kv_len), head_dim / panel,
                               static_cast<cuuint64_t>(p.batch_size * launch.stored_kv_heads)};
  const cuuint64_t strides[3] = {head_dim * 2, panel * 2, static_cast<cuuint64_t>(launch.kv_capacity) * head_dim * 2};
  const cuuint32_t box[4] = {static_cast<cuuint32_t>(panel), static_cast<cuuint32_t>(config.tile_keys),
                             static_cast<cuuint32_t>(head_dim / panel), 1};
  const cuuint32_t element_strides[4] = {1, 1, 1, 1};
  CUtensorMap map;
  const CUresult result =
      encode_tiled()(&map, p.dtype == POLAR_BF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
                     4, const_cast<void*>(cache), sizes, strides, box, element_strides, CU_TENSOR_MAP_INTERLEAVE_NONE,
                     panel == 64 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B, launch.promotion,
                     CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    throw NativeError("E_CUDA", "cuTensorMapEncodeTiled failed with CUresult " + std::to_string(result));
  }
  return map;
}

const void* kernel_address(const PolarProblem& p, const AttentionWork& work, const AttentionConfig& config) {
  return p.dtype == POLAR_BF16 ? attention_decode_kernel_bf16(work.head_dim, config.head_tiles, config.pipeline)
                               : attention_decode_kernel_fp16(work.head_dim, config.head_tiles, config.pipeline);
}

AttentionParams make_params(const PolarProblem& p, const AttentionArgs& args, const AttentionLaunch& launch,
                            const AttentionWork& work, const AttentionConfig& config) {
  const AttentionWorkspace layout = attention_workspace(work, config);
  char* workspace = static_cast<char*>(launch.workspace);
  AttentionParams k{};
  k.q = args.q;
  k.k = launch.k;
  k.v = launch.v;
  k.out = args.out;
  k.group_index = launch.group_index;
  k.partial = reinterpret_cast<uint4*>(workspace);
  k.partial_log2 = reinterpret_cast<uint32_t*>(workspace + layout.log2_offset);
  k.kv_capacity = launch.kv_capacity;
  k.batch_size = p.batch_size;
  const int64_t tiles_per_span = config.total_tiles * config.blocks_per_span / config.grid;
  k.blocks_per_span = config.blocks_per_span;
  k.tiles_per_span = static_cast<int>(tiles_per_span);
  k.tiles_per_block = static_cast<int>(tiles_per_span / config.blocks_per_span);
  k.longer_blocks = static_cast<int>(tiles_per_span % config.blocks_per_span);
  k.tiles_per_unit = static_cast<int>(config.tiles_per_unit);
  k.kv_len = static_cast<int>(p.kv_len);
  k.units_per_sequence = static_cast<int>(work.units_per_sequence);
  k.stored_kv_heads = static_cast<int>(launch.stored_kv_heads);
  k.num_qo_heads = static_cast<int>(p.num_qo_heads);
  k.num_groups = static_cast<int>(p.num_qo_heads / launch.heads_per_unit);
  k.heads_per_unit = launch.heads_per_unit;
  k.units_per_kv_head = launch.units_per_kv_head;
  k.compact = launch.compact ? 1 : 0;
  k.stages = config.stages;
  k.scale_log2 = static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(p.head_dim)));
#if defined(POLAR_FAULTS)
  k.skip_tile = fault_active("skip-tile", launch.kernel) ? 0 : -1;
#endif
  return k;
}

}  // namespace

AttentionWork attention_work(const PolarProblem& p, int64_t units_per_sequence, int64_t heads_per_unit) {
  return {p.batch_size, p.kv_len, static_cast<int>(p.head_dim), static_cast<int>(heads_per_unit), units_per_sequence};
}

void prepare_attention_decode(const PolarProblem& problem, const DeviceInfo& device, const AttentionWork& work) {
  const AttentionConfig config = choose_attention_config(work, attention_device(device));
  const void* kernel = kernel_address(problem, work, config);
  // Attributes belong to the function, not to a launch, and problems of one process differ: the most there is serves
  // all.
  CHECK_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(device.shared_bytes_per_block_optin)));
  CHECK_CUDA(
      cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared));
  if (config.pipeline == AttentionPipeline::kTma) encode_tiled();
}

void launch_attention_decode(const LaunchContext& context, const AttentionArgs& args, const AttentionLaunch& launch,
                             const AttentionWork& work, const AttentionConfig& config) {
  const PolarProblem& p = context.problem;
  AttentionParams params = make_params(p, args, launch, work, config);
  CUtensorMap k_map{}, v_map{};
  if (config.pipeline == AttentionPipeline::kTma) {
    k_map = encode_cache(launch.k, p, launch, config);
    v_map = encode_cache(launch.v, p, launch, config);
  }
  void* arguments[] = {&params, &k_map, &v_map};
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t launch_config{};
  launch_config.gridDim = dim3(static_cast<unsigned>(config.grid));
  launch_config.blockDim = dim3(static_cast<unsigned>(config.threads));
  launch_config.dynamicSmemBytes = config.shared_bytes;
  launch_config.stream = context.stream;
  launch_config.attrs = &attribute;
  launch_config.numAttrs = context.dependent ? 1 : 0;
  CHECK_CUDA(cudaLaunchKernelExC(&launch_config, kernel_address(p, work, config), arguments));
}

}  // namespace polar::cuda
