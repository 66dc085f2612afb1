// Second product of the MLP router on sm_90a: scores[n] = sum over the batch, ascending, of max(0, hidden .
// weights[n]).
//
// Every block has a contiguous range of rows and multiplies as many of them at once as its warpgroups hold, 64 each, so
// that it reads the hidden values once per pass. Nothing is split and nothing exchanged: the sums of a row are in four
// lanes. The ring fills with weights while the first product still runs.
#pragma once

#include "../device/dependent.cuh"
#include "router_key.cuh"
#include "router_wgmma.cuh"

namespace polar::cuda::router {

// The last warp loads.
constexpr int scores_threads(int warpgroups) { return warpgroups * 128 + 32; }

struct ScoresParams {
  float* scores;
  uint32_t* range;  // {max of ~key, max of key} over all scores, zero before
  int rows, batch;
  int slices;                                                 // of k
  int warpgroup_rows, passes, batch_tiles, slot_rows, slots;  // as in ScoresPlan
};

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

// The loading thread. A step is a slice of a batch tile of a pass.
template <int Columns>
struct ScoresLoader {
  const ScoresParams& p;
  const Slots& slots;
  const CUtensorMap* weights;
  const CUtensorMap* input;
  int warpgroups, first_row;

  __device__ __forceinline__ void load_weights(int pass, int slice, int slot, uint64_t policy) const {
    const uint32_t full = slots.full(slot);
    const int row = first_row + pass * warpgroups * p.warpgroup_rows;
    hopper::mbarrier_arrive_expect(full, (warpgroups * p.warpgroup_rows + Columns) * kSliceBytes);
    for (int g = 0; g < warpgroups; ++g) {
      hopper::tensor_copy_2d(slots.weights(slot) + g * p.warpgroup_rows * kSliceBytes, weights, slice * kSliceK,
                             row + g * p.warpgroup_rows, full, policy);
    }
  }
  __device__ __forceinline__ void load_input(int batch_tile, int slice, int slot, uint64_t policy) const {
    hopper::tensor_copy_2d(slots.input(slot), input, slice * kSliceK, batch_tile * Columns, slots.full(slot), policy);
  }

  __device__ __forceinline__ void run() const {
    const uint64_t once = p.batch_tiles > 1 ? hopper::policy_evict_normal() : hopper::policy_evict_first();
    const uint64_t often = hopper::policy_evict_last();
    const int ahead = min(slots.count, p.slices);
    for (int s = 0; s < ahead; ++s) load_weights(0, s, s, once);
    wait_for_dependencies();
    fence_before_copies();
    for (int s = 0; s < ahead; ++s) load_input(0, s, s, often);
    SlotPlace place;
    int waiting = ahead;
    for (int pass = 0; pass < p.passes; ++pass) {
      for (int batch_tile = 0; batch_tile < p.batch_tiles; ++batch_tile) {
        for (int slice = 0; slice < p.slices; ++slice, place.advance(slots.count)) {
          if (waiting > 0) {  // loaded above
            --waiting;
            continue;
          }
          hopper::mbarrier_wait(slots.empty(place.slot), place.parity ^ 1);
          load_weights(pass, slice, place.slot, once);
          load_input(batch_tile, slice, place.slot, often);
        }
      }
    }
  }
};

// Continues the sums of a thread's two rows with the first `valid` sequences of a tile, through relu: lane q of a row's
// four has the q-th quarter of the sequences.
template <int Columns>
__device__ __forceinline__ void add_sequences(float (&d)[Columns / 8][4], int valid, float (&sum)[2]) {
  const int lane = threadIdx.x & 31, mine = valid - (lane & 3) * (Columns / 4);
#pragma unroll
  for (int j = 0; j < Columns / 8; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) d[j][i] = 2 * j + (i & 1) < mine ? relu(d[j][i]) : 0.0f;
  }
#pragma unroll
  for (int turn = 0; turn < 4; ++turn) {
    float next[2] = {sum[0], sum[1]};
#pragma unroll
    for (int j = 0; j < Columns / 8; ++j) {
      next[0] += d[j][0], next[1] += d[j][2];
      next[0] += d[j][1], next[1] += d[j][3];
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) sum[r] = __shfl_sync(0xffffffffu, next[r], (lane & ~3) | turn);
  }
}

#endif

template <int Columns, typename T>
__global__ void __launch_bounds__(scores_threads(most_warpgroups(Columns)), 1)
    router_scores_kernel(const __grid_constant__ ScoresParams p, const __grid_constant__ CUtensorMap weights,
                         const __grid_constant__ CUtensorMap input) {
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) uint8_t shared_base[];
  const uint32_t base = hopper::shared_address(shared_base);
  const int slot_bytes = (p.slot_rows + Columns) * kSliceBytes;
  const Slots slots(base, base + p.slots * slot_bytes, p.slots, p.slot_rows, Columns);
  auto* ranges = reinterpret_cast<uint32_t*>(shared_base + p.slots * slot_bytes + kSlotBarrierBytes);
  const int warpgroups = static_cast<int>(blockDim.x) >> 7;
  const int pass_rows = warpgroups * p.warpgroup_rows, first_row = static_cast<int>(blockIdx.x) * pass_rows * p.passes;
  if (threadIdx.x == 0) {
    slots.init(warpgroups * 4);
    hopper::mbarrier_init_fence();
  }
  __syncthreads();
  allow_dependents();
  if (static_cast<int>(threadIdx.x) >= warpgroups * 128) {
    if (hopper::elect_one()) ScoresLoader<Columns>{p, slots, &weights, &input, warpgroups, first_row}.run();
    return;
  }
  const int warpgroup = static_cast<int>(threadIdx.x) >> 7;
  // The 64 rows of a warpgroup start where its own do, or before, so that they end with the slot.
  const int start = max(0, min(warpgroup * p.warpgroup_rows, p.slot_rows - kWarpgroupRows));
  const int own_row = start - warpgroup * p.warpgroup_rows + (static_cast<int>(threadIdx.x) >> 2 & 7) +
                      (static_cast<int>(threadIdx.x) >> 5 & 3) * 16;
  KeyRange range;
  SlotPlace place;
  for (int pass = 0; pass < p.passes; ++pass) {
    float sum[2] = {0.0f, 0.0f};
    for (int batch_tile = 0; batch_tile < p.batch_tiles; ++batch_tile) {
      float d[Columns / 8][4];
      clear<Columns>(d);
      multiply_slices<T, Columns>(d, slots, place, p.slices, start);
      add_sequences<Columns>(d, p.batch - batch_tile * Columns, sum);
    }
    const int first_own = first_row + pass * pass_rows + warpgroup * p.warpgroup_rows;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = own_row + r * 8;
      if ((threadIdx.x & 3) != 0 || row < 0 || row >= p.warpgroup_rows || first_own + row >= p.rows) continue;
      p.scores[first_own + row] = sum[r];
      range.add(sum[r]);
    }
  }
  publish_range(p.range, range, ranges, warpgroups * 4);
#endif
}

}  // namespace polar::cuda::router
