// How the decode attention kernel is configured: a pure function of the problem and the device's limits.
// No CUDA header in here, so that a test without a GPU or a toolkit can call it and print what it chose.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "../../src/native/abi.h"
#include "../../src/native/common/error.h"

namespace polar::cuda {

// How K and V tiles get into shared memory.
enum class AttentionPipeline {
  kCpAsync,  // sm_80 and later: every consumer thread copies 16-byte chunks
  kTma       // sm_90 and later: one thread starts a tensor copy of a whole tile, an mbarrier counts its bytes
};

// The limits that a choice depends on (the fields of DeviceInfo with the same names).
struct AttentionDevice {
  int sm_count = 0;
  int compute_major = 0;
  size_t shared_bytes_per_block_optin = 0;
  size_t shared_bytes_per_sm = 0;
};

// The work of one launch. A unit is what shares one stream of K and V: a sequence and a KV group (or, where a group's
// cache is streamed once per query head on purpose, a sequence and a query head).
struct AttentionWork {
  int64_t batch_size = 0;  // B
  int64_t kv_len = 0;      // N
  int head_dim = 0;        // d_h: 64, 96, 128 or 256
  int heads_per_unit = 0;  // 1..16 query heads
  int64_t units_per_sequence = 0;
};

struct AttentionConfig {
  AttentionPipeline pipeline = AttentionPipeline::kCpAsync;
  int tile_keys = 0;       // keys of one tile
  int consumer_warps = 0;  // each takes tile_keys / consumer_warps keys, a multiple of 16
  int head_tiles = 0;      // 1 or 2 tiles of 8 query heads: the n side of mma.m16n8k16
  int stages = 0;          // tiles of K and V in flight per block
  int blocks_per_sm = 0;
  int threads = 0;
  int grid = 0;  // blocks; never more than tiles, so that no block is empty
  // The tiles are dealt out span by span: a span is all of them, or one unit where every unit is cut into equally many
  // ranges. Each of the span's blocks takes a contiguous range, lengths differ by at most one tile.
  int blocks_per_span = 0;
  size_t shared_bytes = 0;
  int64_t tiles_per_unit = 0;
  int64_t total_tiles = 0;
};

// Parts of a block's shared memory, in this order.
struct AttentionShared {
  size_t slot_bytes = 0;   // one tile of K or of V; a multiple of 1024, which the 128-byte swizzle needs
  size_t query_bytes = 0;  // one unit's query rows, per stage
  size_t merge_bytes = 0;  // one float32 accumulator of up to 8 heads per consumer warp
  size_t own_bytes = 0;    // one float32 output of a unit: the part that the block itself merges
  size_t stats_bytes = 0;  // maximum and sum per consumer warp and head; log2 of that part's sum per head
};

inline constexpr int kAttentionMaxHeadsPerUnit = 16;
inline constexpr int kAttentionMaxStages = 8;
// Floats between the accumulators of two heads in the merge buffer, beyond head_dim: spreads the four column pairs of
// an mma accumulator over the banks.
inline constexpr int kAttentionMergePad = 4;
// mbarriers, 5 of 8 bytes per stage.
inline constexpr size_t kAttentionControlBytes = kAttentionMaxStages * 40;
// Shared memory that the runtime keeps for itself in every block.
inline constexpr size_t kReservedBytesPerBlock = 1024;
// Swizzled tiles start at multiples of 1024 bytes; dynamic shared memory is only promised 16.
inline constexpr size_t kAttentionAlignment = 1024;

// 16 KB of K, and as much of V, per tile (12 KB at head_dim 96): the bulk copy size at which the read ceiling was
// measured.
constexpr int attention_tile_keys(int head_dim) { return head_dim == 64 ? 128 : head_dim == 256 ? 32 : 64; }
constexpr int attention_consumer_warps(int head_dim) { return head_dim == 256 ? 2 : 4; }

inline AttentionShared attention_shared(int head_dim, int heads_per_unit) {
  const int warps = attention_consumer_warps(head_dim);
  AttentionShared s;
  s.slot_bytes = static_cast<size_t>(attention_tile_keys(head_dim)) * head_dim * 2;
  s.query_bytes = (static_cast<size_t>(heads_per_unit) * head_dim * 2 + 127) / 128 * 128;
  s.merge_bytes = static_cast<size_t>(warps) * std::min(heads_per_unit, 8) * (head_dim + kAttentionMergePad) * 4;
  s.own_bytes = static_cast<size_t>(heads_per_unit) * head_dim * 4;
  s.stats_bytes = static_cast<size_t>(warps) * kAttentionMaxHeadsPerUnit * 8 + kAttentionMaxHeadsPerUnit * 4;
  return s;
}

inline size_t attention_shared_bytes(int head_dim, int heads_per_unit, int stages, AttentionPipeline pipeline) {
  AttentionShared s = attention_shared(head_dim, heads_per_unit);
  // cp.async brings no queries; the slots of two stages are as large as the part that is kept.
  if (pipeline == AttentionPipeline::kCpAsync) s.own_bytes = 0;
  return kAttentionAlignment + stages * (2 * s.slot_bytes + s.query_bytes) + s.merge_bytes + s.own_bytes +
         s.stats_bytes + kAttentionControlBytes;
}

// Blocks per unit where at most `blocks` blocks take equally many ranges of every unit, none longer than equal ranges
// over all tiles would be; 0 where that is not possible. Such ranges never hold parts of two units: fewer partial
// results to merge, and no block has to deliver two.
inline int64_t attention_blocks_per_unit(int64_t units, int64_t tiles_per_unit, int64_t blocks) {
  const int64_t parts = std::min(blocks / units, tiles_per_unit);
  if (parts == 0) return 0;
  const int64_t total = units * tiles_per_unit;
  return (tiles_per_unit + parts - 1) / parts <= (total + blocks - 1) / blocks ? parts : 0;
}

// Completes a configuration whose pipeline, stages and blocks_per_sm are set; `unit_per_block`: one block per unit
// instead of persistent blocks with equal ranges.
inline void finish_attention_config(const AttentionWork& w, const AttentionDevice& device, AttentionConfig& c,
                                    bool unit_per_block = false) {
  c.tile_keys = attention_tile_keys(w.head_dim);
  c.consumer_warps = attention_consumer_warps(w.head_dim);
  c.head_tiles = w.heads_per_unit > 8 ? 2 : 1;
  c.threads = (c.consumer_warps + 2) * 32;  // a producer warp and a warp that zeroes unselected rows
  c.tiles_per_unit = (w.kv_len + c.tile_keys - 1) / c.tile_keys;
  c.total_tiles = w.batch_size * w.units_per_sequence * c.tiles_per_unit;
  const int64_t units = w.batch_size * w.units_per_sequence;
  const int64_t resident = int64_t{1} * device.sm_count * c.blocks_per_sm;
  const int64_t per_unit = unit_per_block ? 1 : attention_blocks_per_unit(units, c.tiles_per_unit, resident);
  c.grid = static_cast<int>(per_unit > 0 ? units * per_unit : std::min(c.total_tiles, resident));
  c.blocks_per_span = per_unit > 0 ? static_cast<int>(per_unit) : c.grid;
  c.shared_bytes = attention_shared_bytes(w.head_dim, w.heads_per_unit, c.stages, c.pipeline);
}

// Most stages that `blocks_per_sm` resident blocks can have; below 2 there is no overlap of copy and arithmetic.
inline int attention_stages(const AttentionWork& w, const AttentionDevice& device, AttentionPipeline pipeline,
                            int blocks_per_sm, int most) {
  const size_t share = device.shared_bytes_per_sm / blocks_per_sm;
  const size_t budget = std::min(device.shared_bytes_per_block_optin,
                                 share > kReservedBytesPerBlock ? share - kReservedBytesPerBlock : 0);
  int stages = 0;
  while (stages < most && attention_shared_bytes(w.head_dim, w.heads_per_unit, stages + 1, pipeline) <= budget)
    ++stages;
  return stages;
}

// Throws NativeError E_UNSUPPORTED for a head_dim or ratio that the kernel is not built for.
inline AttentionConfig choose_attention_config(const AttentionWork& w, const AttentionDevice& device) {
  if (w.head_dim != 64 && w.head_dim != 96 && w.head_dim != 128 && w.head_dim != 256) {
    throw NativeError("E_UNSUPPORTED", "Expected 64, 96, 128 or 256 for head_dim, got " + std::to_string(w.head_dim));
  }
  if (w.heads_per_unit < 1 || w.heads_per_unit > kAttentionMaxHeadsPerUnit) {
    throw NativeError("E_UNSUPPORTED",
                      "Expected 1..16 query heads per KV head, got " + std::to_string(w.heads_per_unit));
  }
  AttentionConfig c;
  c.pipeline = device.compute_major >= 9 ? AttentionPipeline::kTma : AttentionPipeline::kCpAsync;
  const bool tma = c.pipeline == AttentionPipeline::kTma;
  const int64_t units = w.batch_size * w.units_per_sequence;
  const int64_t tiles_per_unit = (w.kv_len + attention_tile_keys(w.head_dim) - 1) / attention_tile_keys(w.head_dim);
  const int64_t slots = int64_t{2} * device.sm_count;
  // Measured on an H200 (docs/kernels/attention.md). Many long units: a block each, two resident per SM, nothing to
  // merge; SMs draw up to a third more bandwidth than others, and whoever is done takes the next unit. Few units: one
  // block per SM, half the partial results. Otherwise two blocks, which hide each other's unit ends.
  const bool unit_per_block = tma && units >= 5 * slots && tiles_per_unit >= 16 && units <= INT32_MAX;
  const bool one_block = tma && units <= int64_t{4} * device.sm_count;
  const int most = unit_per_block ? 3 : one_block ? 4 : tma ? 2 : 3;
  for (c.blocks_per_sm = one_block ? 1 : 2; c.blocks_per_sm >= 1; --c.blocks_per_sm) {
    c.stages = attention_stages(w, device, c.pipeline, c.blocks_per_sm, most);
    if (c.stages >= 2) break;
  }
  if (c.blocks_per_sm == 0) {
    throw NativeError(
        "E_UNSUPPORTED",
        "Expected at least " + std::to_string(attention_shared_bytes(w.head_dim, w.heads_per_unit, 2, c.pipeline)) +
            " bytes of shared memory per block, got " + std::to_string(device.shared_bytes_per_block_optin));
  }
  finish_attention_config(w, device, c, unit_per_block);
  if (c.total_tiles > INT32_MAX) {
    throw NativeError("E_UNSUPPORTED",
                      "Expected at most 2147483647 tiles of keys, got " + std::to_string(c.total_tiles));
  }
  return c;
}

// Workspace: one slot per block for the part of a unit that goes on in the next block, none where no unit is cut. All
// of it is zero between launches: zero says that a word is not there yet (attention_merge.cuh).
struct AttentionWorkspace {
  // float32 [grid, heads_per_unit, head_dim / 4], behind float32 [grid, heads_per_unit, head_dim].
  size_t log2_offset = 0;
  size_t bytes = 0;
};

inline AttentionWorkspace attention_workspace(const AttentionWork& w, const AttentionConfig& c) {
  const auto align = [](size_t bytes) { return (bytes + 255) / 256 * 256; };
  const bool uncut = c.total_tiles == c.grid * c.tiles_per_unit;  // a unit per block
  const size_t elements = uncut ? 0 : static_cast<size_t>(c.grid) * w.heads_per_unit * w.head_dim;
  AttentionWorkspace ws;
  ws.log2_offset = align(elements * 4);
  ws.bytes = ws.log2_offset + align(elements);  // 4 bytes for 4 elements
  return ws;
}

}  // namespace polar::cuda
