// End of a unit: the warps' states become output rows or, of a unit that is cut across blocks, a partial result; the
// last block to arrive merges the partial results in block order.
#pragma once

#include "attention_layout.cuh"

namespace polar::cuda::attention {

// Elements dim and dim + 1 of one head: `head` within the unit, `row` within the pass.
template <typename S>
__device__ __forceinline__ void write_pair(const AttentionParams& p, const Memory<S>& mem, const Segment& seg,
                                           bool whole, int partial_slot, int head, int row, int dim,
                                           int heads_per_pass) {
  constexpr int kStride = S::kHeadDim + kAttentionMergePad;
  float m = kLowest;
#pragma unroll
  for (int w = 0; w < S::kWarps; ++w) m = fmaxf(m, mem.stats[w * kAttentionMaxHeadsPerUnit + row].x);
  // A segment has at least one valid key, so m is finite; only a planted fault leaves none.
  float l = 0.0f;
  float2 o = make_float2(0.0f, 0.0f);
#pragma unroll
  for (int w = 0; w < S::kWarps; ++w) {
    const float2 stat = mem.stats[w * kAttentionMaxHeadsPerUnit + row];
    const float weight = exp2_approx(stat.x - m);
    const float2 part = *reinterpret_cast<const float2*>(mem.merge + (w * heads_per_pass + row) * kStride + dim);
    l = fmaf(weight, stat.y, l);
    o.x = fmaf(weight, part.x, o.x);
    o.y = fmaf(weight, part.y, o.y);
  }
  if (whole) {
    typename S::Element* out = static_cast<typename S::Element*>(p.out) + row_offset<S>(p, seg) + head * S::kHeadDim;
    *reinterpret_cast<uint32_t*>(out + dim) = Half<typename S::Element>::pack(o.x / l, o.y / l);
    return;
  }
  const int64_t index = static_cast<int64_t>(partial_slot) * p.heads_per_unit + head;
  *reinterpret_cast<float2*>(p.partial + index * S::kHeadDim + dim) = o;
  if (dim == 0) p.stats[index] = make_float2(m, l);
}

// Sums the warps' states in warp order and writes the unit's output rows, or a partial result of a cut unit.
template <typename S>
__device__ __forceinline__ void end_unit(State<S>& st, const AttentionParams& p, const Memory<S>& mem,
                                         const Segment& seg, bool whole, int partial_slot) {
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const int heads_per_pass = min(p.heads_per_unit, 8);
  constexpr int kStride = S::kHeadDim + kAttentionMergePad;
#pragma unroll
  for (int n = 0; n < S::kHeadTiles; ++n) {
    const int heads = min(p.heads_per_unit - n * 8, 8);
    sync_threads(kConsumerBarrier, S::kConsumers);  // nobody reads the buffer of the pass before any more
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      float l = st.l[n][j];
      l += __shfl_xor_sync(~0u, l, 4);
      l += __shfl_xor_sync(~0u, l, 8);
      l += __shfl_xor_sync(~0u, l, 16);
      const int head = lane % 4 * 2 + j;
      if (head < heads) {
        if (lane < 4) mem.stats[warp * kAttentionMaxHeadsPerUnit + head] = make_float2(st.m[n][j], l);
        float* row = mem.merge + (warp * heads_per_pass + head) * kStride + lane / 4;
#pragma unroll
        for (int step = 0; step < S::kSteps; ++step) {
          row[step * 16] = st.o[step][n][j];
          row[step * 16 + 8] = st.o[step][n][j + 2];
        }
      }
    }
    sync_threads(kConsumerBarrier, S::kConsumers);
    for (int i = threadIdx.x; i < heads * (S::kHeadDim / 2); i += S::kConsumers) {
      const int head = i / (S::kHeadDim / 2);
      const int dim = i % (S::kHeadDim / 2) * 2;
      write_pair(p, mem, seg, whole, partial_slot, n * 8 + head, head, dim, heads_per_pass);
    }
  }
}

// Index of (part, head) in the statistics and partial accumulators.
__device__ __forceinline__ int64_t part_index(const AttentionParams& p, int first, int first_slot, int part, int head) {
  const int slot = part == 0 ? first_slot : 2 * (first + part);
  return static_cast<int64_t>(slot) * p.heads_per_unit + head;
}

// Maximum and sum over all parts, one warp per head; left in mem.stats[head]. Parts fall to lanes by number and lanes
// are combined by a butterfly, so the order is fixed.
template <typename S>
__device__ __forceinline__ void merge_stats(const AttentionParams& p, const Memory<S>& mem, int first, int first_slot,
                                            int parts) {
  const int lane = threadIdx.x % 32;
  for (int head = threadIdx.x / 32; head < p.heads_per_unit; head += S::kWarps) {
    float m = kLowest, l = 0.0f;
#pragma unroll 4
    for (int part = lane; part < parts; part += 32) {
      const float2 stat = __ldcg(p.stats + part_index(p, first, first_slot, part, head));
      const float top = fmaxf(m, stat.x);
      l = l * exp2_approx(m - top) + stat.y * exp2_approx(stat.x - top);
      m = top;
    }
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
      const float other_m = __shfl_xor_sync(~0u, m, offset);
      const float other_l = __shfl_xor_sync(~0u, l, offset);
      const float top = fmaxf(m, other_m);
      // Lanes without a part hold -inf and weigh nothing; two of them stay that way.
      const float base = top == kLowest ? 0.0f : top;
      l = l * exp2_approx(m - base) + other_l * exp2_approx(other_m - base);
      m = top;
    }
    if (lane == 0) mem.stats[head] = make_float2(m, l);
  }
}

// Weighted sum of the parts' accumulators, in order; loads of kBatch parts are in flight at once.
template <typename S>
__device__ __forceinline__ void merge_rows(const AttentionParams& p, const Memory<S>& mem, const Segment& seg,
                                           int first, int first_slot, int parts) {
  constexpr int kBatch = 8;
  typename S::Element* out = static_cast<typename S::Element*>(p.out) + row_offset<S>(p, seg);
  for (int i = threadIdx.x; i < p.heads_per_unit * (S::kHeadDim / 4); i += S::kConsumers) {
    const int head = i / (S::kHeadDim / 4);
    const int dim = i % (S::kHeadDim / 4) * 4;
    const float2 total = mem.stats[head];
    float4 o = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    for (int start = 0; start < parts; start += kBatch) {
      float m[kBatch];
      float4 part[kBatch];
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        // Beyond the last part the last one is read again, with weight 0.
        const int64_t index = part_index(p, first, first_slot, min(start + j, parts - 1), head);
        m[j] = __ldcg(&p.stats[index].x);
        part[j] = __ldcg(reinterpret_cast<const float4*>(p.partial + index * S::kHeadDim + dim));
      }
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        const float weight = start + j < parts ? exp2_approx(m[j] - total.x) : 0.0f;
        o.x = fmaf(part[j].x, weight, o.x);
        o.y = fmaf(part[j].y, weight, o.y);
        o.z = fmaf(part[j].z, weight, o.z);
        o.w = fmaf(part[j].w, weight, o.w);
      }
    }
    *reinterpret_cast<uint2*>(out + head * S::kHeadDim + dim) =
        make_uint2(Half<typename S::Element>::pack(o.x / total.y, o.y / total.y),
                   Half<typename S::Element>::pack(o.z / total.y, o.w / total.y));
  }
}

// Called by the consumers of every block that holds a part of a cut unit, after its partial result is written.
template <typename S>
__device__ __forceinline__ void merge_if_last(const AttentionParams& p, const Memory<S>& mem, const Segment& seg) {
  const int unit_begin = seg.unit * p.tiles_per_unit;
  const int first = block_of(p, unit_begin);
  const int parts = block_of(p, unit_begin + p.tiles_per_unit - 1) - first + 1;
  __threadfence();
  sync_threads(kConsumerBarrier, S::kConsumers);
  if (threadIdx.x == 0) {
    const uint32_t arrived = atomicAdd(p.tickets + first, 1u);
    const bool complete = arrived == static_cast<uint32_t>(parts - 1);
    if (complete) p.tickets[first] = 0;  // ready for the next launch
    *mem.flag = complete;
  }
  sync_threads(kConsumerBarrier, S::kConsumers);
  if (*mem.flag == 0) return;
  __threadfence();
  // The first block holds the unit behind other work unless the unit begins with its range; it is part 0.
  const int first_slot = 2 * first + (range_begin(p, first) < unit_begin ? 1 : 0);
  merge_stats(p, mem, first, first_slot, parts);
  sync_threads(kConsumerBarrier, S::kConsumers);
  merge_rows(p, mem, seg, first, first_slot, parts);
}

}  // namespace polar::cuda::attention
