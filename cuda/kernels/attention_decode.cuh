// Decode attention on tensor cores: one query row per head, keys on the m16 side.
//
// Work is flattened over (sequence, unit, tile of keys); a persistent block takes an equal contiguous range, so no wave
// is partly empty and B = 1 fills the device. K and V of a tile are copied once and serve all query heads of the unit:
//   S^T[keys, heads] = K Q^T      A = K by ldmatrix, B = Q from registers
//   O^T[d_h, heads] += V^T P^T    A = V^T by ldmatrix.trans, B = P^T by movmatrix
// so query heads are padded to 8, never to 16. Each warp owns the same 16 (or 32) keys of every tile with a softmax
// state of its own; warps meet only at the end of a unit. A unit cut across blocks leaves partial results in the
// workspace, and the block of its last range merges them in block order.
#pragma once

#include "../device/dependent.cuh"
#include "attention_copy.cuh"
#include "attention_layout.cuh"
#include "attention_merge.cuh"
#include "attention_tile.cuh"
#include "attention_zero.cuh"

namespace polar::cuda::attention {

template <typename S>
__device__ __forceinline__ void consume(const AttentionParams& p, const Memory<S>& mem, int begin, int end) {
  State<S> st;
  Ring ring;
  CopyCursor cursor{};
  if constexpr (!S::kTma) {
    cursor.tile = begin;
    for (int i = 0; i < p.stages - 1; ++i) copy_next(p, mem, cursor, end);
  }
  for (int tile = begin; tile < end;) {
    const Segment seg = segment_at(p, tile, end);
    for (int i = 0; i < seg.tiles; ++i) {
      if constexpr (S::kTma) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
        barrier_wait(mem.full_k + ring.stage * 8, ring.phase);
#endif
      } else {
        wait_for_copies<S>(p.stages);
        copy_next(p, mem, cursor, end);
      }
      if (i == 0)
        begin_unit(
            st, mem,
            S::kTma ? mem.query(ring.stage) : static_cast<const typename S::Element*>(p.q) + row_offset<S>(p, seg),
            p.heads_per_unit);
      float s[S::kKeyTiles][S::kHeadTiles][4];
      uint32_t probabilities[S::kKeyTiles][S::kHeadTiles][2];
      scores(st, mem, mem.k(ring.stage), p.heads_per_unit, s);
      if constexpr (S::kTma) {
        if (i == 0) release_queries(mem.empty_q + ring.stage * 8, mix<S>(s));
        release_slot(mem.empty_k + ring.stage * 8, mix<S>(s));
      }
      int valid = p.kv_len - (seg.first_tile + i) * S::kTileKeys;
#if defined(POLAR_FAULTS)
      if (tile + i == p.skip_tile) valid = 0;
#endif
      softmax(st, s, valid, p.scale_log2, probabilities);
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
      if constexpr (S::kTma) barrier_wait(mem.full_v + ring.stage * 8, ring.phase);
#endif
      accumulate(st, mem.v(ring.stage), probabilities);
      if constexpr (S::kTma) release_slot(mem.empty_v + ring.stage * 8, mix(st));
      ring.advance(p.stages);
    }
    end_unit(st, p, mem, seg,
             seg.tiles == p.tiles_per_unit                   ? UnitEnd::kWhole
             : seg.first_tile + seg.tiles < p.tiles_per_unit ? UnitEnd::kSent
                                                             : UnitEnd::kKept);
    tile += seg.tiles;
  }
}

// Whether an architecture needs the body of a pipeline: choose_attention_config gives tensor copies to sm_90 and later
// and cp.async to the others, and a body costs seconds of every build. POLAR_EVERY_PIPELINE keeps both where both can
// run, so that cp.async can be checked on newer devices (test/native/cuda_attention.cu).
template <bool kTma>
constexpr bool pipeline_needed() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
  return !kTma;
#elif defined(POLAR_EVERY_PIPELINE)
  return true;
#else
  return kTma;
#endif
}

template <typename T, int kHeadDim, int kHeadTiles, AttentionPipeline kPipeline>
__global__ void __launch_bounds__((attention_consumer_warps(kHeadDim) + 2) * 32, 2)
    attention_decode_kernel(const AttentionParams p, const __grid_constant__ CUtensorMap k_map,
                            const __grid_constant__ CUtensorMap v_map) {
  using S = DecodeShape<T, kHeadDim, kHeadTiles, kPipeline>;
  if constexpr (pipeline_needed<S::kTma>()) {
    extern __shared__ char raw[];
    const Memory<S> mem(raw, p);
    const int block = static_cast<int>(blockIdx.x);
    const int begin = range_begin(p, block);
    const int end = range_begin(p, block + 1);
    if constexpr (S::kTma) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
      if (threadIdx.x == 0) {
        for (int s = 0; s < p.stages; ++s) {
          barrier_init(mem.full_k + s * 8, 1);
          barrier_init(mem.full_v + s * 8, 1);
          barrier_init(mem.empty_k + s * 8, S::kWarps);
          barrier_init(mem.empty_v + s * 8, S::kWarps);
          barrier_init(mem.empty_q + s * 8, S::kConsumers);
        }
        barrier_init_fence();  // by one thread: by all lanes of a warp it costs 1.4 us
      }
      __syncthreads();
#endif
    }
    wait_for_dependencies();  // q, the newest position of the caches and the index come from kernels before
    const int warp = threadIdx.x / 32;
    if (warp < S::kWarps) {
      const Merge<S> merge(p, begin, end);
      consume(p, mem, begin, end);
      if (merge.due) merge_unit(p, mem, merge);
    } else if (warp == S::kWarps) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
      if constexpr (S::kTma) {
        if (threadIdx.x % 32 == 0) produce(p, mem, k_map, v_map, begin, end);
      }
#endif
    } else {
      zero_unselected<S>(p);
    }
  }
}

template <typename T, AttentionPipeline kPipeline, int kHeadTiles>
const void* decode_kernel(int head_dim) {
  switch (head_dim) {
    case 64:
      return reinterpret_cast<const void*>(&attention_decode_kernel<T, 64, kHeadTiles, kPipeline>);
    case 96:
      return reinterpret_cast<const void*>(&attention_decode_kernel<T, 96, kHeadTiles, kPipeline>);
    case 128:
      return reinterpret_cast<const void*>(&attention_decode_kernel<T, 128, kHeadTiles, kPipeline>);
    case 256:
      return reinterpret_cast<const void*>(&attention_decode_kernel<T, 256, kHeadTiles, kPipeline>);
    default:
      return nullptr;
  }
}

template <typename T>
const void* decode_kernel(int head_dim, int head_tiles, AttentionPipeline pipeline) {
  if (pipeline == AttentionPipeline::kTma) {
    return head_tiles == 1 ? decode_kernel<T, AttentionPipeline::kTma, 1>(head_dim)
                           : decode_kernel<T, AttentionPipeline::kTma, 2>(head_dim);
  }
  return head_tiles == 1 ? decode_kernel<T, AttentionPipeline::kCpAsync, 1>(head_dim)
                         : decode_kernel<T, AttentionPipeline::kCpAsync, 2>(head_dim);
}

}  // namespace polar::cuda::attention
