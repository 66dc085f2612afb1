// First product of the MLP router on sm_90a: hidden = input weights^T, rounded to the storage type.
//
// The blocks of a cluster share a tile of rows and take a range of k each; their sums meet in distributed shared
// memory. Block r adds up the r-th eighth of the tile, in block order, so the bits do not depend on who comes first.
#pragma once

#include "../device/dependent.cuh"
#include "router_wgmma.cuh"

namespace polar::cuda::router {

inline constexpr int kHiddenThreads = kHiddenWarps * 32 + 32;  // the last warp loads

struct HiddenParams {
  void* hidden;  // [batch_tiles x columns, rows], sequences of a tile in the order of column_of; T
  int rows;
  int slices;  // of k
  int slots;
  bool keep_weights;  // other blocks read them too
};

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

// Fragments of the tile (16 rows x 8 columns), numbered from warp to warp and then by column: kPerBlock belong to a
// block.
template <int Columns>
struct HiddenParts {
  static constexpr int kFragments = Columns / 8 * kHiddenWarps;
  static constexpr int kPerBlock = hidden_fragments(Columns);
  static constexpr int kBytes = hidden_part_bytes(Columns);
  uint32_t base, full;  // [kHiddenSplits, kPerBlock, 32 lanes] of 16 bytes; barrier
  int rank;

  __device__ bool owns_any() const { return rank * kPerBlock < kFragments; }

  // Hands this warp's sums to the blocks that add them up.
  __device__ __forceinline__ void send(const float (&d)[Columns / 8][4]) const {
    const int warp = static_cast<int>(threadIdx.x) >> 5, lane = threadIdx.x & 31;
#pragma unroll
    for (int j = 0; j < Columns / 8; ++j) {
      const int fragment = j * kHiddenWarps + warp, owner = fragment / kPerBlock;
      const uint32_t at = base + (rank * kPerBlock + fragment % kPerBlock) * 512 + lane * 16;
      hopper::store_async(hopper::cluster_address(at, owner), d[j], hopper::cluster_address(full, owner));
    }
  }

  // Adds up what belongs to this block and stores it.
  template <typename T>
  __device__ __forceinline__ void receive(const HiddenParams& p) const {
    const int warp = static_cast<int>(threadIdx.x) >> 5, lane = threadIdx.x & 31;
    for (int place = warp; place < kPerBlock; place += kHiddenWarps) {
      float4 sum = hopper::load_shared(base + place * 512 + lane * 16);
#pragma unroll
      for (int block = 1; block < kHiddenSplits; ++block) {
        const float4 v = hopper::load_shared(base + (block * kPerBlock + place) * 512 + lane * 16);
        sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
      }
      const int fragment = rank * kPerBlock + place;
      const int row = blockIdx.y * kHiddenRows + fragment % kHiddenWarps * 16 + (lane >> 2);
      const int sequence = fragment / kHiddenWarps * 8 + (lane & 3) * 2;
      T* tile = static_cast<T*>(p.hidden) + static_cast<int64_t>(blockIdx.z) * Columns * p.rows;
      T* first = tile + column_of(sequence, Columns) * p.rows;
      T* second = tile + column_of(sequence + 1, Columns) * p.rows;
      if (row < p.rows) first[row] = static_cast<T>(sum.x), second[row] = static_cast<T>(sum.y);
      if (row + 8 < p.rows) first[row + 8] = static_cast<T>(sum.z), second[row + 8] = static_cast<T>(sum.w);
    }
  }
};

// The loading thread: slices [first, first + count) of k.
template <int Columns>
__device__ __forceinline__ void load_hidden(const HiddenParams& p, const Slots& slots, const CUtensorMap* weights,
                                            const CUtensorMap* input, int first, int count) {
  const uint64_t once = p.keep_weights ? hopper::policy_evict_normal() : hopper::policy_evict_first();
  const uint64_t often = hopper::policy_evict_last();
  SlotPlace place;
  for (int s = 0; s < count; ++s) {
    if (s == max(count - kHiddenLastSlices, 0)) allow_dependents();
    hopper::mbarrier_wait(slots.empty(place.slot), place.parity ^ 1);
    const uint32_t full = slots.full(place.slot);
    const int k = (first + s) * kSliceK;
    hopper::mbarrier_arrive_expect(full, slots.slot_bytes);
    hopper::tensor_copy_2d(slots.weights(place.slot), weights, k, blockIdx.y * kHiddenRows, full, once);
    hopper::tensor_copy_2d(slots.input(place.slot), input, k, blockIdx.z * Columns, full, often);
    place.advance(slots.count);
  }
}

#endif

template <int Columns, typename T>
__global__ void __launch_bounds__(kHiddenThreads, 1)
    router_hidden_kernel(const __grid_constant__ HiddenParams p, const __grid_constant__ CUtensorMap weights,
                         const __grid_constant__ CUtensorMap input) {
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) uint8_t shared_base[];
  const uint32_t base = hopper::shared_address(shared_base);
  const uint32_t parts_at = base + p.slots * (kHiddenRows + Columns) * kSliceBytes;
  using Parts = HiddenParts<Columns>;
  const Slots slots(base, parts_at + Parts::kBytes, p.slots, kHiddenRows, Columns);
  const int rank = static_cast<int>(hopper::cluster_rank());
  const Parts parts{parts_at, slots.extra_barrier(), rank};
  const int first = p.slices * rank / kHiddenSplits, count = p.slices * (rank + 1) / kHiddenSplits - first;
  if (threadIdx.x == 0) {
    slots.init(kHiddenWarps);
    hopper::mbarrier_init(parts.full, 1);
    hopper::mbarrier_init_fence();
    if (parts.owns_any()) hopper::mbarrier_arrive_expect(parts.full, Parts::kBytes);
  }
  __syncthreads();
  hopper::cluster_arrive();  // the other blocks may send once all have arrived
  if (threadIdx.x >= kHiddenWarps * 32) {
    if (hopper::elect_one()) load_hidden<Columns>(p, slots, &weights, &input, first, count);
    __syncwarp();
    hopper::cluster_wait();
  } else {
    float d[Columns / 8][4];
    clear<Columns>(d);
    SlotPlace place;
    multiply_slices<T, Columns>(d, slots, place, count, static_cast<int>(threadIdx.x >> 7) * kWarpgroupRows);
    hopper::cluster_wait();
    parts.send(d);
    if (!parts.owns_any()) return;
    hopper::mbarrier_wait(parts.full, 0);
    parts.template receive<T>(p);
  }
#endif
}

}  // namespace polar::cuda::router
