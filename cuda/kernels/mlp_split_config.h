// The cluster-split configuration of an MLP GEMM on sm_90a: a pure function like the rest of mlp_config.h, whose words
// it uses. A cluster of `split` blocks owns a row tile; every block takes one part of k, and the parts meet through
// distributed shared memory in block order. Tiles have no fixed height: the rows are dealt out evenly to as many tiles
// as there are clusters, or a multiple, so that all SMs load the same number of bytes without stream-K. A cluster of
// one block has nothing to exchange: dense shapes of a small batch take it.
#pragma once

#include "mlp_types.h"

namespace polar::cuda::mlp {

inline constexpr int kSplitGroups = 2;  // warpgroups that multiply
inline constexpr int kSplitBarrierBytes = 512;
inline constexpr int kReducedBatch = 64;  // sequences whose parts are exchanged at a time
inline constexpr int kMostSlots = 16;

constexpr int greatest_common_divisor(int a, int b) { return b == 0 ? a : greatest_common_divisor(b, a % b); }

// Blocks of 64 rows (up) or columns (down) that a warpgroup multiplies: what the accumulators leave registers for.
constexpr int split_blocks(int batch_tile) { return batch_tile > 128 ? 1 : batch_tile > 64 ? 2 : 3; }
// 128-byte lines of a weight row that one copy brings to a slot of the up projection.
constexpr int split_up_lines(int batch_tile) { return batch_tile > 64 ? 2 : 4; }

// Lines of a slot. Rows r, r + g, r + 2 g, ... (g = gcd(lines, 8)) lie back to back and each next such set starts one
// line later: eight neighbouring rows then fall on eight line positions modulo 8, and no ldmatrix has a bank conflict.
constexpr int split_slot_lines(int lines, int rows) { return lines * rows + greatest_common_divisor(lines, 8) - 1; }

// Most 16-row parts of a tile of `blocks` 64-row blocks that one block of the cluster reduces.
constexpr int split_owned(int blocks, int split) { return static_cast<int>(ceil_div(4 * blocks, split)); }

// Bytes of the biases of the rows that a block reduces; there is room for two row tiles.
constexpr int split_shift_bytes(int blocks, int split) { return split_owned(blocks, split) * 16 * 4; }

constexpr int split_batch_tile(int64_t batch_size) {
  return batch_size <= 8     ? 8
         : batch_size <= 16  ? 16
         : batch_size <= 32  ? 32
         : batch_size <= 64  ? 64
         : batch_size <= 128 ? 128
                             : 256;
}

// Bytes that a block receives in one round of the reduction of `blocks` 64-row blocks.
constexpr int64_t split_part_bytes(int blocks, int split, int batch_tile) {
  const int sequences = batch_tile < kReducedBatch ? batch_tile : kReducedBatch;
  return int64_t{split_owned(blocks, split)} * split * sequences * 64;
}

// Sets slots and shared memory. The input comes from L2 and wants a lead of eight lines, or as many as fit; the blocks
// of an up tile share the lines of a chunk and hold them until the last has multiplied.
constexpr void fit_split_slots(GemmConfig& c, GemmOp op, const GemmDevice& device) {
  const int64_t fixed = 1024 + kSplitBarrierBytes + 2 * split_shift_bytes(c.blocks, c.split);
  const int round = c.aliased || c.blocks < kSplitGroups ? c.blocks : kSplitGroups;
  const int64_t parts = c.split == 1 ? 0 : split_part_bytes(round, c.split, c.batch_tile);
  const int64_t room = static_cast<int64_t>(device.shared_bytes_per_block) - fixed - (c.aliased ? 0 : parts);
  const int64_t weight = int64_t{split_slot_lines(c.lines, c.slot_rows)} * kLineBytes;
  const int64_t input = int64_t{c.batch_tile} * kLineBytes;
  const int step = 2;  // warps that load come in two teams, and a slot must always belong to the same
  const int held = op == GemmOp::kUp && c.blocks > kSplitGroups ? c.lines + 2 : 2;
  for (int lead = 8; lead >= held; --lead) {
    for (int slots = 12; slots >= (lead > held ? 4 : 2); --slots) {
      const int64_t left = room - slots * weight;
      if (slots % step != 0 || left < lead * input || (c.aliased && slots * weight < parts)) continue;
      const int64_t inputs = left / input;
      c.weight_slots = slots;
      c.input_slots = static_cast<int>(inputs < kMostSlots ? inputs : kMostSlots);
      c.shared_bytes = static_cast<int>(fixed + (c.aliased ? 0 : parts) + slots * weight + c.input_slots * input);
      return;
    }
  }
  c.weight_slots = 0;
}

// The configuration with `split` blocks in a cluster and `blocks` 64-row (up: an even count) or 64-column blocks in a
// tile. `weight_slots` 0: it does not fit.
constexpr GemmConfig make_split_config(const GemmShape& shape, const GemmDevice& device, int split, int blocks) {
  GemmConfig c{};
  c.path = GemmPath::kClusterSplit;
  c.tile = GemmTile::kFlexible;
  c.batch_tile = split_batch_tile(shape.batch_size);
  const int64_t batch_tiles = ceil_div(shape.batch_size, c.batch_tile);
  c.batch_tiles = static_cast<int>(batch_tiles < kMaxBatchTiles ? batch_tiles : kMaxBatchTiles);
  c.split = split;
  c.blocks = blocks;
  const int64_t clusters = device.clusters[split] / c.batch_tiles < 1 ? 1 : device.clusters[split] / c.batch_tiles;
  const int rows = shape.gated ? 2 : 1;
  if (shape.op == GemmOp::kUp) {
    c.lines = split_up_lines(c.batch_tile);
    const int64_t passes = ceil_div(shape.active_neurons * rows, clusters * 64 * blocks);
    const int64_t most = ceil_div(shape.active_neurons, 8);
    c.row_tiles = static_cast<int>(clusters * passes < most ? clusters * passes : most);
    c.chunks = static_cast<int>(ceil_div(shape.hidden_size, c.lines * kLineElements));
    const int64_t height = ceil_div(shape.active_neurons, c.row_tiles) * rows;
    const int piece = 16;  // four rows for each of four producer warps; gated: eight gate rows, then their up rows
    c.slot_rows = static_cast<int>(ceil_div(ceil_div(height, blocks), piece)) * piece;
  } else {
    c.lines = blocks;
    c.row_tiles = static_cast<int>(ceil_div(shape.hidden_size / kLineElements, blocks));
    c.chunks = static_cast<int>(ceil_div(shape.active_neurons, 64));
    c.slot_rows = 64;
  }
  c.workers = static_cast<int>(c.row_tiles < clusters ? c.row_tiles : clusters);
  c.aliased = split == 1 || (c.row_tiles <= c.workers && blocks > kSplitGroups);
  fit_split_slots(c, shape.op, device);
  return c;
}

// A model of the time of a configuration, microseconds, to rank the configurations of one problem. The constants are
// fitted to 28 problems x up to 21 configurations on one H200 (docs/kernels/mlp.md): it misses the best by 0.4 % in the
// mean, 5.5 % at worst, and says nothing about other devices, for which only the order of the terms matters.
struct SplitModel {
  double device_bytes = 4.3e6;    // per us, of all SMs together
  double block_bytes = 90e3;      // per us, of one SM
  double input_share = 0.276;     // of the price of a weight byte; the input comes from L2
  double slot = 0.326;            // loading, per slot: waits and the issue of copies
  double line = 0.096;            // multiplying, per 64 k of a 64-row block: fragments, waits
  double line_sequence = 0.0031;  // the same, per sequence
  double step = 0.1;              // multiplying, per slot
  double pass = 3.2;              // per row tile: the part of the reduction that does not depend on its size
  double alone = 4.5;             // the same where no other block has a part of the tile
  double sent_byte = 40e-6;       // per byte that a block sends to others
  double wide_cluster = 0.44;     // clusters of more than three blocks
  double overlap = 0.75;          // share of the longest term that hides the others
};

constexpr double split_cost(const GemmShape& shape, const GemmConfig& c, const SplitModel& m = {}) {
  const bool up = shape.op == GemmOp::kUp;
  const auto passes = static_cast<double>(ceil_div(c.row_tiles, c.workers));
  const auto chunks = static_cast<double>(ceil_div(c.chunks, c.split));
  const double neurons = static_cast<double>(shape.active_neurons) * (up && shape.gated ? 2 : 1);
  const double height = up ? neurons / c.row_tiles : 64.0 * c.blocks;
  const auto mine = static_cast<double>(ceil_div(c.blocks, kSplitGroups));  // blocks of a warpgroup
  const double lines = passes * chunks * (up ? c.lines : 1);                // 64-k steps of one block
  const double loads = lines * (height + m.input_share * c.batch_tile) * kLineBytes / m.block_bytes +
                       passes * chunks * (up ? c.blocks : 1) * m.slot;
  const double multiply =
      lines * mine * (m.line + m.line_sequence * c.batch_tile) + passes * chunks * (up ? mine : 1.0) * m.step;
  const double device = neurons * static_cast<double>(shape.hidden_size) * 2 / m.device_bytes;
  const double longest = loads > multiply ? (loads > device ? loads : device) : (multiply > device ? multiply : device);
  const double sent = height * c.batch_tile * 4 * (c.split - 1) / c.split;
  return m.overlap * longest + (1 - m.overlap) * loads +
         passes * ((c.split == 1 ? m.alone : m.pass) + m.sent_byte * sent) + (c.split > 3 ? m.wide_cluster : 0);
}

// Clusters of more than four blocks leave too many SMs without work in the up projection, where they were never best.
constexpr int split_most(GemmOp op) { return op == GemmOp::kUp ? 4 : kMaxSplit; }

// `weight_slots` 0: this device or problem takes another path.
constexpr GemmConfig choose_split_config(const GemmShape& shape, const GemmDevice& device) {
  GemmConfig best{};
  if (device.compute_major != 9 || shape.hidden_size % kLineElements != 0) return best;
  const int batch_tile = split_batch_tile(shape.batch_size);
  const int step = shape.op == GemmOp::kUp ? kSplitGroups : 1;
  double best_cost = 0;
  for (int split = 1; split <= split_most(shape.op); ++split) {
    if (device.clusters[split] < 1) continue;
    for (int blocks = step; blocks <= kSplitGroups * split_blocks(batch_tile); blocks += step) {
      const GemmConfig c = make_split_config(shape, device, split, blocks);
      if (c.weight_slots == 0) continue;
      const double cost = split_cost(shape, c);
      if (best.weight_slots > 0 && cost >= best_cost) continue;
      best = c;
      best_cost = cost;
    }
  }
  return best;
}

}  // namespace polar::cuda::mlp
