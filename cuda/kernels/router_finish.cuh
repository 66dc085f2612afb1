// How a tile of the router GEMMs ends: the parts of its k groups are added up, and become scores, hidden values or the
// partial sums of a split.
#pragma once

#include "router_key.cuh"
#include "router_params.cuh"

namespace polar::cuda::router {

// A tile on its way: which of the block's, of which batch tile, in which exchange buffer. Counted up, since dividing
// for each tile would take longer than finishing it.
struct Unit {
  int tile = 0, batch_tile = 0, buffer = 0;
  __device__ __forceinline__ void advance(const Share& share, int buffers) {
    if (++tile == share.tiles) tile = 0, ++batch_tile;
    if (++buffer == buffers) buffer = 0;
  }
  // The pair of warps that finishes it; the same one for all batch tiles of a row.
  __device__ __forceinline__ int pair() const { return tile & 3; }
};

// Where a lane of the finishing warps stands: a row of the tile and kPerLane neighbouring sequences.
struct FinishPlace {
  int lane, quarter, half, tile, batch_tile;
  int row_of_tile, sequence0;
  int64_t row;
  __device__ __forceinline__ FinishPlace(const Share& share, const Unit& unit, int half, int batch_tile_size)
      : lane(threadIdx.x & 31),
        quarter(lane & 3),
        half(half),
        tile(share.first_tile + unit.tile),
        batch_tile(unit.batch_tile),
        row_of_tile(half * 8 + (lane >> 2)),
        sequence0(unit.batch_tile * batch_tile_size + quarter * (batch_tile_size / 4)),
        row(static_cast<int64_t>(tile) * kTileRows + row_of_tile) {}
};

// Adds up a row over its sequences in ascending order: the sum passes through the four lanes of the row. Sequences past
// the batch have logits of zero, which change nothing. The sum of the batch tile before was written by this very lane.
template <class S>
__device__ __forceinline__ void finish_scores(const GemmParams& p, const FinishPlace& at, float (&v)[S::kPerLane],
                                              KeyRange& range) {
  const bool writes = at.quarter == 0 && at.row < p.rows;
  float sum = 0;
  if (writes && at.batch_tile > 0) sum = p.scores[at.row];
#pragma unroll
  for (int i = 0; i < S::kPerLane; ++i) v[i] = relu(v[i]);
#pragma unroll
  for (int turn = 0; turn < 4; ++turn) {
    float next = sum;
#pragma unroll
    for (int i = 0; i < S::kPerLane; ++i) next += v[i];
    const float passed = __shfl_sync(0xffffffffu, next, (at.lane & ~3) | turn);
    if (at.quarter == turn + 1 || turn == 3) sum = passed;
  }
  if (!writes) return;
  p.scores[at.row] = sum;
  if (at.batch_tile == p.plan.batch_tiles - 1) range.add(sum);
}

// Sums of the splits of half a tile, [splits, kVectors, 32 lanes]: what one warp wrote, another reads lane by lane.
template <class S>
struct SplitSums {
  static constexpr int kWidth = S::kWidth;
  static constexpr int kVectors = S::kPerLane / kWidth;
  using Vector = typename S::Vector;
  int64_t slot;  // (batch tile, row tile, half)
  Vector* lane;

  __device__ SplitSums(const GemmParams& p, const FinishPlace& at) {
    slot = (static_cast<int64_t>(at.batch_tile) * p.plan.row_tiles + at.tile) * 2 + at.half;
    lane = reinterpret_cast<Vector*>(p.partial) + slot * p.plan.splits * kVectors * 32 + at.lane;
  }
  __device__ __forceinline__ void store(int split, const float (&v)[S::kPerLane]) const {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      Vector out;
      out.x = v[kWidth * i], out.y = v[kWidth * i + 1];
      if constexpr (kWidth == 4) out.z = v[4 * i + 2], out.w = v[4 * i + 3];
      __stcg(lane + (split * kVectors + i) * 32, out);
    }
  }
  __device__ __forceinline__ void add(int split, float (&v)[S::kPerLane]) const {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const Vector part = __ldcg(lane + (split * kVectors + i) * 32);
      v[kWidth * i] += part.x, v[kWidth * i + 1] += part.y;
      if constexpr (kWidth == 4) v[4 * i + 2] += part.z, v[4 * i + 3] += part.w;
    }
  }
};

// The warp that comes last for its half of a tile adds all splits in ascending order, so the bits do not depend on who
// that is, and resets the ticket. Runs after the block's last tile, when the input's registers are free for loads.
template <class S, typename T>
__device__ __forceinline__ void add_splits(const GemmParams& p, const FinishPlace& at) {
  const SplitSums<S> sums(p, at);
  unsigned arrived = 0;
  if (at.lane == 0) arrived = atomicAdd(p.tickets + sums.slot, 1u);
  arrived = __shfl_sync(0xffffffffu, arrived, 0);
  if (arrived != static_cast<unsigned>(p.plan.splits - 1)) return;
  if (at.lane == 0) p.tickets[sums.slot] = 0;
  __threadfence();
  float v[S::kPerLane] = {};
#pragma unroll 8
  for (int split = 0; split < p.plan.splits; ++split) sums.add(split, v);
  if (at.row >= p.rows) return;
#pragma unroll
  for (int i = 0; i < S::kPerLane; ++i) {
    if (at.sequence0 + i < p.batch) {
      static_cast<T*>(p.hidden)[static_cast<int64_t>(at.sequence0 + i) * p.rows + at.row] = static_cast<T>(v[i]);
    }
  }
}

template <class S>
__device__ __forceinline__ void finish_partial(const GemmParams& p, const Share& share, const FinishPlace& at,
                                               const float (&v)[S::kPerLane]) {
  if (at.row >= p.rows) return;
#pragma unroll
  for (int i = 0; i < S::kPerLane; ++i) {
    if (at.sequence0 + i < p.batch) {
      __stcg(p.partial + (static_cast<int64_t>(share.split) * p.batch + at.sequence0 + i) * p.rows + at.row, v[i]);
    }
  }
}

// Stores this warp's part of a tile for the pair of warps that finishes it.
template <class S>
__device__ __forceinline__ void store_part(float* buffer, const float (&acc)[S::kColumns][4], int group, int column0) {
  const int lane = threadIdx.x & 31;
  float* out = buffer + (group * kTileRows + (lane >> 2)) * S::kStride + column0 + (lane & 3) * 2;
#pragma unroll
  for (int j = 0; j < S::kColumns; ++j) {
    *reinterpret_cast<float2*>(out + j * 8) = make_float2(acc[j][0], acc[j][1]);
    *reinterpret_cast<float2*>(out + 8 * S::kStride + j * 8) = make_float2(acc[j][2], acc[j][3]);
  }
}

// The sum of all parts, in order of their k group.
template <class S>
__device__ __forceinline__ void sum_parts(const float* buffer, int row, int quarter, float (&v)[S::kPerLane]) {
  const float* from = buffer + row * S::kStride + quarter * S::kPerLane;
#pragma unroll
  for (int i = 0; i < S::kPerLane; ++i) v[i] = 0;
#pragma unroll
  for (int group = 0; group < S::kGroups; ++group) {
#pragma unroll
    for (int i = 0; i < S::kPerLane; i += S::kWidth) {
      const auto part = *reinterpret_cast<const typename S::Vector*>(from + group * kTileRows * S::kStride + i);
      v[i] += part.x, v[i + 1] += part.y;
      if constexpr (S::kWidth == 4) v[i + 2] += part.z, v[i + 3] += part.w;
    }
  }
}

}  // namespace polar::cuda::router
