// Which tile, pipeline depth and split an MLP GEMM gets: a pure function of the problem and of four facts about the
// device, so a test can print and check every choice without a GPU.
//
// Words used by all mlp_gemm files. The GEMM is computed with the weights as the left (m) operand, so a batch of 1 to 8
// wastes nothing: out^T[rows, batch] = weights[rows, k] * input^T[k, batch].
//   up:   rows = active neurons (gated: gate and up rows of each), k = hidden_size
//   down: rows = hidden_size, k = active neurons; the gather runs along k
// One *slot* is a piece of weights in shared memory that is loaded, waited for and freed as a whole: `slot_rows` weight
// rows of `lines` 128-byte lines each. One *chunk* is the k extent of a slot. Work is the flat sequence of
// (row tile, chunk) pairs; every worker takes an equal contiguous range of it (stream-K).
#pragma once

#include "mlp_split_config.h"
#include "mlp_types.h"

namespace polar::cuda::mlp {

inline constexpr int kSharedReserve = 1024 + 256;  // alignment of the first slot, and the barriers

struct TileShape {
  int slot_rows;  // weight rows in a slot
  int lines;      // 128-byte lines of each row in a slot
  int slots_per_chunk;
  int warps_m;  // of the warps that share a slot
  int warps_n;
};

constexpr TileShape tile_shape(GemmOp op, GemmTile tile, int batch_tile) {
  if (op == GemmOp::kUp) {
    if (tile == GemmTile::kWide) return batch_tile >= 64 ? TileShape{64, 4, 2, 2, 2} : TileShape{64, 4, 2, 4, 1};
    return batch_tile >= 64 ? TileShape{128, 2, 1, 4, 2} : TileShape{128, 2, 1, 8, 1};
  }
  if (tile == GemmTile::kTall) return {64, 4, 1, 8, 1};
  return batch_tile >= 64 ? TileShape{128, 2, 1, 4, 2} : TileShape{128, 2, 1, 8, 1};
}

constexpr int tile_rows(GemmOp op, const TileShape& s) {
  return op == GemmOp::kUp ? s.slot_rows * s.slots_per_chunk : s.lines * kLineElements;
}
constexpr int chunk_k(GemmOp op, const TileShape& s) {
  return op == GemmOp::kUp ? s.lines * kLineElements : s.slot_rows;
}
// Rows r, r + lines, r + 2 lines, ... lie back to back; each next such set starts one line later, so that the same
// line of eight neighbouring rows falls on eight different line positions modulo 8. The 128-byte swizzle of the
// tensor copy (bits 4-6 of a shared address are xored with its bits 7-9) then makes every ldmatrix conflict-free.
constexpr int weight_slot_bytes(const TileShape& s) { return (s.slot_rows * s.lines + s.lines - 1) * kLineBytes; }
constexpr int input_slot_bytes(GemmOp op, const TileShape& s, int batch_tile) {
  return chunk_k(op, s) / kLineElements * batch_tile * kLineBytes;
}

// Floats of a tile: what one worker stores when it computes part of a tile.
constexpr int64_t tile_floats(GemmOp op, const GemmConfig& c) {
  return static_cast<int64_t>(tile_rows(op, tile_shape(op, c.tile, c.batch_tile))) * c.batch_tile;
}

constexpr int choose_batch_tile(int64_t batch_size) {
  return batch_size <= 8 ? 8 : batch_size <= 32 ? 32 : batch_size <= 64 ? 64 : 128;
}

// Weights per SM below which a tall tile of the down projection has too few chunks to share evenly.
inline constexpr int64_t kTallWeightBytesPerSm = int64_t{1} << 20;

// A copy costs its issuing warp the same for 256 and for 512 bytes, so slots of 512-byte slices are preferred wherever
// the accumulators allow it. Up: 128-row tiles beat 256-row ones at every density that was measured
// (docs/kernels/mlp.md), because fewer accumulators leave room for the loads of a second slot. Down: 256-column tiles,
// unless the active weights are so few that the workers of one tile cannot be given equal shares.
constexpr GemmTile choose_tile(const GemmShape& shape, const GemmDevice& device, int batch_tile, GemmPath path) {
  if (batch_tile == 128 || path == GemmPath::kAsyncCopy) return GemmTile::kShort;
  if (shape.op == GemmOp::kUp) return GemmTile::kWide;
  const int64_t weight_bytes = 2 * shape.active_neurons * shape.hidden_size;
  return batch_tile == 64 && weight_bytes <= device.sm_count * kTallWeightBytesPerSm ? GemmTile::kShort
                                                                                     : GemmTile::kTall;
}

// The deepest pipeline that fits; at least two slots, else `weight_slots` is 0 and the tile cannot be used.
// A chunk of several slots has one warp group per slot, and a slot must always belong to the same group: a group that
// runs ahead would otherwise read the phase of a barrier whose previous round it never saw. So the depth is a multiple
// of slots_per_chunk. The input, which comes from L2, needs a lead of about 64 KB of weights (1.5 us).
constexpr void fit_slots(GemmConfig& c, GemmOp op, const GemmDevice& device) {
  const TileShape s = tile_shape(op, c.tile, c.batch_tile);
  const bool async = c.path == GemmPath::kAsyncCopy;
  const int64_t room = static_cast<int64_t>(device.shared_bytes_per_block) - kSharedReserve;
  const int64_t weight = weight_slot_bytes(s), input = input_slot_bytes(op, s, c.batch_tile);
  const int lead = 1 + static_cast<int>(ceil_div(65536, weight * s.slots_per_chunk));
  for (int slots = async ? 4 : 8; slots >= 2; --slots) {
    if (slots % s.slots_per_chunk != 0) continue;
    const int most = slots / s.slots_per_chunk < 2 ? 2 : slots / s.slots_per_chunk;
    const int least = async || most < lead ? most : lead;
    for (int inputs = most; inputs >= least; --inputs) {
      if (slots * weight + inputs * input > room) continue;
      c.weight_slots = slots;
      c.input_slots = inputs;
      c.shared_bytes = static_cast<int>(slots * weight + inputs * input) + kSharedReserve;
      return;
    }
  }
  c.weight_slots = 0;
}

constexpr void split_work(GemmConfig& c, const GemmShape& shape, const GemmDevice& device) {
  const TileShape s = tile_shape(shape.op, c.tile, c.batch_tile);
  const bool up = shape.op == GemmOp::kUp;
  const int64_t rows = up ? shape.active_neurons * (shape.gated ? 2 : 1) : shape.hidden_size;
  const int64_t k = up ? shape.hidden_size : shape.active_neurons;
  c.row_tiles = static_cast<int>(ceil_div(rows, tile_rows(shape.op, s)));
  c.chunks = static_cast<int>(ceil_div(k, chunk_k(shape.op, s)));
  const int64_t tiles = ceil_div(shape.batch_size, c.batch_tile);
  c.batch_tiles = static_cast<int>(tiles < kMaxBatchTiles ? tiles : kMaxBatchTiles);
  const int64_t units = static_cast<int64_t>(c.row_tiles) * c.chunks;
  const int64_t share = device.sm_count / c.batch_tiles < 1 ? 1 : device.sm_count / c.batch_tiles;
  c.workers = static_cast<int>(units < share ? units : share);
}

// The stream-K configuration of one GEMM. `weight_slots` 0: the device has too little shared memory for any tile.
constexpr GemmConfig choose_stream_config(const GemmShape& shape, const GemmDevice& device) {
  GemmConfig c{};
  // A tensor map describes a weight row as whole 128-byte lines.
  const bool whole_lines = shape.hidden_size % kLineElements == 0;
  c.path = device.compute_major >= 9 && whole_lines ? GemmPath::kTensorCopy : GemmPath::kAsyncCopy;
  c.split = 1;
  c.batch_tile = choose_batch_tile(shape.batch_size);
  if (c.path == GemmPath::kAsyncCopy && c.batch_tile > 64) c.batch_tile = 64;
  c.tile = choose_tile(shape, device, c.batch_tile, c.path);
  fit_slots(c, shape.op, device);
  while (c.weight_slots == 0 && c.batch_tile > 8) {
    c.batch_tile = c.batch_tile == 128 ? 64 : c.batch_tile == 64 ? 32 : 8;
    c.tile = GemmTile::kShort;
    fit_slots(c, shape.op, device);
  }
  split_work(c, shape, device);
  return c;
}

// The configuration of one GEMM: cluster split where the device has it.
constexpr GemmConfig choose_gemm_config(const GemmShape& shape, const GemmDevice& device) {
  const GemmConfig split = choose_split_config(shape, device);
  return split.weight_slots > 0 ? split : choose_stream_config(shape, device);
}

// The kernels that are compiled: those that choose_gemm_config can return on a device that exists, and no others, since
// each costs seconds of every build. A test compares this list with the choices.
struct GemmInstance {
  GemmOp op;
  GemmPath path;
  GemmTile tile;
  int batch_tile;
};

inline constexpr GemmInstance kGemmInstances[] = {
    {GemmOp::kUp, GemmPath::kClusterSplit, GemmTile::kFlexible, 8},
    {GemmOp::kUp, GemmPath::kClusterSplit, GemmTile::kFlexible, 16},
    {GemmOp::kUp, GemmPath::kClusterSplit, GemmTile::kFlexible, 32},
    {GemmOp::kUp, GemmPath::kClusterSplit, GemmTile::kFlexible, 64},
    {GemmOp::kUp, GemmPath::kClusterSplit, GemmTile::kFlexible, 128},
    {GemmOp::kUp, GemmPath::kClusterSplit, GemmTile::kFlexible, 256},
    {GemmOp::kDown, GemmPath::kClusterSplit, GemmTile::kFlexible, 8},
    {GemmOp::kDown, GemmPath::kClusterSplit, GemmTile::kFlexible, 16},
    {GemmOp::kDown, GemmPath::kClusterSplit, GemmTile::kFlexible, 32},
    {GemmOp::kDown, GemmPath::kClusterSplit, GemmTile::kFlexible, 64},
    {GemmOp::kDown, GemmPath::kClusterSplit, GemmTile::kFlexible, 128},
    {GemmOp::kDown, GemmPath::kClusterSplit, GemmTile::kFlexible, 256},
    {GemmOp::kUp, GemmPath::kTensorCopy, GemmTile::kWide, 8},
    {GemmOp::kUp, GemmPath::kTensorCopy, GemmTile::kWide, 32},
    {GemmOp::kUp, GemmPath::kTensorCopy, GemmTile::kWide, 64},
    {GemmOp::kUp, GemmPath::kTensorCopy, GemmTile::kShort, 32},  // 99 KB of shared memory
    {GemmOp::kUp, GemmPath::kTensorCopy, GemmTile::kShort, 64},  // 99 KB of shared memory
    {GemmOp::kUp, GemmPath::kTensorCopy, GemmTile::kShort, 128},
    {GemmOp::kUp, GemmPath::kAsyncCopy, GemmTile::kShort, 8},
    {GemmOp::kUp, GemmPath::kAsyncCopy, GemmTile::kShort, 32},
    {GemmOp::kUp, GemmPath::kAsyncCopy, GemmTile::kShort, 64},
    {GemmOp::kDown, GemmPath::kTensorCopy, GemmTile::kTall, 8},
    {GemmOp::kDown, GemmPath::kTensorCopy, GemmTile::kTall, 32},
    {GemmOp::kDown, GemmPath::kTensorCopy, GemmTile::kTall, 64},
    {GemmOp::kDown, GemmPath::kTensorCopy, GemmTile::kShort, 64},
    {GemmOp::kDown, GemmPath::kTensorCopy, GemmTile::kShort, 128},
    {GemmOp::kDown, GemmPath::kAsyncCopy, GemmTile::kShort, 8},
    {GemmOp::kDown, GemmPath::kAsyncCopy, GemmTile::kShort, 32},
    {GemmOp::kDown, GemmPath::kAsyncCopy, GemmTile::kShort, 64},
};
inline constexpr size_t kGemmInstanceCount = sizeof kGemmInstances / sizeof kGemmInstances[0];

constexpr bool runs(const GemmInstance& instance, GemmOp op, const GemmConfig& c) {
  return instance.op == op && instance.path == c.path && instance.tile == c.tile && instance.batch_tile == c.batch_tile;
}

}  // namespace polar::cuda::mlp
