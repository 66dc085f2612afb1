// The one decode attention kernel behind attention/dense, dense-per-query-head, selective-head and gather-dense.
#pragma once

#include <cuda.h>

#include "attention_config.h"
#include "problem.h"

namespace polar::cuda {

inline AttentionDevice attention_device(const DeviceInfo& d) {
  return {d.sm_count, d.compute_major, d.shared_bytes_per_block_optin, d.shared_bytes_per_sm};
}

// Kernel parameters. Element offsets are 64-bit, since B N H d exceeds 2^31; tiles fit 32 bits (2^31 tiles are 64 TB).
struct AttentionParams {
  const void* q;  // [B, num_qo_heads, d_h]
  const void* k;  // [B, stored_kv_heads, kv_capacity, d_h]
  const void* v;
  void* out;                   // [B, num_qo_heads, d_h]
  const int32_t* group_index;  // [B, units_per_sequence] or null
  uint4* partial;              // AttentionWorkspace
  uint32_t* partial_log2;
  int64_t kv_capacity;
  int64_t batch_size;
  int blocks_per_span;  // AttentionConfig
  int tiles_per_span;
  int tiles_per_block;  // floor(tiles_per_span / blocks_per_span); the first `longer_blocks` of a span take one more
  int longer_blocks;
  int tiles_per_unit;
  int kv_len;
  int units_per_sequence;
  int stored_kv_heads;
  int num_qo_heads;
  int num_groups;  // of query heads: num_qo_heads / heads_per_unit
  int heads_per_unit;
  int units_per_kv_head;  // > 1 only where a cache is streamed once per query head
  int compact;            // 1: unit a of a sequence reads stored KV head a, whatever its group
  int stages;
  float scale_log2;  // log2(e) / sqrt(d_h)
#if defined(POLAR_FAULTS)
  int skip_tile;  // planted fault: this tile is left out; -1: none
#endif
};

// What differs between the four kernels of the registry.
struct AttentionLaunch {
  const char* kernel;  // catalog id, for planted faults
  const void* k;
  const void* v;
  const int32_t* group_index;
  int64_t units_per_sequence;
  int64_t stored_kv_heads;
  int64_t kv_capacity;
  int heads_per_unit;
  int units_per_kv_head;
  bool compact;
  void* workspace;  // attention_workspace(...).bytes, all zero before the first launch
  // TMA only: what L2 fetches from memory around a request. 256 bytes cost 8 % of the bandwidth on an H200, none cost
  // as much where a row of the tile is 64 bytes wide (head_dim 96).
  CUtensorMapL2promotion promotion = CU_TENSOR_MAP_L2_PROMOTION_L2_128B;
};

// The work of `problem` with `units_per_sequence` units of `heads_per_unit` query heads.
AttentionWork attention_work(const PolarProblem& problem, int64_t units_per_sequence, int64_t heads_per_unit);

// Sets the attributes of the kernel that `work` will use. Throws NativeError E_UNSUPPORTED or E_CUDA.
void prepare_attention_decode(const PolarProblem& problem, const DeviceInfo& device, const AttentionWork& work);

// Enqueues the kernel; neither allocates nor synchronises. `q` and `out` come from `args`.
void launch_attention_decode(const LaunchContext& context, const AttentionArgs& args, const AttentionLaunch& launch,
                             const AttentionWork& work, const AttentionConfig& config);

// Address of the instantiation, in attention_decode_{bf16,fp16}.cu.
const void* attention_decode_kernel_bf16(int head_dim, int head_tiles, AttentionPipeline pipeline);
const void* attention_decode_kernel_fp16(int head_dim, int head_tiles, AttentionPipeline pipeline);

}  // namespace polar::cuda
