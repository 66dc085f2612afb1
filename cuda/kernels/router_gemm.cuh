// Device code of the router GEMMs; router_config.h says how the work is cut.
//
// A tile is 16 weight rows x k_block. Its k is dealt out to k groups of warps, each of which keeps its part of the
// input in registers for all tiles, so that per tile only the weights pass through shared memory, once or twice. That
// takes 128 registers at 64 sequences, so the eight warps are alone (beyond eight, ptxas has 168 to give): they load,
// multiply and finish tiles in turns. The order of k inside a fragment is free as long as both operands share it: a
// lane takes 16 bytes of a row (8 values), which serve two multiplications, and rows keep the plain layout that a bulk
// copy of a contiguous range leaves.
#pragma once

#include "../device/dependent.cuh"
#include "router_finish.cuh"

namespace polar::cuda::router {

// Starts the copy of a tile; called by a whole warp.
template <typename T>
__device__ void load_tile(const GemmParams& p, const Share& share, int unit, uint32_t destination, uint32_t full) {
  const int tile = share.first_tile + unit % share.tiles;
  const int64_t row0 = static_cast<int64_t>(tile) * kTileRows;
  const int rows = static_cast<int>(p.rows - row0 < kTileRows ? p.rows - row0 : kTileRows);
  const char* source = static_cast<const char*>(p.weights) + (row0 * p.k_total + share.k0) * 2;
  const int64_t source_stride = p.k_total * 2;
  const uint32_t row_bytes = static_cast<uint32_t>(share.k) * 2, stride = static_cast<uint32_t>(p.plan.k_block) * 2;
#if __CUDA_ARCH__ >= 900
  if (!mlp::ptx::elect_one()) return;
  mlp::ptx::mbarrier_arrive_expect(full, static_cast<uint32_t>(rows) * row_bytes);
  if (p.plan.k_block == p.k_total) {  // the rows of a tile lie back to back
    ptx::copy_bulk(destination, source, static_cast<uint32_t>(rows) * row_bytes, full);
    return;
  }
  for (int row = 0; row < rows; ++row) {
    ptx::copy_bulk(destination + row * stride, source + row * source_stride, row_bytes, full);
  }
#else
  for (int row = 0; row < rows; ++row) {
    for (uint32_t at = (threadIdx.x & 31) * 16; at < row_bytes; at += 512) {
      ptx::cp_async_16(destination + row * stride + at, source + row * source_stride + at, 16);
    }
  }
  ptx::barrier_arrive_after_copies(full);
#endif
}

// The input fragments of one warp: lines group, group + kGroups, ... of k, all its columns.
template <class S>
using InputFragments = uint32_t[S::kLines][S::kColumns][8];

template <class S>
__device__ __forceinline__ void load_input(const GemmParams& p, const Share& share, int group, int column0,
                                           int batch_tile, InputFragments<S>& b) {
  const int lane = threadIdx.x & 31, part = lane & 3;
#pragma unroll
  for (int i = 0; i < S::kLines; ++i) {
#pragma unroll
    for (int j = 0; j < S::kColumns; ++j) {
      const int64_t sequence = static_cast<int64_t>(batch_tile) * S::kBatch + column0 + j * 8 + (lane >> 2);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int k = (i * S::kGroups + group) * kLine + half * 32 + part * 8;
        uint4 v = make_uint4(0, 0, 0, 0);
        if (sequence < p.batch && k < share.k) {
          v = __ldcg(reinterpret_cast<const uint4*>(static_cast<const char*>(p.input) +
                                                    (sequence * p.k_total + share.k0 + k) * 2));
        }
        b[i][j][half * 4] = v.x, b[i][j][half * 4 + 1] = v.y;
        b[i][j][half * 4 + 2] = v.z, b[i][j][half * 4 + 3] = v.w;
      }
    }
  }
}

__device__ __forceinline__ uint4 load_shared(uint32_t address) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(address));
  return v;
}

// 32 k of two rows per lane pair: r, r + 8.
template <class S, typename T>
__device__ __forceinline__ void multiply_half(float (&acc)[S::kColumns][4], const uint4& low, const uint4& high,
                                              const uint32_t (&b)[S::kColumns][8], int half) {
  const uint32_t first[4] = {low.x, high.x, low.y, high.y}, second[4] = {low.z, high.z, low.w, high.w};
#pragma unroll
  for (int j = 0; j < S::kColumns; ++j) ptx::mma_m16n8k16<T>(acc[j], first, b[j][half * 4], b[j][half * 4 + 1]);
#pragma unroll
  for (int j = 0; j < S::kColumns; ++j) ptx::mma_m16n8k16<T>(acc[j], second, b[j][half * 4 + 2], b[j][half * 4 + 3]);
}

// acc += tile * input over the lines of this warp. Rows are a multiple of 128 bytes apart, so eight lanes that read the
// same 64 bytes of two neighbouring rows would meet in the same banks: odd rows read the halves of a line in the other
// order. With Depth::kAny, k may end inside a line; what lies behind it in shared memory counts as zero.
template <class S, typename T, Depth D>
__device__ __forceinline__ void multiply_tile(float (&acc)[S::kColumns][4], const InputFragments<S>& b, uint32_t tile,
                                              uint32_t stride, int k, int group) {
  const int lane = threadIdx.x & 31, row = lane >> 2, part = lane & 3;
  const bool odd = (row & 1) != 0;
  const uint32_t near = tile + row * stride + (odd ? 64 : 0) + part * 16,
                 far = tile + row * stride + (odd ? 0 : 64) + part * 16;
#pragma unroll
  for (int i = 0; i < S::kLines; ++i) {
    const int line = i * S::kGroups + group;
    if (D != Depth::kFull && line * kLine >= k) break;
    const uint4 a = load_shared(near + line * 128), c = load_shared(far + line * 128);
    const uint4 a8 = load_shared(near + line * 128 + 8 * stride), c8 = load_shared(far + line * 128 + 8 * stride);
    uint4 low0 = odd ? c : a, low1 = odd ? a : c, high0 = odd ? c8 : a8, high1 = odd ? a8 : c8;
    if constexpr (D == Depth::kAny) {
      const uint4 zero = make_uint4(0, 0, 0, 0);
      if (line * kLine + part * 8 >= k) low0 = high0 = zero;
      if (line * kLine + 32 + part * 8 >= k) low1 = high1 = zero;
    }
    multiply_half<S, T>(acc, low0, high0, b[i], 0);
    multiply_half<S, T>(acc, low1, high1, b[i], 1);
  }
}

// Named barriers: a buffer's tile is complete, a buffer was read, the two warps of a pair have both read.
inline constexpr int kFullId = 1, kReadId = 4, kPairId = 7;

// `left`: tiles of this block after this one.
template <class S>
__device__ __forceinline__ void finish_tile(const GemmParams& p, const Share& share, const float* exchange,
                                            const Unit& unit, int left, int half, KeyRange& range) {
  const FinishPlace at(share, unit, half, S::kBatch);
  float v[S::kPerLane];
  ptx::named_sync(kFullId + unit.buffer, kThreads);
  sum_parts<S>(exchange + unit.buffer * S::kBuffer, at.row_of_tile, at.quarter, v);
  ptx::named_sync(kPairId + unit.pair(), 64);  // neither warp of the pair may write here while the other still reads
  if (left >= p.plan.buffers) ptx::named_arrive(kReadId + unit.buffer, kThreads);
  if (p.finish == Finish::kScores) {
    finish_scores<S>(p, at, v, range);
  } else if (p.finish == Finish::kHidden) {
    SplitSums<S>(p, at).store(share.split, v);
  } else {
    finish_partial<S>(p, share, at, v);
  }
}

// Where a warp stands in the ring of stages.
struct Ring {
  int stage = 0;
  uint32_t phase = 0;
};

// Loads into the stage that the tile before the `number`-th has left, or nearly so; the warps take turns.
template <typename T>
__device__ __forceinline__ void load_ahead(const GemmParams& p, const Share& share, const SharedLayout& at, int number,
                                           const Ring& ring, int warp) {
  const int next = number - 1 + p.plan.stages;
  if (number == 0 || next >= share.units || warp != (2 * number + 5) % kWarps) return;
  const int before = ring.stage == 0 ? p.plan.stages - 1 : ring.stage - 1;
  ptx::barrier_wait(at.empty + 8 * before, ring.stage == 0 ? ring.phase ^ 1 : ring.phase);
  load_tile<T>(p, share, next, at.stages + before * p.plan.stage_bytes, at.full + 8 * before);
  __syncwarp();
}

// Hands this warp's part of a tile over, once the buffer's last tile, which the pair `reader` finished, was read.
template <class S>
__device__ __forceinline__ void hand_over(float* exchange, const float (&acc)[S::kColumns][4], const Unit& unit,
                                          int reader, int warp) {
  if (reader >= 0 && reader != warp >> 1) ptx::named_sync(kReadId + unit.buffer, kThreads);
  store_part<S>(exchange + unit.buffer * S::kBuffer, acc, warp % S::kGroups, warp / S::kGroups * S::kColumns * 8);
  if (unit.pair() != warp >> 1) ptx::named_arrive(kFullId + unit.buffer, kThreads);
}

// Every warp multiplies its part of every tile. The pair whose turn it is finishes a tile only after it handed over its
// part of the next one, so that the others need not wait for it.
template <class S, typename T, Depth D>
__device__ void work(const GemmParams& p, const Share& share, const SharedLayout& at, int warp, KeyRange& range) {
  const int group = warp % S::kGroups, column0 = warp / S::kGroups * S::kColumns * 8;
  InputFragments<S> b;
  Ring ring;
  Unit unit, last, read;  // this tile, the one before it, and the one whose buffer it gets
  for (int number = 0; number < share.units; ++number) {
    if (unit.tile == 0) load_input<S>(p, share, group, column0, unit.batch_tile, b);
    float acc[S::kColumns][4] = {};
    ptx::barrier_wait(at.full + 8 * ring.stage, ring.phase);
    multiply_tile<S, T, D>(acc, b, at.stages + ring.stage * p.plan.stage_bytes,
                           static_cast<uint32_t>(p.plan.k_block) * 2, share.k, group);
    __syncwarp();
    if ((threadIdx.x & 31) == 0) ptx::barrier_arrive(at.empty + 8 * ring.stage);
    load_ahead<T>(p, share, at, number, ring, warp);
    if (++ring.stage == p.plan.stages) ring.stage = 0, ring.phase ^= 1;
    const bool reused = number >= p.plan.buffers;
    hand_over<S>(at.exchange, acc, unit, reused ? read.pair() : -1, warp);
    if (reused) read.advance(share, p.plan.buffers);
    if (number > 0 && last.pair() == warp >> 1) {
      finish_tile<S>(p, share, at.exchange, last, share.units - number, warp & 1, range);
    }
    last = unit;
    unit.advance(share, p.plan.buffers);
  }
  if (last.pair() == warp >> 1) finish_tile<S>(p, share, at.exchange, last, 0, warp & 1, range);
}

// The tiles that this warp finished, once more, to add up the splits.
template <class S, typename T>
__device__ void add_all_splits(const GemmParams& p, const Share& share, int warp) {
  __threadfence();
  __syncwarp();
  for (Unit unit; unit.batch_tile < p.plan.batch_tiles; unit.advance(share, p.plan.buffers)) {
    if (unit.pair() == warp >> 1) add_splits<S, T>(p, FinishPlace(share, unit, warp & 1, S::kBatch));
  }
}

template <int BatchTile, typename T, Depth D>
__global__ void __launch_bounds__(kThreads, 1) router_gemm_kernel(const __grid_constant__ GemmParams p) {
  using S = Shape<BatchTile>;
  extern __shared__ __align__(128) char shared[];
  const SharedLayout at(shared, p.plan);
  const Share share(p);
  const int warp = static_cast<int>(threadIdx.x) >> 5;
  allow_dependents();
  if (threadIdx.x == 0) {
    for (int i = 0; i < p.plan.stages; ++i) {
#if __CUDA_ARCH__ >= 900
      ptx::barrier_init(at.full + 8 * i, 1);
#else
      ptx::barrier_init(at.full + 8 * i, 32);
#endif
      ptx::barrier_init(at.empty + 8 * i, kWarps);
    }
#if __CUDA_ARCH__ >= 900
    mlp::ptx::mbarrier_init_fence();
#endif
  }
  __syncthreads();
  // The first tiles, one warp each.
  if (warp < p.plan.stages && warp < share.units) {
    load_tile<T>(p, share, warp, at.stages + warp * p.plan.stage_bytes, at.full + 8 * warp);
  }
  __syncwarp();
  KeyRange range;
  work<S, T, D>(p, share, at, warp, range);
  if (p.finish == Finish::kHidden) add_all_splits<S, T>(p, share, warp);
  if (p.finish == Finish::kScores) {
    __syncthreads();  // nobody waits at the block's barriers any more, whose place this takes
    publish_range(p.range, range, reinterpret_cast<uint32_t*>(shared), kWarps);
  }
}

// Address of the kernel for a batch tile.
template <typename T, Depth D>
const void* kernel_of(int batch_tile) {
  const auto address = [](auto* kernel) { return reinterpret_cast<const void*>(kernel); };
  if (batch_tile == 8) return address(router_gemm_kernel<8, T, D>);
  if (batch_tile == 32) return address(router_gemm_kernel<32, T, D>);
  return address(router_gemm_kernel<64, T, D>);
}

template <typename T>
const void* kernel_of(int batch_tile, Depth depth) {
  if (depth == Depth::kFull) return kernel_of<T, Depth::kFull>(batch_tile);
  if (depth == Depth::kLines) return kernel_of<T, Depth::kLines>(batch_tile);
  return kernel_of<T, Depth::kAny>(batch_tile);
}

}  // namespace polar::cuda::router
