// What the parts of the decode attention kernel share: compile-time shape, cutting of the work, shared memory, a warp's
// state. attention_decode.cuh explains the whole.
#pragma once

#include "attention_decode.h"
#include "attention_ptx.cuh"

namespace polar::cuda::attention {

inline constexpr float kLowest = -INFINITY;
inline constexpr int kConsumerBarrier = 1;

// What an instance of the kernel is compiled for: storage type, head_dim, tiles of 8 query heads, way of copying.
template <typename T, int kDim, int kTiles, AttentionPipeline kPipeline>
struct DecodeShape {
  using Element = T;
  static constexpr int kHeadDim = kDim;
  static constexpr int kHeadTiles = kTiles;
  static constexpr bool kTma = kPipeline == AttentionPipeline::kTma;
  static constexpr int kTileKeys = attention_tile_keys(kHeadDim);
  static constexpr int kWarps = attention_consumer_warps(kHeadDim);
  static constexpr int kConsumers = kWarps * 32;
  static constexpr int kKeyTiles = kTileKeys / kWarps / 16;  // m16 tiles of keys per warp
  static constexpr int kSteps = kHeadDim / 16;               // k16 steps of K Q^T, m16 tiles of V^T P^T
  static constexpr int kChunks = kHeadDim / 8;               // 16-byte chunks of a row
  static constexpr uint32_t kSlotBytes = kTileKeys * kHeadDim * 2;
  // A tile lies in panels [kTileKeys, 8 chunks] with chunks XOR-swizzled by key, so that eight keys of one chunk column
  // are in different banks; 4 chunks where 8 do not divide the row. It is the layout the copy engine writes with
  // CU_TENSOR_MAP_SWIZZLE_128B (64B).
  static constexpr int kPanelChunks = kHeadDim % 64 == 0 ? 8 : 4;
  // The widest case has no registers left for Q and reads its fragments from shared memory: from the merge buffer,
  // which is idle until the unit ends and at least twice as large.
  static constexpr bool kQueryInShared = kHeadTiles == 2 && kHeadDim == 256;
  static_assert(kKeyTiles >= 1 && kTileKeys % (16 * kWarps) == 0 && kSlotBytes % 1024 == 0);
};

// Byte offset of a 16-byte chunk of a key within a tile.
template <typename S>
__device__ __forceinline__ uint32_t chunk_offset(int key, int chunk) {
  const int swizzle = S::kPanelChunks == 8 ? key & 7 : (key >> 1) & 3;
  return static_cast<uint32_t>(((chunk / S::kPanelChunks) * S::kTileKeys + key) * S::kPanelChunks +
                               ((chunk % S::kPanelChunks) ^ swizzle)) *
         16;
}

// A contiguous run of tiles of one unit within the block's range.
struct Segment {
  int64_t kv_row;  // (sequence, stored KV head)
  int unit;
  int batch;
  int group;       // of query heads
  int first_tile;  // within the unit
  int tiles;
};

__device__ __forceinline__ Segment segment_at(const AttentionParams& p, int tile, int end) {
  Segment s;
  s.unit = tile / p.tiles_per_unit;
  s.first_tile = tile - s.unit * p.tiles_per_unit;
  s.tiles = min(end - tile, p.tiles_per_unit - s.first_tile);
  s.batch = s.unit / p.units_per_sequence;
  const int slot = s.unit - s.batch * p.units_per_sequence;
  s.group = p.group_index == nullptr ? slot : p.group_index[s.unit];
  const int kv_head = p.compact ? slot : s.group / p.units_per_kv_head;
  s.kv_row = static_cast<int64_t>(s.batch) * p.stored_kv_heads + kv_head;
  return s;
}

// Offset of the unit's query rows, and of its output rows.
template <typename S>
__device__ __forceinline__ int64_t row_offset(const AttentionParams& p, const Segment& s) {
  return (static_cast<int64_t>(s.batch) * p.num_qo_heads + s.group * p.heads_per_unit) * S::kHeadDim;
}

// First tile of a block, and the block that holds a tile.
__device__ __forceinline__ int range_begin(const AttentionParams& p, int block) {
  const int span = block / p.blocks_per_span;
  const int in_span = block - span * p.blocks_per_span;
  return span * p.tiles_per_span + in_span * p.tiles_per_block + min(in_span, p.longer_blocks);
}
__device__ __forceinline__ int block_of(const AttentionParams& p, int tile) {
  const int span = tile / p.tiles_per_span;
  const int in_span = tile - span * p.tiles_per_span;
  const int in_longer = p.longer_blocks * (p.tiles_per_block + 1);
  return span * p.blocks_per_span + (in_span < in_longer ? in_span / (p.tiles_per_block + 1)
                                                         : p.longer_blocks + (in_span - in_longer) / p.tiles_per_block);
}

// Shared memory of the block; the counts follow attention_shared().
template <typename S>
struct Memory {
  uint32_t tiles;  // stage s: K at 2 s slots, V behind it
  char* queries;
  uint32_t query_bytes;
  float* merge;                                        // [S::kWarps, min(heads, 8), S::kHeadDim + pad]
  float4* own;                                         // [heads, S::kHeadDim / 4], a part that the block merges itself
  float* own_log2;                                     // [heads]
  float2* stats;                                       // [S::kWarps, 16]
  uint32_t full_k, full_v, empty_k, empty_v, empty_q;  // mbarriers, 8 bytes per stage

  __device__ __forceinline__ Memory(char* raw, const AttentionParams& p) {
    const uint32_t start = shared_address(raw);
    char* base = raw + ((kAttentionAlignment - start % kAttentionAlignment) % kAttentionAlignment);
    tiles = shared_address(base);
    query_bytes = (p.heads_per_unit * S::kHeadDim * 2 + 127) / 128 * 128;
    queries = base + p.stages * 2 * S::kSlotBytes;
    merge = reinterpret_cast<float*>(queries + p.stages * query_bytes);
    const int heads = min(p.heads_per_unit, 8);
    float4* behind = reinterpret_cast<float4*>(merge + S::kWarps * heads * (S::kHeadDim + kAttentionMergePad));
    own = S::kTma ? behind : reinterpret_cast<float4*>(queries);
    stats = reinterpret_cast<float2*>(S::kTma ? behind + p.heads_per_unit * (S::kHeadDim / 4) : behind);
    own_log2 = reinterpret_cast<float*>(stats + S::kWarps * kAttentionMaxHeadsPerUnit);
    char* control = reinterpret_cast<char*>(own_log2 + kAttentionMaxHeadsPerUnit);
    full_k = shared_address(control);
    full_v = full_k + kAttentionMaxStages * 8;
    empty_k = full_v + kAttentionMaxStages * 8;
    empty_v = empty_k + kAttentionMaxStages * 8;
    empty_q = empty_v + kAttentionMaxStages * 8;
  }
  __device__ __forceinline__ uint32_t k(int stage) const { return tiles + 2 * stage * S::kSlotBytes; }
  __device__ __forceinline__ uint32_t v(int stage) const { return tiles + (2 * stage + 1) * S::kSlotBytes; }
  __device__ __forceinline__ const typename S::Element* query(int stage) const {
    return reinterpret_cast<const typename S::Element*>(queries + stage * query_bytes);
  }
};

struct Ring {
  int stage = 0;
  uint32_t phase = 0;
  __device__ __forceinline__ void advance(int stages) {
    if (++stage == stages) {
      stage = 0;
      phase ^= 1;
    }
  }
};

// Softmax state and accumulators of one warp. Lane (g = lane / 4, t = lane % 4) holds the heads 2t and 2t + 1 of
// each tile of 8; maxima are in units of log2 and equal across g, sums are the lane's share.
template <typename S>
struct State {
  float o[S::kSteps][S::kHeadTiles][4];
  float m[S::kHeadTiles][2];
  float l[S::kHeadTiles][2];
  uint32_t q[S::kQueryInShared ? 1 : S::kSteps][S::kHeadTiles][2];
};

}  // namespace polar::cuda::attention
