// How the products of the MLP router on sm_90a are cut up: pure functions of sizes and device facts.
//
// Both compute out[rows, batch] = weights[rows, k] * input[batch, k]^T by warpgroup multiplications, 64 weight rows
// times `columns` sequences, from a ring of slots in shared memory. A slot holds 64 k (a slice) of the block's rows and
// of a batch tile.
#pragma once

#include "router_config.h"

namespace polar::cuda::router {

inline constexpr int kSliceK = 64;
inline constexpr int kSliceBytes = 2 * kSliceK;  // of a row: one line of the swizzle
inline constexpr int kWarpgroupRows = 64;
inline constexpr int kMostSlots = 16;
inline constexpr int kSlotBarrierBytes = 8 * (2 * kMostSlots + 1);  // full and empty of every slot, and one more

// First product: clusters of kHiddenSplits blocks share the rows of two warpgroups and split k. So OPT-66B's 1024 rows
// take 64 SMs, which is enough to read at the speed of memory; half as many rows would read the input twice as often.
// The second product starts on the other SMs.
inline constexpr int kHiddenSplits = 8;
inline constexpr int kHiddenWarps = 8;
inline constexpr int kHiddenRows = kHiddenWarps / 4 * kWarpgroupRows;
// The second product's blocks may start when so many slices are left to load: earlier they take bandwidth from what is
// waited for, later memory idles.
inline constexpr int kHiddenLastSlices = 5;

// Second product: a warpgroup for every 64 rows of a block, at most so many. Beyond four, a thread gets 80 registers,
// and 64 sums with what goes with them do not fit.
constexpr int most_warpgroups(int columns) { return columns > 64 ? 4 : 5; }
inline constexpr int kMostScoresWarps = 20;
inline constexpr int kWarpRangeBytes = 2 * 4 * kMostScoresWarps;  // smallest and largest key of every warp

// Sequences multiplied at once; a batch takes as many tiles of them as it needs.
constexpr int columns_of(int64_t batch) { return batch <= 8 ? 8 : batch <= 32 ? 32 : batch <= 64 ? 64 : 128; }

// Column of the multiplication in which a sequence of a batch tile stands: such that the accumulators of one thread are
// columns / 4 neighbouring sequences, and a sum in ascending order passes only three times from lane to lane.
constexpr int column_of(int sequence, int columns) {
  const int quarter = columns / 4, inside = sequence % quarter;
  return inside / 2 * 8 + sequence / quarter * 2 + inside % 2;
}

// Slots that fit beside `rest` bytes; at most kMostSlots.
constexpr int slots_in(int64_t shared_limit, int64_t rest, int64_t slot_bytes) {
  const int64_t room = (shared_limit - rest) / slot_bytes;
  return static_cast<int>(room > kMostSlots ? kMostSlots : room < 0 ? 0 : room);
}

struct HiddenPlan {
  int columns, batch_tiles;
  int row_tiles;  // of kHiddenRows; the grid is kHiddenSplits x row_tiles x batch_tiles
  int slices;     // of the whole k
  int slots;
  int shared_bytes;
};

// Fragments of 16 rows x 8 sequences that a block adds up. A tile of few has fewer owners than blocks.
constexpr int hidden_fragments(int columns) {
  const int all = kHiddenWarps * columns / 8;
  return all < kHiddenSplits ? 1 : all / kHiddenSplits;
}
// Bytes in which it receives them from all blocks of its cluster.
constexpr int hidden_part_bytes(int columns) { return kHiddenSplits * hidden_fragments(columns) * 512; }

constexpr HiddenPlan plan_hidden(int64_t rank, int64_t hidden_size, int64_t batch, size_t shared_limit) {
  HiddenPlan plan{};
  plan.columns = columns_of(batch);
  plan.batch_tiles = static_cast<int>(divide_up(batch, plan.columns));
  plan.row_tiles = static_cast<int>(divide_up(rank, kHiddenRows));
  plan.slices = static_cast<int>(divide_up(hidden_size, kSliceK));
  const int slot = (kHiddenRows + plan.columns) * kSliceBytes;
  const int rest = hidden_part_bytes(plan.columns) + kSlotBarrierBytes;
  plan.slots = slots_in(static_cast<int64_t>(shared_limit), rest, slot);
  plan.shared_bytes = rest + plan.slots * slot;
  return plan;
}

struct ScoresPlan {
  int columns, batch_tiles;
  int warpgroups, warpgroup_rows;  // of a block, and the rows of each: a multiple of 8, at most 64
  int passes;                      // of warpgroups x warpgroup_rows rows, one after the other
  int blocks;
  int slices;     // of the whole k
  int slot_rows;  // at least those of one multiplication
  int slots;
  int shared_bytes;
};

// Every block gets an equal contiguous range of rows, in as few passes as its warpgroups allow.
constexpr ScoresPlan plan_scores(int64_t neurons, int64_t rank, int64_t batch, int sm_count, size_t shared_limit) {
  ScoresPlan plan{};
  plan.columns = columns_of(batch);
  plan.batch_tiles = static_cast<int>(divide_up(batch, plan.columns));
  plan.slices = static_cast<int>(divide_up(rank, kSliceK));
  const int64_t share = divide_up(neurons, sm_count);
  plan.passes = static_cast<int>(divide_up(share, most_warpgroups(plan.columns) * kWarpgroupRows));
  const int64_t pass = divide_up(share, plan.passes);
  plan.warpgroups = static_cast<int>(divide_up(pass, kWarpgroupRows));
  plan.warpgroup_rows = static_cast<int>(divide_up(pass, plan.warpgroups * 8) * 8);
  const int rows = plan.warpgroups * plan.warpgroup_rows;
  plan.blocks = static_cast<int>(divide_up(neurons, static_cast<int64_t>(rows) * plan.passes));
  plan.slot_rows = rows < kWarpgroupRows ? kWarpgroupRows : rows;
  const int slot = (plan.slot_rows + plan.columns) * kSliceBytes, rest = kSlotBarrierBytes + kWarpRangeBytes;
  plan.slots = slots_in(static_cast<int64_t>(shared_limit), rest, slot);
  plan.shared_bytes = rest + plan.slots * slot;
  return plan;
}

}  // namespace polar::cuda::router
