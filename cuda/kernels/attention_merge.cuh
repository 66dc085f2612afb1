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
__device__ __forceinline__ bool arrived(const uint4& v, uint32_t log2) {
  return v.x != 0 && v.y != 0 && v.z != 0 && v.w != 0 && log2 != 0;
}

// Four elements of a unit's output, [heads of the unit, S::kHeadDim], which begins at `offset`.
template <typename S>
__device__ __forceinline__ void write_output(const AttentionParams& p, int64_t offset, int quad, const float4& o) {
  typename S::Element* out = static_cast<typename S::Element*>(p.out) + offset;
  reinterpret_cast<uint2*>(out)[quad] =
      make_uint2(Half<typename S::Element>::pack(o.x, o.y), Half<typename S::Element>::pack(o.z, o.w));
}

// Brings a running sum of parts from the maximum `m` to `top`.
__device__ __forceinline__ void rescale(float& m, float top, float& l, float4& o) {
  const float kept = exp2_approx(m - top);
  m = top;
  l *= kept;
  o = make_float4(o.x * kept, o.y * kept, o.z * kept, o.w * kept);
}

// Adds a part whose sum of weights is 2^log2.
__device__ __forceinline__ void add_part(float top, float log2, const float4& part, float& l, float4& o) {
  const float weight = exp2_approx(log2 - top);
  l += weight;
  o.x = fmaf(weight, part.x, o.x);
  o.y = fmaf(weight, part.y, o.y);
  o.z = fmaf(weight, part.z, o.z);
  o.w = fmaf(weight, part.w, o.w);
}

// What becomes of a segment's result.
enum class UnitEnd {
  kWhole,  // it is the unit's output
  kSent,   // the unit goes on in the next block: into the block's slot of the workspace
  kKept    // the unit began in a block before and ends here: into shared memory, to be merged with the others
};

// Elements dim to dim + 3 of one head: `head` within the unit, `pass_row` within the pass.
template <typename S>
__device__ __forceinline__ void write_quad(const AttentionParams& p, const Memory<S>& mem, const Segment& seg,
                                           UnitEnd end, int head, int pass_row, int dim, int heads_per_pass) {
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
  const float scale = l > 0.0f ? reciprocal_approx(l) : 0.0f;
  o = make_float4(o.x * scale, o.y * scale, o.z * scale, o.w * scale);
  const int quad = (head * S::kHeadDim + dim) / 4;  // of the unit's output
  if (end == UnitEnd::kWhole) {
    write_output<S>(p, row_offset<S>(p, seg), quad, o);
  } else if (end == UnitEnd::kSent) {
    const uint32_t index = blockIdx.x * (p.heads_per_unit * (S::kHeadDim / 4)) + quad;
    store_relaxed(p.partial + index, make_uint4(to_word(o.x), to_word(o.y), to_word(o.z), to_word(o.w)));
    store_relaxed(p.partial_log2 + index, to_word(m + log2_approx(l)));
  } else {
    mem.own[quad] = o;
    if (dim == 0) mem.own_log2[head] = m + log2_approx(l);
  }
}

// Sums the warps' states in warp order and writes the unit's output rows, or a partial result of a cut unit.
template <typename S>
__device__ __forceinline__ void end_unit(State<S>& st, const AttentionParams& p, const Memory<S>& mem,
                                         const Segment& seg, UnitEnd end) {
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
      write_quad(p, mem, seg, end, n * 8 + head, head, dim, heads_per_pass);
    }
  }
}

// The merge that a block has to do, if any: of cut units only the one that its range begins in can end within it.
// Decided before the stream starts, where the divisions and the index cost nothing.
template <typename S>
struct Merge {
  uint32_t first = 0;  // block of the unit's part 0; this block has the last part
  int64_t out = 0;     // offset of the unit's output
  bool due = false;

  __device__ __forceinline__ Merge(const AttentionParams& p, int begin, int end) {
    const Segment seg = segment_at(p, begin, end);
    due = seg.first_tile > 0 && seg.first_tile + seg.tiles == p.tiles_per_unit;
    if (!due) return;
    first = block_of(p, seg.unit * p.tiles_per_unit);
    out = row_offset<S>(p, seg);
  }
};

// Called by the consumers when the stream is through: in the middle a merge would let the copies run dry, and later
// units wait for nobody. The own part is in mem.own. Every thread waits for words that no other thread reads, and
// clears them for the next launch.
template <typename S>
__device__ __forceinline__ void merge_unit(const AttentionParams& p, const Memory<S>& mem, const Merge<S>& merge) {
  // Parts whose words are in flight at once: what fits the registers.
  constexpr int kBatch = S::kTma && S::kHeadDim % 128 == 0 ? 16 : 8;
  const uint32_t quads = p.heads_per_unit * (S::kHeadDim / 4);
  const uint32_t last = blockIdx.x;
  sync_threads(kConsumerBarrier, S::kConsumers);  // mem.own is complete
#pragma unroll 1
  for (uint32_t quad = threadIdx.x; quad < quads; quad += S::kConsumers) {
    float m = kLowest, l = 0.0f;
    float4 o = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 1
    for (uint32_t start = merge.first; start < last; start += kBatch) {
      uint4 words[kBatch];
      uint32_t log2s[kBatch];
#pragma unroll
      for (uint32_t j = 0; j < kBatch; ++j) {
        // Behind the last part sent: there already, and of no weight.
        words[j] = make_uint4(kMinusZero, kMinusZero, kMinusZero, kMinusZero);
        log2s[j] = kMinusInfinity;
        if (start + j < last) {
          log2s[j] = load_relaxed(p.partial_log2 + (start + j) * quads + quad);
          words[j] = load_relaxed(p.partial + (start + j) * quads + quad);
        }
      }
#if defined(POLAR_FAULTS)
      uint32_t tries = 0;
#endif
      for (bool complete = false; !complete;) {
        complete = true;
#pragma unroll
        for (uint32_t j = 0; j < kBatch; ++j) {
          if (arrived(words[j], log2s[j])) continue;
          complete = false;
          log2s[j] = load_relaxed(p.partial_log2 + (start + j) * quads + quad);
          words[j] = load_relaxed(p.partial + (start + j) * quads + quad);
        }
#if defined(POLAR_FAULTS)
        // In the test build a part that never comes traps after seconds instead of hanging for ever.
        if (++tries > (1u << 22)) __trap();
#endif
      }
      float top = m;
#pragma unroll
      for (int j = 0; j < kBatch; ++j) top = fmaxf(top, __uint_as_float(log2s[j]));
      rescale(m, top, l, o);
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        add_part(top, __uint_as_float(log2s[j]),
                 make_float4(__uint_as_float(words[j].x), __uint_as_float(words[j].y), __uint_as_float(words[j].z),
                             __uint_as_float(words[j].w)),
                 l, o);
      }
#pragma unroll
      for (uint32_t j = 0; j < kBatch; ++j) {
        if (start + j >= last) continue;
        store_relaxed(p.partial_log2 + (start + j) * quads + quad, 0u);
        store_relaxed(p.partial + (start + j) * quads + quad, make_uint4(0u, 0u, 0u, 0u));
      }
    }
    const float own = mem.own_log2[quad / (S::kHeadDim / 4)];
    const float top = fmaxf(m, own);
    rescale(m, top, l, o);
    add_part(top, own, mem.own[quad], l, o);
    const float scale = reciprocal_approx(l);
    write_output<S>(p, merge.out, quad, make_float4(o.x * scale, o.y * scale, o.z * scale, o.w * scale));
  }
}

}  // namespace polar::cuda::attention
