// What the device code of the router GEMMs works on: parameters, the share of a block, the layout of shared memory.
#pragma once

#include <type_traits>

#include "router_config.h"
#include "router_ptx.cuh"

namespace polar::cuda::router {

// What becomes of a finished tile.
enum class Finish : int {
  kScores,  // scores[row] = sum over the batch, ascending, of max(0, value); one split
  kHidden,  // sum over splits, ascending, rounded: hidden[batch, rows]
  kPartial  // partial[split, batch, rows] as it is; the kernel that follows adds up
};

struct GemmParams {
  const void* weights;  // [rows, k_total]
  const void* input;    // [batch, k_total]
  int64_t k_total;
  int64_t rows;
  int64_t batch;
  GemmPlan plan;
  Finish finish;
  float* scores;
  uint32_t* range;  // kScores: {max of ~key, max of key} over all scores, zero before
  void* hidden;
  float* partial;     // kHidden: [batch_tiles, row_tiles, 2 warps, splits, 32 lanes, batch_tile / 4]
  unsigned* tickets;  // kHidden: [batch_tiles, row_tiles, 2 warps], zero between launches
};

template <int BatchTile>
struct Shape {
  static constexpr int kBatch = BatchTile;
  static constexpr int kGroups = k_groups(BatchTile);
  static constexpr int kColumnGroups = kWarps / kGroups;
  static constexpr int kColumns = BatchTile / 8 / kColumnGroups;  // mma columns of a warp
  static constexpr int kLines = kMaxBlockK / kLine / kGroups;     // k lines of a warp
  static constexpr int kStride = BatchTile + 4;                   // of a row in the exchange buffer
  static constexpr int kBuffer = exchange_floats(BatchTile);
  static constexpr int kPerLane = BatchTile / 4;        // sequences of a lane that finishes tiles
  static constexpr int kWidth = kPerLane >= 4 ? 4 : 2;  // floats of a vector of them
  using Vector = std::conditional_t<kWidth == 4, float4, float2>;
};

// The part of the work that falls to this block.
struct Share {
  int split, first_tile, tiles, units;
  int64_t k0;
  int k;
  __device__ explicit Share(const GemmParams& p) {
    split = static_cast<int>(blockIdx.x) / p.plan.row_blocks;
    const int64_t block = static_cast<int>(blockIdx.x) % p.plan.row_blocks;
    first_tile = static_cast<int>(p.plan.row_tiles * block / p.plan.row_blocks);
    tiles = static_cast<int>(p.plan.row_tiles * (block + 1) / p.plan.row_blocks) - first_tile;
    units = tiles * p.plan.batch_tiles;
    k0 = static_cast<int64_t>(split) * p.plan.k_block;
    k = static_cast<int>(p.k_total - k0 < p.plan.k_block ? p.k_total - k0 : p.plan.k_block);
  }
};

struct SharedLayout {
  uint32_t full, empty, stages;  // shared addresses; barriers are 8 bytes apart
  float* exchange;
  __device__ SharedLayout(char* base, const GemmPlan& plan) {
    full = ptx::shared_address(base);
    empty = full + 8 * kMaxStages;
    stages = full + kBarrierBytes;
    exchange = reinterpret_cast<float*>(base + kBarrierBytes + plan.stages * plan.stage_bytes + kSlack);
  }
};

}  // namespace polar::cuda::router
