// End of a unit: the warps' states become output rows or, of a unit that is cut across blocks, a partial result; the
// block of the unit's last range merges the partial results in block order.
//
// Partial results need no flag, no ticket and no fence: zero bits say that a word is not there yet, and every word is
// waited for by itself. A word that is zero by value is sent as minus zero. The merging block waits for blocks of
// lower numbers only, which the device starts before it, so that it cannot keep them from running.
#pragma once

#include "attention_layout.cuh"

namespace polar::cuda::attention {

inline constexpr uint32_t kMinusZero = 0x80000000u;
inline constexpr uint32_t kMinusInfinity = 0xff800000u;

__device__ __forceinline__ uint32_t to_word(float value) {
  const uint32_t bits = __float_as_uint(value);
  return bits == 0 ? kMinusZero : bits;
}
__device__ __forceinline__ bool arrived(const uint4& v) { return v.x != 0 && v.y != 0 && v.z != 0 && v.w != 0; }

// Elements dim to dim + 3 of one head: `head` within the unit, `pass_row` within the pass.
template <typename S>
__device__ __forceinline__ void write_quad(const AttentionParams& p, const Memory<S>& mem, const Segment& seg,
                                           bool whole, int partial_slot, int head, int pass_row, int dim,
                                           int heads_per_pass) {
  constexpr int kStride = S::kHeadDim + kAttentionMergePad;
  float m = kLowest;
#pragma unroll
  for (int w = 0; w < S::kWarps; ++w) m = fmaxf(m, mem.stats[w * kAttentionMaxHeadsPerUnit + pass_row].x);
  // A segment has at least one valid key, so m is finite; only a planted fault leaves none.
  float l = 0.0f;
  float4 o = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
  for (int w = 0; w < S::kWarps; ++w) {
    const float2 stat = mem.stats[w * kAttentionMaxHeadsPerUnit + pass_row];
    const float weight = exp2_approx(stat.x - m);
    const float4 part = *reinterpret_cast<const float4*>(mem.merge + (w * heads_per_pass + pass_row) * kStride + dim);
    l = fmaf(weight, stat.y, l);
    o.x = fmaf(weight, part.x, o.x);
    o.y = fmaf(weight, part.y, o.y);
    o.z = fmaf(weight, part.z, o.z);
    o.w = fmaf(weight, part.w, o.w);
  }
  if (whole) {
    typename S::Element* out = static_cast<typename S::Element*>(p.out) + row_offset<S>(p, seg) + head * S::kHeadDim;
    *reinterpret_cast<uint2*>(out + dim) = make_uint2(Half<typename S::Element>::pack(o.x / l, o.y / l),
                                                      Half<typename S::Element>::pack(o.z / l, o.w / l));
    return;
  }
  const uint32_t row = static_cast<uint32_t>(partial_slot * p.heads_per_unit + head);
  const float scale = l > 0.0f ? 1.0f / l : 0.0f;
  store_relaxed(reinterpret_cast<uint4*>(p.partial + row * S::kHeadDim + dim),
                make_uint4(to_word(o.x * scale), to_word(o.y * scale), to_word(o.z * scale), to_word(o.w * scale)));
  if (dim == 0) store_relaxed(p.stats + row, to_word(m + log2_approx(l)));
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
    for (int i = threadIdx.x; i < heads * (S::kHeadDim / 4); i += S::kConsumers) {
      const int head = i / (S::kHeadDim / 4);
      const int dim = i % (S::kHeadDim / 4) * 4;
      write_quad(p, mem, seg, whole, partial_slot, n * 8 + head, head, dim, heads_per_pass);
    }
  }
}

// Called by the consumers of the block that holds the last part of a cut unit, after its partial result is written.
// Part i is in slot first + i, but the last one is in the second slot of this block.
template <typename S>
__device__ __forceinline__ void merge_unit(const AttentionParams& p, const Memory<S>& mem, const Segment& seg) {
  constexpr int kBatch = S::kHeadDim % 128 == 0 ? 16 : 8;  // parts whose words are in flight at once; what fits registers
  const int first = block_of(p, seg.unit * p.tiles_per_unit);
  const int count = static_cast<int>(blockIdx.x) - first + 1;
  const auto row_of = [&](int part, int head) {
    const uint32_t slot = first + part + (part == count - 1 ? gridDim.x : 0);
    return slot * p.heads_per_unit + head;
  };
  typename S::Element* out = static_cast<typename S::Element*>(p.out) + row_offset<S>(p, seg);
#pragma unroll 1
  for (int i = threadIdx.x; i < p.heads_per_unit * (S::kHeadDim / 4); i += S::kConsumers) {
    const int head = i / (S::kHeadDim / 4);
    const int dim = i % (S::kHeadDim / 4) * 4;
    float m = kLowest, l = 0.0f;
    float4 o = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 1
    for (int start = 0; start < count; start += kBatch) {
      uint4 words[kBatch];
      uint32_t stats[kBatch];
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        // Beyond the last part: there already, and of no weight.
        const bool absent = start + j >= count;
        const uint32_t zero = absent ? kMinusZero : 0u;
        words[j] = make_uint4(zero, zero, zero, zero);
        stats[j] = absent ? kMinusInfinity : 0u;
      }
#if defined(POLAR_FAULTS)
      uint32_t tries = 0;
#endif
      for (bool complete = false; !complete;) {
#pragma unroll
        for (int j = 0; j < kBatch; ++j) {
          if (arrived(words[j]) && stats[j] != 0) continue;
          const uint32_t row = row_of(start + j, head);
          stats[j] = load_relaxed(p.stats + row);
          words[j] = load_relaxed(reinterpret_cast<const uint4*>(p.partial + row * S::kHeadDim + dim));
        }
        complete = true;
#pragma unroll
        for (int j = 0; j < kBatch; ++j) complete = complete && arrived(words[j]) && stats[j] != 0;
#if defined(POLAR_FAULTS)
        // In the test build a part that never comes traps after seconds instead of hanging for ever.
        if (++tries > (1u << 22)) __trap();
#endif
      }
      float top = m;
#pragma unroll
      for (int j = 0; j < kBatch; ++j) top = fmaxf(top, __uint_as_float(stats[j]));
      const float kept = exp2_approx(m - top);
      m = top;
      l *= kept;
      o = make_float4(o.x * kept, o.y * kept, o.z * kept, o.w * kept);
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        const float weight = exp2_approx(__uint_as_float(stats[j]) - top);
        l += weight;
        o.x = fmaf(weight, __uint_as_float(words[j].x), o.x);
        o.y = fmaf(weight, __uint_as_float(words[j].y), o.y);
        o.z = fmaf(weight, __uint_as_float(words[j].z), o.z);
        o.w = fmaf(weight, __uint_as_float(words[j].w), o.w);
      }
    }
    *reinterpret_cast<uint2*>(out + head * S::kHeadDim + dim) =
        make_uint2(Half<typename S::Element>::pack(o.x / l, o.y / l), Half<typename S::Element>::pack(o.z / l, o.w / l));
    // Nobody else reads these words, and the next launch finds them zero.
    for (int part = 0; part < count; ++part) {
      store_relaxed(reinterpret_cast<uint4*>(p.partial + row_of(part, head) * S::kHeadDim + dim),
                    make_uint4(0u, 0u, 0u, 0u));
    }
  }
  sync_threads(kConsumerBarrier, S::kConsumers);  // all threads of a head read its statistics
  for (int i = threadIdx.x; i < count * p.heads_per_unit; i += S::kConsumers) {
    store_relaxed(p.stats + row_of(i / p.heads_per_unit, i % p.heads_per_unit), 0u);
  }
}

}  // namespace polar::cuda::attention
