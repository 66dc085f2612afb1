// Arithmetic of one warp on one tile: start of a unit, scores, online softmax, accumulation. Only registers, shared
// memory and shuffles; which tile is where is decided in attention_decode.cuh.
#pragma once

#include "attention_layout.cuh"

namespace polar::cuda::attention {

// Starts a unit; `rows`, its queries, are in global or shared memory. B fragments of Q^T are zero for heads beyond
// the unit's.
template <typename S>
__device__ __forceinline__ void begin_unit(State<S>& st, const Memory<S>& mem, const typename S::Element* rows,
                                           int heads) {
  const int lane = threadIdx.x % 32;
  if constexpr (S::kQueryInShared) {
    uint4* shared = reinterpret_cast<uint4*>(mem.merge);
    sync_threads(kConsumerBarrier, S::kConsumers);  // the unit before is merged
    for (int i = threadIdx.x; i < heads * S::kChunks; i += S::kConsumers) {
      const int head = i / S::kChunks;
      shared[head * S::kChunks + ((i % S::kChunks) ^ (head & 7))] = reinterpret_cast<const uint4*>(rows)[i];
    }
    sync_threads(kConsumerBarrier, S::kConsumers);
  }
#pragma unroll
  for (int n = 0; n < S::kHeadTiles; ++n) {
    const int head = n * 8 + lane / 4;
    if constexpr (!S::kQueryInShared) {
      const uint32_t* row = reinterpret_cast<const uint32_t*>(rows + head * S::kHeadDim) + lane % 4;
#pragma unroll
      for (int s = 0; s < S::kSteps; ++s)
#pragma unroll
        for (int i = 0; i < 2; ++i) st.q[s][n][i] = head < heads ? row[s * 8 + i * 4] : 0u;
    }
#pragma unroll
    for (int s = 0; s < S::kSteps; ++s)
#pragma unroll
      for (int i = 0; i < 4; ++i) st.o[s][n][i] = 0.0f;
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      st.m[n][j] = kLowest;
      st.l[n][j] = 0.0f;
    }
  }
}

// The B fragment of one step from the swizzled copy that begin_unit made.
template <typename S>
__device__ __forceinline__ void load_query(uint32_t (&q)[2], const Memory<S>& mem, int heads, int tile, int step) {
  const int lane = threadIdx.x % 32;
  const int head = tile * 8 + lane / 4;
  const uint32_t* row = reinterpret_cast<const uint32_t*>(mem.merge) + head * (S::kHeadDim / 2) + lane % 4;
#pragma unroll
  for (int i = 0; i < 2; ++i) q[i] = head < heads ? row[((2 * step + i) ^ (head & 7)) * 4] : 0u;
}

// S^T of the warp's keys. With one tile of heads even and odd steps sum apart, which halves the chain of dependent
// instructions; two tiles are two chains already.
template <typename S>
__device__ __forceinline__ void scores(State<S>& st, const Memory<S>& mem, uint32_t k_slot, int heads,
                                       float (&s)[S::kKeyTiles][S::kHeadTiles][4]) {
  const int lane = threadIdx.x % 32;
  const int warp_key = threadIdx.x / 32 * 16 * S::kKeyTiles;
  const int row = lane % 8 + (lane / 8 % 2) * 8;
#pragma unroll
  for (int kt = 0; kt < S::kKeyTiles; ++kt) {
    float odd[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (int n = 0; n < S::kHeadTiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) s[kt][n][i] = 0.0f;
#pragma unroll
    for (int step = 0; step < S::kSteps; ++step) {
      uint32_t a[4];
      load_matrix_x4(a, k_slot + chunk_offset<S>(warp_key + kt * 16 + row, 2 * step + lane / 16));
#pragma unroll
      for (int n = 0; n < S::kHeadTiles; ++n) {
        if constexpr (S::kQueryInShared) load_query(st.q[0][n], mem, heads, n, step);
        Half<typename S::Element>::mma(S::kHeadTiles == 1 && step % 2 == 1 ? odd : s[kt][n], a,
                                       st.q[S::kQueryInShared ? 0 : step][n]);
      }
    }
    if constexpr (S::kHeadTiles == 1) {
#pragma unroll
      for (int i = 0; i < 4; ++i) s[kt][0][i] += odd[i];
    }
  }
}

// Online softmax over the tile's `valid` first keys; turns scores into B fragments of P^T.
template <typename S>
__device__ __forceinline__ void softmax(State<S>& st, float (&s)[S::kKeyTiles][S::kHeadTiles][4], int valid,
                                        float scale_log2, uint32_t (&probabilities)[S::kKeyTiles][S::kHeadTiles][2]) {
  const int lane = threadIdx.x % 32;
  if (valid < S::kTileKeys) {
    const int first = threadIdx.x / 32 * 16 * S::kKeyTiles + lane / 4;
#pragma unroll
    for (int kt = 0; kt < S::kKeyTiles; ++kt)
#pragma unroll
      for (int n = 0; n < S::kHeadTiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (first + kt * 16 + (i / 2) * 8 >= valid) s[kt][n][i] = kLowest;
  }
  float alpha[S::kHeadTiles][2];
  bool moved = false;
#pragma unroll
  for (int n = 0; n < S::kHeadTiles; ++n)
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      float top = kLowest;
#pragma unroll
      for (int kt = 0; kt < S::kKeyTiles; ++kt) top = fmaxf(top, fmaxf(s[kt][n][j], s[kt][n][j + 2]));
      top = fmaxf(top, __shfl_xor_sync(~0u, top, 4));
      top = fmaxf(top, __shfl_xor_sync(~0u, top, 8));
      top = fmaxf(top, __shfl_xor_sync(~0u, top, 16));
      const float m = fmaxf(st.m[n][j], top * scale_log2);
      // A warp whose keys are all beyond the end has seen nothing yet: -inf - -inf would be NaN.
      const float base = m == kLowest ? 0.0f : m;
      alpha[n][j] = exp2_approx(st.m[n][j] - base);
      moved |= m != st.m[n][j];
      st.m[n][j] = m;
      float sum = 0.0f;
#pragma unroll
      for (int kt = 0; kt < S::kKeyTiles; ++kt)
#pragma unroll
        for (int i = j; i < 4; i += 2) {
          s[kt][n][i] = exp2_approx(fmaf(s[kt][n][i], scale_log2, -base));
          sum += s[kt][n][i];
        }
      st.l[n][j] = fmaf(st.l[n][j], alpha[n][j], sum);
    }
  if (__any_sync(~0u, moved)) {
#pragma unroll
    for (int step = 0; step < S::kSteps; ++step)
#pragma unroll
      for (int n = 0; n < S::kHeadTiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) st.o[step][n][i] *= alpha[n][i % 2];
  }
#pragma unroll
  for (int kt = 0; kt < S::kKeyTiles; ++kt)
#pragma unroll
    for (int n = 0; n < S::kHeadTiles; ++n) {
      probabilities[kt][n][0] = transpose_matrix(Half<typename S::Element>::pack(s[kt][n][0], s[kt][n][1]));
      probabilities[kt][n][1] = transpose_matrix(Half<typename S::Element>::pack(s[kt][n][2], s[kt][n][3]));
    }
}

// O^T += V^T P^T. Rows of V beyond the sequence were copied as zeros, so a probability of 0 meets no NaN.
template <typename S>
__device__ __forceinline__ void accumulate(State<S>& st, uint32_t v_slot,
                                           const uint32_t (&probabilities)[S::kKeyTiles][S::kHeadTiles][2]) {
  const int lane = threadIdx.x % 32;
  const int key = threadIdx.x / 32 * 16 * S::kKeyTiles + lane % 8 + (lane / 16) * 8;
#pragma unroll
  for (int step = 0; step < S::kSteps; ++step)
#pragma unroll
    for (int kt = 0; kt < S::kKeyTiles; ++kt) {
      uint32_t a[4];
      load_matrix_x4_transposed(a, v_slot + chunk_offset<S>(key + kt * 16, 2 * step + lane / 8 % 2));
#pragma unroll
      for (int n = 0; n < S::kHeadTiles; ++n) Half<typename S::Element>::mma(st.o[step][n], a, probabilities[kt][n]);
    }
}

}  // namespace polar::cuda::attention
