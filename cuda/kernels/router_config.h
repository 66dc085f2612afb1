// How the router GEMMs are cut up: pure functions of sizes and device facts, so that a test checks every choice.
//
// Both GEMMs compute out[rows, batch] = weights[rows, k] * input[batch, k]^T with the weights streamed through shared
// memory in tiles of 16 rows, and the block's part of the input held in registers. One block works on one range of row
// tiles and one range of k ("split"); its tiles are 16 x k_block.
#pragma once

#include <cstddef>
#include <cstdint>

namespace polar::cuda::router {

inline constexpr int kTileRows = 16;
inline constexpr int kLine = 64;         // elements of a k block: 128 bytes of a weight row
inline constexpr int kMaxBlockK = 1024;  // input held in registers: 16 lines
inline constexpr int kWarps = 8;
inline constexpr int kThreads = 32 * kWarps;
inline constexpr int kMaxStages = kWarps;
// Fewer, longer splits than would keep every SM equally busy: each split's sums are written and read again.
inline constexpr int kAttentionLeastK = 512;
inline constexpr int kHiddenLeastK = 1024;
inline constexpr int kBarrierBytes = 256;
inline constexpr int kSlack = 128;  // the last row's tail is read up to the end of its line

constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

constexpr int batch_tile_of(int64_t batch) { return batch <= 8 ? 8 : batch <= 32 ? 32 : 64; }

// Warps that share a tile split its k into k_groups and its batch columns into n_groups.
constexpr int k_groups(int batch_tile) { return batch_tile == 8 ? 8 : 4; }
// Floats of one buffer of partial tiles, one per k group; rows are padded against bank conflicts.
constexpr int exchange_floats(int batch_tile) { return k_groups(batch_tile) * kTileRows * (batch_tile + 4); }

struct GemmPlan {
  int batch_tile;
  int batch_tiles;
  int row_tiles;
  int k_block;  // k of a split; a multiple of kLine unless there is one split
  int splits;
  int row_blocks;  // blocks that share the row tiles; the grid is splits x row_blocks
  int stages;      // tiles in flight; below 2 the device has too little shared memory
  int buffers;     // tiles between multiplication and finish
  int stage_bytes;
  int shared_bytes;
};

// A third exchange buffer lets warps run further ahead of those that finish a tile, but tiles in flight count more.
constexpr void fit_stages(GemmPlan& plan, size_t shared_limit) {
  plan.stage_bytes = static_cast<int>(divide_up(kTileRows * plan.k_block * 2, 128) * 128);
  for (plan.buffers = 3; plan.buffers >= 2; --plan.buffers) {
    const int64_t rest = kBarrierBytes + kSlack + plan.buffers * 4 * exchange_floats(plan.batch_tile);
    const int64_t room = (static_cast<int64_t>(shared_limit) - rest) / plan.stage_bytes;
    plan.stages = static_cast<int>(room > kMaxStages ? kMaxStages : room < 0 ? 0 : room);
    plan.shared_bytes = static_cast<int>(rest) + plan.stages * plan.stage_bytes;
    if (plan.stages >= 3) return;
  }
  plan.buffers = 2;
}

constexpr GemmPlan begin_plan(int64_t rows, int64_t batch) {
  GemmPlan plan{};
  plan.batch_tile = batch_tile_of(batch);
  plan.batch_tiles = static_cast<int>(divide_up(batch, plan.batch_tile));
  plan.row_tiles = static_cast<int>(divide_up(rows, kTileRows));
  return plan;
}

// All of k in one split (k <= kMaxBlockK), so that a block finishes its rows: scores of the MLP router.
constexpr GemmPlan plan_whole_k(int64_t rows, int64_t k, int64_t batch, int sm_count, size_t shared_limit) {
  GemmPlan plan = begin_plan(rows, batch);
  plan.k_block = static_cast<int>(k);
  plan.splits = 1;
  plan.row_blocks = plan.row_tiles < sm_count ? plan.row_tiles : sm_count;
  fit_stages(plan, shared_limit);
  return plan;
}

// k cut so that all blocks run at once and the busiest of them reads the least; among equals the fewest splits, since
// each split writes its partial sums. `least_k` keeps splits from becoming smaller than what they add.
constexpr GemmPlan plan_split_k(int64_t rows, int64_t k, int64_t batch, int sm_count, size_t shared_limit,
                                int least_k) {
  GemmPlan best{};
  int64_t best_cost = -1;
  for (int k_block = kMaxBlockK; k_block >= least_k; k_block -= kLine) {
    GemmPlan plan = begin_plan(rows, batch);
    plan.k_block = k_block;
    plan.splits = static_cast<int>(divide_up(k, k_block));
    const int64_t room = sm_count / plan.splits;
    plan.row_blocks = static_cast<int>(room < 1 ? 1 : room > plan.row_tiles ? plan.row_tiles : room);
    // What the busiest block reads per k: weights, and its part of the input at half the price, since that is in L2.
    const int64_t waves = divide_up(static_cast<int64_t>(plan.splits) * plan.row_blocks, sm_count);
    const int64_t tiles = divide_up(plan.row_tiles, plan.row_blocks);
    const int64_t cost = waves * k_block * plan.batch_tiles * (2 * tiles * kTileRows + plan.batch_tile);
    if (best_cost >= 0 && cost >= best_cost) continue;
    best_cost = cost;
    best = plan;
  }
  fit_stages(best, shared_limit);
  return best;
}

// What is known of every split's k when the kernel is compiled: all of kMaxBlockK, whole lines, or nothing.
enum class Depth : int { kFull, kLines, kAny };

constexpr Depth depth_of(int64_t k_total, int k_block) {
  if (k_block == kMaxBlockK && k_total % kMaxBlockK == 0) return Depth::kFull;
  return k_total % kLine == 0 ? Depth::kLines : Depth::kAny;
}

}  // namespace polar::cuda::router
