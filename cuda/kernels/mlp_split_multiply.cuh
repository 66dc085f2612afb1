// The multiplication of the cluster-split kernel: A fragments of the gathered rows by ldmatrix, B straight from shared
// memory.
#pragma once

#include "mlp_split.cuh"

namespace polar::cuda::mlp {

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

// Sums of one 64-row block in a warp.
template <class G>
using SplitBlock = float[G::kFragments][4];

// One of eight warps that multiply: warp w of a warpgroup holds rows 16 w to 16 w + 15 of every 64-row block, and the
// two warpgroups take turns with the blocks.
template <class G, typename T>
struct SplitMultiplier {
  static constexpr bool kBf16 = std::is_same_v<T, __nv_bfloat16>;
  using Block = SplitBlock<G>;
  const GemmParams& p;
  const SplitPlan<G>& shared;
  int lane, group, warp;
  uint32_t weight_offset;  // of this lane's fragment row
  uint32_t step_bytes;     // down: 16 neurons on
  RingPosition weight, input{0};

  __device__ SplitMultiplier(const GemmParams& params, const SplitPlan<G>& plan)
      : p(params),
        shared(plan),
        lane(threadIdx.x & 31),
        group(threadIdx.x >> 7),
        warp((threadIdx.x >> 5) & 3),
        weight(G::kOp == GemmOp::kUp ? group : 0) {
    const int low = lane & 7, middle = (lane >> 3) & 1, high = lane >> 4;
    if constexpr (G::kOp == GemmOp::kUp) {  // matrices: rows 0-7, rows 8-15, then the same at k + 8
      const int row = warp * 16 + middle * 8 + low;
      const int inside = row < p.slot_rows ? row : low;  // rows past the slot are read from its start, never stored
      weight_offset = split_row_line(inside, G::kUpLines, p.slot_rows) * kLineBytes + (high << 4);
      step_bytes = 0;
    } else {  // stored [k][m], read transposed: k 0-7 at m 0-7 and m 8-15, then k 8-15
      const int sets = p.lines & -p.lines;
      weight_offset = split_row_line(high * 8 + low, p.lines, 64) * kLineBytes + ((warp * 2 + middle) << 4);
      step_bytes = 16 / sets * p.lines * kLineBytes;
    }
  }

  __device__ __forceinline__ void release(uint32_t barrier) const {
    if (lane == 0) ptx::mbarrier_arrive(barrier);
  }
  // acc[64 x batch] += fragments a, kGroup steps of k, times the input line from step `first` on.
  __device__ __forceinline__ void multiply(Block& acc, const uint32_t (&a)[G::kGroup][4], uint64_t line, int first,
                                           bool skip) const {
    ptx::wgmma_fence();
    if (!skip) {
#pragma unroll
      for (int q = 0; q < G::kGroup; ++q) {
#pragma unroll
        for (int f = 0; f < G::kFragments; f += G::kWgmmaFragments) {
          ptx::wgmma<kBf16>(reinterpret_cast<float (&)[G::kWgmmaFragments][4]>(acc[f]), a[q],
                            line + (first + q) * 2 + f * 64);
        }
      }
    }
    ptx::wgmma_commit();
  }

  // One slot: 64 rows x kUpLines lines of k. The input lines are waited for by the first block of a warpgroup and
  // given back by the last. One group is always at work while the fragments of the next are read; none when the slot
  // is given back, since what is held any longer is missing where the next weights should be loading.
  __device__ __forceinline__ void multiply_up(Block& acc, RingPosition line, bool last, bool skip) {
    constexpr int kGroups = G::kUpLines * 4 / G::kGroup, kPerLine = 4 / G::kGroup;
    const uint32_t slot = shared.weight(weight.slot) + weight_offset;
    uint32_t a[2][G::kGroup][4];
    int before = 0;  // input slot of the group before
    ptx::mbarrier_wait(shared.weight_full(weight.slot), weight.parity);
#pragma unroll
    for (int s = 0; s < kGroups; ++s) {
#pragma unroll
      for (int q = 0; q < G::kGroup; ++q) {
        const int step = s * G::kGroup + q;
        ptx::ldmatrix_x4(a[s & 1][q], swizzled(slot + (step >> 2) * kLineBytes) ^ ((step & 3) << 5));
      }
      if (s % kPerLine == 0) ptx::mbarrier_wait(shared.input_full(line.slot), line.parity);
      multiply(acc, a[s & 1], ptx::wgmma_descriptor(shared.input(line.slot)), s % kPerLine * G::kGroup, skip);
      if (s > 0) {
        ptx::wgmma_wait<1>();
        if (last && s % kPerLine == 0) release(shared.input_empty(before));
      }
      if (s % kPerLine == kPerLine - 1) {
        before = line.slot;
        line.advance(1, shared.input_slots);
      }
    }
    ptx::wgmma_wait<0>();
    if (last) release(shared.input_empty(before));
    release(shared.weight_empty(weight.slot));
    weight.advance(kSplitGroups, shared.weight_slots);
  }

  // A chunk of all blocks.
  __device__ __forceinline__ void multiply_chunk(Block (&acc)[G::kMi], bool skip) {
    const int mine = p.blocks / kSplitGroups;
#pragma unroll
    for (int i = 0; i < G::kMi; ++i) {
      if (i < mine) multiply_up(acc[i], input, i + 1 == mine, skip);
    }
    for (int l = 0; l < G::kUpLines; ++l) input.advance(1, shared.input_slots);
  }

  // One slot: 64 neurons x `lines` lines of columns; warpgroup g has lines g, g + 2, g + 4.
  __device__ __forceinline__ void multiply_down(Block (&acc)[G::kMi], bool skip) {
    constexpr int kPerLine = 4 / G::kGroup;
    const uint32_t slot = shared.weight(weight.slot) + weight_offset;
    uint32_t a[2][G::kGroup][4];
    const int mine = (p.blocks - group + kSplitGroups - 1) / kSplitGroups;
    ptx::mbarrier_wait(shared.weight_full(weight.slot), weight.parity);
#pragma unroll
    for (int s = 0; s < G::kMi * kPerLine; ++s) {
      if (s / kPerLine < mine) {
        const uint32_t line = swizzled(slot + (s / kPerLine * kSplitGroups + group) * kLineBytes);
#pragma unroll
        for (int q = 0; q < G::kGroup; ++q) {
          ptx::ldmatrix_x4_trans(a[s & 1][q], line + (s % kPerLine * G::kGroup + q) * step_bytes);
        }
        if (s == 0) ptx::mbarrier_wait(shared.input_full(input.slot), input.parity);
        multiply(acc[s / kPerLine], a[s & 1], ptx::wgmma_descriptor(shared.input(input.slot)), s % kPerLine * G::kGroup,
                 skip);
        if (s > 0) ptx::wgmma_wait<1>();
      }
    }
    if (mine == 0) ptx::mbarrier_wait(shared.input_full(input.slot), input.parity);
    ptx::wgmma_wait<0>();
    release(shared.input_empty(input.slot));
    release(shared.weight_empty(weight.slot));
    input.advance(1, shared.input_slots);
    weight.advance(1, shared.weight_slots);
  }

  // One step of k: a chunk (up) or a slot (down).
  __device__ __forceinline__ void multiply_step(Block (&acc)[G::kMi], bool skip) {
    if constexpr (G::kOp == GemmOp::kUp) {
      multiply_chunk(acc, skip);
    } else {
      multiply_down(acc, skip);
    }
  }
};

#endif

}  // namespace polar::cuda::mlp
