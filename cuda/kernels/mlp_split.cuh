// Geometry, shared memory and work division of the cluster-split kernel (sm_90a); mlp_split_config.h has its words.
#pragma once

#include <type_traits>

#include "mlp_gemm_kernels.cuh"
#include "mlp_split_config.h"
#include "mlp_wgmma.cuh"

namespace polar::cuda::mlp {

inline constexpr int kSplitThreads = (kConsumerWarps + 8) * 32;
inline constexpr int kConsumerRegisters = 192, kProducerRegisters = 64;  // of 128 that every thread starts with

template <GemmOp Op, int BatchTile>
struct SplitGeometry {
  static constexpr GemmOp kOp = Op;
  static constexpr int kBatch = BatchTile;
  static constexpr int kMi = split_blocks(BatchTile);  // 64-row blocks of a warpgroup
  static constexpr int kFragments = BatchTile / 8;     // m16n8 fragments of such a block and warp
  static constexpr int kWgmmaFragments = kFragments < 16 ? kFragments : 16;
  static constexpr int kReduced = kFragments < 8 ? kFragments : 8;  // fragments exchanged in one round
  static constexpr int kRounds = kFragments / kReduced;
  static constexpr int kUpLines = split_up_lines(BatchTile);
  static constexpr int kGroup = BatchTile > 64 ? 2 : 4;       // k steps (of 16) whose A fragments are read at once
  static constexpr int kInputBytes = BatchTile * kLineBytes;  // of an input slot: 64 k
};

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

// Shared memory: input slots on 1024 bytes, weight slots, parts of other blocks, biases, barriers.
template <class G>
struct SplitPlan {
  uint32_t inputs, weights, parts, shifts, barriers;
  int weight_slots, input_slots, slot_bytes, shift_bytes;
  __device__ SplitPlan(const void* base, const GemmParams& p)
      : weight_slots(p.weight_slots),
        input_slots(p.input_slots),
        slot_bytes(split_slot_lines(p.lines, p.slot_rows) * kLineBytes) {
    inputs = (ptx::shared_address(base) + 1023u) & ~1023u;
    weights = inputs + input_slots * G::kInputBytes;
    const uint32_t after = weights + weight_slots * slot_bytes;
    parts = p.aliased ? weights : after;
    const int round = min(p.blocks, kSplitGroups);
    shifts = p.aliased ? after : after + split_owned(round, p.split) * p.split * G::kReduced * 512;
    shift_bytes = split_shift_bytes(p.blocks, p.split);
    barriers = shifts + 2 * shift_bytes;
  }
  __device__ uint32_t weight(int slot) const { return weights + slot * slot_bytes; }
  __device__ uint32_t input(int slot) const { return inputs + slot * G::kInputBytes; }
  __device__ uint32_t weight_full(int slot) const { return barriers + slot * 8; }
  __device__ uint32_t weight_empty(int slot) const { return barriers + (weight_slots + slot) * 8; }
  __device__ uint32_t input_full(int slot) const { return barriers + (2 * weight_slots + slot) * 8; }
  __device__ uint32_t input_empty(int slot) const { return barriers + (2 * weight_slots + input_slots + slot) * 8; }
  __device__ uint32_t parts_full() const { return barriers + 2 * (weight_slots + input_slots) * 8; }
  __device__ uint32_t parts_free() const { return parts_full() + 8; }  // the parts of all blocks of the cluster are
};

// One thread per barrier.
template <class G>
__device__ __forceinline__ void init_split_barriers(const SplitPlan<G>& shared, int split) {
  const int thread = threadIdx.x, weights = shared.weight_slots, inputs = shared.input_slots;
  if (thread >= 2 * (weights + inputs) + 2) return;
  const uint32_t weight_empty = G::kOp == GemmOp::kUp ? 4 : kConsumerWarps;
  const uint32_t arrivals = thread < weights                   ? kWeightWarps
                            : thread < 2 * weights             ? weight_empty
                            : thread < 2 * weights + inputs    ? 1
                            : thread < 2 * (weights + inputs)  ? kConsumerWarps
                            : thread == 2 * (weights + inputs) ? 1
                                                               : kConsumerWarps * (split - 1);
  ptx::mbarrier_init(shared.barriers + thread * 8, arrivals);
  ptx::mbarrier_init_fence();
}

// Line position of row r of a slot, in 128-byte lines; mlp_split_config.h says why.
__device__ __forceinline__ int split_row_line(int r, int lines, int rows) {
  const int sets = lines & -lines;  // gcd(lines, 8): lines is at most 6
  return r % sets * (rows / sets * lines + 1) + r / sets * lines;
}

// What a block works on: its part of k, in chunks of kUpLines lines (up) or in neurons (down), and its row tiles.
template <class G>
struct SplitWork {
  int begin, end, cluster, column;
  __device__ SplitWork(const GemmParams& p, int rank) : cluster(ptx::cluster_index()), column(blockIdx.y) {
    begin = min(rank * p.k_share + min(rank, p.k_rest), p.k_end);
    end = min((rank + 1) * p.k_share + min(rank + 1, p.k_rest), p.k_end);
  }
  // Chunks (up) or slots (down) of one row tile.
  __device__ int steps() const { return G::kOp == GemmOp::kUp ? end - begin : (end - begin + 63) / 64; }
  // 64-k lines of input of one step.
  static constexpr int kLines = G::kOp == GemmOp::kUp ? G::kUpLines : 1;
};

// Neurons [first_neuron(tile), first_neuron(tile + 1)) belong to a row tile of the up projection.
__device__ __forceinline__ int first_neuron(const GemmParams& p, int tile) {
  return tile * p.tile_share + min(tile, p.tile_rest);
}

#endif

}  // namespace polar::cuda::mlp
