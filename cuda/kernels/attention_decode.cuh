// Decode attention on tensor cores: one query row per head, keys on the m16 side.
//
// Work is flattened over (sequence, unit, tile of keys); a persistent block takes an equal contiguous range, so no wave
// is partly empty and B = 1 fills the device. K and V of a tile are copied once and serve all query heads of the unit:
//   S^T[keys, heads] = K Q^T      A = K by ldmatrix, B = Q from registers
//   O^T[d_h, heads] += V^T P^T    A = V^T by ldmatrix.trans, B = P^T by movmatrix
// so query heads are padded to 8, never to 16. Each warp owns the same 16 (or 32) keys of every tile with a softmax
// state of its own; warps meet only at the end of a unit. A unit cut across blocks leaves partial results in the
// workspace and the last block to arrive merges them in block order: the same bits whoever is last.
#pragma once

#include "attention_decode.h"
#include "attention_ptx.cuh"

namespace polar::cuda::attention {

inline constexpr float kLowest = -INFINITY;
inline constexpr int kConsumerBarrier = 1;

template <typename T, int kHeadDim, int kHeadTiles, AttentionPipeline kPipeline>
struct Decode {
  static constexpr bool kTma = kPipeline == AttentionPipeline::kTma;
  static constexpr int kTileKeys = attention_tile_keys(kHeadDim);
  static constexpr int kWarps = attention_consumer_warps(kHeadDim);
  static constexpr int kConsumers = kWarps * 32;
  static constexpr int kKeyTiles = kTileKeys / kWarps / 16;  // m16 tiles of keys per warp
  static constexpr int kSteps = kHeadDim / 16;               // k16 steps of K Q^T, m16 tiles of V^T P^T
  static constexpr int kChunks = kHeadDim / 8;               // 16-byte chunks of a row
  static constexpr uint32_t kSlotBytes = kTileKeys * kHeadDim * 2;
  // A tile lies in panels [kTileKeys, 8 chunks] with chunks XOR-swizzled by key, so that eight keys of one chunk column
  // are in different banks; 4 chunks where 8 do not divide the row. It is the layout the copy engine writes with
  // CU_TENSOR_MAP_SWIZZLE_128B (64B).
  static constexpr int kPanelChunks = kHeadDim % 64 == 0 ? 8 : 4;
  // The widest case has no registers left for Q and reads its fragments from shared memory: from the merge buffer,
  // which is idle until the unit ends and at least twice as large.
  static constexpr bool kQueryInShared = kHeadTiles == 2 && kHeadDim == 256;
  static_assert(kKeyTiles >= 1 && kTileKeys % (16 * kWarps) == 0 && kSlotBytes % 1024 == 0);

  static __device__ __forceinline__ uint32_t chunk_offset(int key, int chunk) {
    const int swizzle = kPanelChunks == 8 ? key & 7 : (key >> 1) & 3;
    return static_cast<uint32_t>(((chunk / kPanelChunks) * kTileKeys + key) * kPanelChunks +
                                 ((chunk % kPanelChunks) ^ swizzle)) *
           16;
  }

  // A contiguous run of tiles of one unit within the block's range.
  struct Segment {
    int64_t kv_row;  // (sequence, stored KV head)
    int unit;
    int batch;
    int group;       // of query heads
    int first_tile;  // within the unit
    int tiles;
  };

  static __device__ __forceinline__ Segment segment_at(const AttentionParams& p, int tile, int end) {
    Segment s;
    s.unit = tile / p.tiles_per_unit;
    s.first_tile = tile - s.unit * p.tiles_per_unit;
    s.tiles = min(end - tile, p.tiles_per_unit - s.first_tile);
    s.batch = s.unit / p.units_per_sequence;
    const int slot = s.unit - s.batch * p.units_per_sequence;
    s.group = p.group_index == nullptr ? slot : p.group_index[s.unit];
    const int kv_head = p.compact ? slot : s.group / p.units_per_kv_head;
    s.kv_row = static_cast<int64_t>(s.batch) * p.stored_kv_heads + kv_head;
    return s;
  }

  // Offset of the unit's query rows, and of its output rows.
  static __device__ __forceinline__ int64_t row_offset(const AttentionParams& p, const Segment& s) {
    return (static_cast<int64_t>(s.batch) * p.num_qo_heads + s.group * p.heads_per_unit) * kHeadDim;
  }

  // First tile of a block, and the block that holds a tile.
  static __device__ __forceinline__ int range_begin(const AttentionParams& p, int block) {
    return block * p.tiles_per_block + min(block, p.longer_blocks);
  }
  static __device__ __forceinline__ int block_of(const AttentionParams& p, int tile) {
    const int in_longer = p.longer_blocks * (p.tiles_per_block + 1);
    return tile < in_longer ? tile / (p.tiles_per_block + 1) : p.longer_blocks + (tile - in_longer) / p.tiles_per_block;
  }

  // Shared memory of the block; the counts follow attention_shared().
  struct Memory {
    uint32_t tiles;  // stage s: K at 2 s slots, V behind it
    char* queries;
    uint32_t query_bytes;
    float* merge;                               // [kWarps, min(heads, 8), kHeadDim + pad]
    float2* stats;                              // [kWarps, 16]
    uint32_t full_k, full_v, empty_k, empty_v, empty_q;  // mbarriers, 8 bytes per stage
    uint32_t* flag;

    __device__ __forceinline__ Memory(char* raw, const AttentionParams& p) {
      const uint32_t start = shared_address(raw);
      char* base = raw + ((kAttentionAlignment - start % kAttentionAlignment) % kAttentionAlignment);
      tiles = shared_address(base);
      query_bytes = (p.heads_per_unit * kHeadDim * 2 + 127) / 128 * 128;
      queries = base + p.stages * 2 * kSlotBytes;
      merge = reinterpret_cast<float*>(queries + p.stages * query_bytes);
      const int heads = min(p.heads_per_unit, 8);
      stats = reinterpret_cast<float2*>(merge + kWarps * heads * (kHeadDim + kAttentionMergePad));
      char* control = reinterpret_cast<char*>(stats + kWarps * kAttentionMaxHeadsPerUnit);
      full_k = shared_address(control);
      full_v = full_k + kAttentionMaxStages * 8;
      empty_k = full_v + kAttentionMaxStages * 8;
      empty_v = empty_k + kAttentionMaxStages * 8;
      empty_q = empty_v + kAttentionMaxStages * 8;
      flag = reinterpret_cast<uint32_t*>(control + kAttentionMaxStages * 40);
    }
    __device__ __forceinline__ uint32_t k(int stage) const { return tiles + 2 * stage * kSlotBytes; }
    __device__ __forceinline__ uint32_t v(int stage) const { return tiles + (2 * stage + 1) * kSlotBytes; }
    __device__ __forceinline__ const T* query(int stage) const {
      return reinterpret_cast<const T*>(queries + stage * query_bytes);
    }
  };

  struct Ring {
    int stage = 0;
    uint32_t phase = 0;
    __device__ __forceinline__ void advance(int stages) {
      if (++stage == stages) {
        stage = 0;
        phase ^= 1;
      }
    }
  };

  // Softmax state and accumulators of one warp. Lane (g = lane / 4, t = lane % 4) holds the heads 2t and 2t + 1 of
  // each tile of 8; maxima are in units of log2 and equal across g, sums are the lane's share.
  struct State {
    float o[kSteps][kHeadTiles][4];
    float m[kHeadTiles][2];
    float l[kHeadTiles][2];
    uint32_t q[kQueryInShared ? 1 : kSteps][kHeadTiles][2];
  };

  // Starts a unit; `rows`, its queries, are in global or shared memory. B fragments of Q^T are zero for heads beyond
  // the unit's.
  static __device__ __forceinline__ void begin_unit(State& st, const Memory& mem, const T* rows, int heads) {
    const int lane = threadIdx.x % 32;
    if constexpr (kQueryInShared) {
      uint4* shared = reinterpret_cast<uint4*>(mem.merge);
      sync_threads(kConsumerBarrier, kConsumers);  // the unit before is merged
      for (int i = threadIdx.x; i < heads * kChunks; i += kConsumers) {
        const int head = i / kChunks;
        shared[head * kChunks + ((i % kChunks) ^ (head & 7))] = reinterpret_cast<const uint4*>(rows)[i];
      }
      sync_threads(kConsumerBarrier, kConsumers);
    }
#pragma unroll
    for (int n = 0; n < kHeadTiles; ++n) {
      const int head = n * 8 + lane / 4;
      if constexpr (!kQueryInShared) {
        const uint32_t* row = reinterpret_cast<const uint32_t*>(rows + head * kHeadDim) + lane % 4;
#pragma unroll
        for (int s = 0; s < kSteps; ++s)
#pragma unroll
          for (int i = 0; i < 2; ++i) st.q[s][n][i] = head < heads ? row[s * 8 + i * 4] : 0u;
      }
#pragma unroll
      for (int s = 0; s < kSteps; ++s)
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
  static __device__ __forceinline__ void load_query(uint32_t (&q)[2], const Memory& mem, int heads, int tile,
                                                    int step) {
    const int lane = threadIdx.x % 32;
    const int head = tile * 8 + lane / 4;
    const uint32_t* row = reinterpret_cast<const uint32_t*>(mem.merge) + head * (kHeadDim / 2) + lane % 4;
#pragma unroll
    for (int i = 0; i < 2; ++i) q[i] = head < heads ? row[((2 * step + i) ^ (head & 7)) * 4] : 0u;
  }

  // S^T of the warp's keys. With one tile of heads even and odd steps sum apart, which halves the chain of dependent
  // instructions; two tiles are two chains already.
  static __device__ __forceinline__ void scores(State& st, const Memory& mem, uint32_t k_slot, int heads,
                                                float (&s)[kKeyTiles][kHeadTiles][4]) {
    const int lane = threadIdx.x % 32;
    const int warp_key = threadIdx.x / 32 * 16 * kKeyTiles;
    const int row = lane % 8 + (lane / 8 % 2) * 8;
#pragma unroll
    for (int kt = 0; kt < kKeyTiles; ++kt) {
      float odd[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
      for (int n = 0; n < kHeadTiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) s[kt][n][i] = 0.0f;
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        uint32_t a[4];
        load_matrix_x4(a, k_slot + chunk_offset(warp_key + kt * 16 + row, 2 * step + lane / 16));
#pragma unroll
        for (int n = 0; n < kHeadTiles; ++n) {
          if constexpr (kQueryInShared) load_query(st.q[0][n], mem, heads, n, step);
          Half<T>::mma(kHeadTiles == 1 && step % 2 == 1 ? odd : s[kt][n], a, st.q[kQueryInShared ? 0 : step][n]);
        }
      }
      if constexpr (kHeadTiles == 1) {
#pragma unroll
        for (int i = 0; i < 4; ++i) s[kt][0][i] += odd[i];
      }
    }
  }

  // Online softmax over the tile's `valid` first keys; turns scores into B fragments of P^T.
  static __device__ __forceinline__ void softmax(State& st, float (&s)[kKeyTiles][kHeadTiles][4], int valid,
                                                 float scale_log2,
                                                 uint32_t (&probabilities)[kKeyTiles][kHeadTiles][2]) {
    const int lane = threadIdx.x % 32;
    if (valid < kTileKeys) {
      const int first = threadIdx.x / 32 * 16 * kKeyTiles + lane / 4;
#pragma unroll
      for (int kt = 0; kt < kKeyTiles; ++kt)
#pragma unroll
        for (int n = 0; n < kHeadTiles; ++n)
#pragma unroll
          for (int i = 0; i < 4; ++i)
            if (first + kt * 16 + (i / 2) * 8 >= valid) s[kt][n][i] = kLowest;
    }
    float alpha[kHeadTiles][2];
    bool moved = false;
#pragma unroll
    for (int n = 0; n < kHeadTiles; ++n)
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        float top = kLowest;
#pragma unroll
        for (int kt = 0; kt < kKeyTiles; ++kt) top = fmaxf(top, fmaxf(s[kt][n][j], s[kt][n][j + 2]));
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
        for (int kt = 0; kt < kKeyTiles; ++kt)
#pragma unroll
          for (int i = j; i < 4; i += 2) {
            s[kt][n][i] = exp2_approx(fmaf(s[kt][n][i], scale_log2, -base));
            sum += s[kt][n][i];
          }
        st.l[n][j] = fmaf(st.l[n][j], alpha[n][j], sum);
      }
    if (__any_sync(~0u, moved)) {
#pragma unroll
      for (int step = 0; step < kSteps; ++step)
#pragma unroll
        for (int n = 0; n < kHeadTiles; ++n)
#pragma unroll
          for (int i = 0; i < 4; ++i) st.o[step][n][i] *= alpha[n][i % 2];
    }
#pragma unroll
    for (int kt = 0; kt < kKeyTiles; ++kt)
#pragma unroll
      for (int n = 0; n < kHeadTiles; ++n) {
        probabilities[kt][n][0] = transpose_matrix(Half<T>::pack(s[kt][n][0], s[kt][n][1]));
        probabilities[kt][n][1] = transpose_matrix(Half<T>::pack(s[kt][n][2], s[kt][n][3]));
      }
  }

  // O^T += V^T P^T. Rows of V beyond the sequence were copied as zeros, so a probability of 0 meets no NaN.
  static __device__ __forceinline__ void accumulate(State& st, uint32_t v_slot,
                                                    const uint32_t (&probabilities)[kKeyTiles][kHeadTiles][2]) {
    const int lane = threadIdx.x % 32;
    const int key = threadIdx.x / 32 * 16 * kKeyTiles + lane % 8 + (lane / 16) * 8;
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
#pragma unroll
      for (int kt = 0; kt < kKeyTiles; ++kt) {
        uint32_t a[4];
        load_matrix_x4_transposed(a, v_slot + chunk_offset(key + kt * 16, 2 * step + lane / 8 % 2));
#pragma unroll
        for (int n = 0; n < kHeadTiles; ++n) Half<T>::mma(st.o[step][n], a, probabilities[kt][n]);
      }
  }

  // ---- end of a unit --------------------------------------------------------------------------------------------

  // Sums the warps' states in warp order and writes the unit's output rows, or a partial result of a cut unit.
  static __device__ __forceinline__ void end_unit(State& st, const AttentionParams& p, const Memory& mem,
                                                  const Segment& seg, bool whole, int partial_slot) {
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    const int heads_per_pass = min(p.heads_per_unit, 8);
    constexpr int kStride = kHeadDim + kAttentionMergePad;
#pragma unroll
    for (int n = 0; n < kHeadTiles; ++n) {
      const int heads = min(p.heads_per_unit - n * 8, 8);
      sync_threads(kConsumerBarrier, kConsumers);  // nobody reads the buffer of the pass before any more
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
          for (int step = 0; step < kSteps; ++step) {
            row[step * 16] = st.o[step][n][j];
            row[step * 16 + 8] = st.o[step][n][j + 2];
          }
        }
      }
      sync_threads(kConsumerBarrier, kConsumers);
      for (int i = threadIdx.x; i < heads * (kHeadDim / 2); i += kConsumers) {
        const int head = i / (kHeadDim / 2);
        const int dim = i % (kHeadDim / 2) * 2;
        write_pair(p, mem, seg, whole, partial_slot, n * 8 + head, head, dim, heads_per_pass);
      }
    }
  }

  // Elements dim and dim + 1 of one head: `head` within the unit, `row` within the pass.
  static __device__ __forceinline__ void write_pair(const AttentionParams& p, const Memory& mem, const Segment& seg,
                                                    bool whole, int partial_slot, int head, int row, int dim,
                                                    int heads_per_pass) {
    constexpr int kStride = kHeadDim + kAttentionMergePad;
    float m = kLowest;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) m = fmaxf(m, mem.stats[w * kAttentionMaxHeadsPerUnit + row].x);
    // A segment has at least one valid key, so m is finite; only a planted fault leaves none.
    float l = 0.0f;
    float2 o = make_float2(0.0f, 0.0f);
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      const float2 stat = mem.stats[w * kAttentionMaxHeadsPerUnit + row];
      const float weight = exp2_approx(stat.x - m);
      const float2 part = *reinterpret_cast<const float2*>(mem.merge + (w * heads_per_pass + row) * kStride + dim);
      l = fmaf(weight, stat.y, l);
      o.x = fmaf(weight, part.x, o.x);
      o.y = fmaf(weight, part.y, o.y);
    }
    if (whole) {
      T* out = static_cast<T*>(p.out) + row_offset(p, seg) + head * kHeadDim;
      *reinterpret_cast<uint32_t*>(out + dim) = Half<T>::pack(o.x / l, o.y / l);
      return;
    }
    const int64_t index = static_cast<int64_t>(partial_slot) * p.heads_per_unit + head;
    *reinterpret_cast<float2*>(p.partial + index * kHeadDim + dim) = o;
    if (dim == 0) p.stats[index] = make_float2(m, l);
  }

  // Called by the consumers of every block that holds a part of a cut unit, after its partial result is written.
  static __device__ __forceinline__ void merge_if_last(const AttentionParams& p, const Memory& mem,
                                                       const Segment& seg) {
    const int unit_begin = seg.unit * p.tiles_per_unit;
    const int first = block_of(p, unit_begin);
    const int parts = block_of(p, unit_begin + p.tiles_per_unit - 1) - first + 1;
    __threadfence();
    sync_threads(kConsumerBarrier, kConsumers);
    if (threadIdx.x == 0) {
      const uint32_t arrived = atomicAdd(p.tickets + first, 1u);
      const bool complete = arrived == static_cast<uint32_t>(parts - 1);
      if (complete) p.tickets[first] = 0;  // ready for the next launch
      *mem.flag = complete;
    }
    sync_threads(kConsumerBarrier, kConsumers);
    if (*mem.flag == 0) return;
    __threadfence();
    // The first block holds the unit behind other work unless the unit begins with its range; it is part 0.
    const int first_slot = 2 * first + (range_begin(p, first) < unit_begin ? 1 : 0);
    merge_stats(p, mem, first, first_slot, parts);
    sync_threads(kConsumerBarrier, kConsumers);
    merge_rows(p, mem, seg, first, first_slot, parts);
  }

  // Index of (part, head) in the statistics and partial accumulators.
  static __device__ __forceinline__ int64_t part_index(const AttentionParams& p, int first, int first_slot, int part,
                                                       int head) {
    const int slot = part == 0 ? first_slot : 2 * (first + part);
    return static_cast<int64_t>(slot) * p.heads_per_unit + head;
  }

  // Maximum and sum over all parts, one warp per head; left in mem.stats[head]. Parts fall to lanes by number and lanes
  // are combined by a butterfly, so the order is fixed.
  static __device__ __forceinline__ void merge_stats(const AttentionParams& p, const Memory& mem, int first,
                                                     int first_slot, int parts) {
    const int lane = threadIdx.x % 32;
    for (int head = threadIdx.x / 32; head < p.heads_per_unit; head += kWarps) {
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
  static __device__ __forceinline__ void merge_rows(const AttentionParams& p, const Memory& mem, const Segment& seg,
                                                    int first, int first_slot, int parts) {
    constexpr int kBatch = 8;
    T* out = static_cast<T*>(p.out) + row_offset(p, seg);
    for (int i = threadIdx.x; i < p.heads_per_unit * (kHeadDim / 4); i += kConsumers) {
      const int head = i / (kHeadDim / 4);
      const int dim = i % (kHeadDim / 4) * 4;
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
          part[j] = __ldcg(reinterpret_cast<const float4*>(p.partial + index * kHeadDim + dim));
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
      *reinterpret_cast<uint2*>(out + head * kHeadDim + dim) =
          make_uint2(Half<T>::pack(o.x / total.y, o.y / total.y), Half<T>::pack(o.z / total.y, o.w / total.y));
    }
  }

  // ---- copies ---------------------------------------------------------------------------------------------------

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  // One thread keeps every stage filled, across unit boundaries; the next unit's group is read one unit ahead.
  static __device__ __forceinline__ void produce(const AttentionParams& p, const Memory& mem, const CUtensorMap& k_map,
                                                 const CUtensorMap& v_map, int begin, int end) {
    prefetch_tensor_map(&k_map);
    prefetch_tensor_map(&v_map);
    const uint64_t policy = evict_first_policy();
    const uint32_t query_bytes = p.heads_per_unit * kHeadDim * 2;
    Ring ring;
    uint32_t query_phases = 0;  // bit s: as Ring::phase, for the query slot of stage s, which not every tile uses
    Segment seg = segment_at(p, begin, end);
    for (int tile = begin; tile < end;) {
      const int next = tile + seg.tiles;
      const Segment ahead = next < end ? segment_at(p, next, end) : seg;
      for (int i = 0; i < seg.tiles; ++i) {
        const int key = (seg.first_tile + i) * kTileKeys;
        const int row = static_cast<int>(seg.kv_row);
        const uint32_t full_k = mem.full_k + ring.stage * 8, full_v = mem.full_v + ring.stage * 8;
        barrier_wait(mem.empty_k + ring.stage * 8, ring.phase ^ 1);
        barrier_expect(full_k, kSlotBytes + (i == 0 ? query_bytes : 0));
        copy_tensor_4d(mem.k(ring.stage), &k_map, 0, key, 0, row, full_k, policy);
        if (i == 0) {
          // Never blocks for long: whoever freed this stage's K has read its queries before.
          barrier_wait(mem.empty_q + ring.stage * 8, ((query_phases >> ring.stage) & 1) ^ 1);
          query_phases ^= 1u << ring.stage;
          copy_bulk(shared_address(mem.query(ring.stage)), static_cast<const T*>(p.q) + row_offset(p, seg), query_bytes,
                    full_k);
        }
        barrier_arrive(full_k);
        barrier_wait(mem.empty_v + ring.stage * 8, ring.phase ^ 1);
        barrier_expect(full_v, kSlotBytes);
        copy_tensor_4d(mem.v(ring.stage), &v_map, 0, key, 0, row, full_v, policy);
        barrier_arrive(full_v);
        ring.advance(p.stages);
      }
      tile = next;
      seg = ahead;
    }
  }
#endif

  // Where the cp.async path stands with its copies, `stages - 1` tiles ahead of the arithmetic.
  struct CopyCursor {
    int64_t offset;  // of the next tile's first element in K and V
    int tile;        // flattened, of the next copy
    int keys_left;   // valid keys of the unit from there on
    int tiles_left;  // of the segment
    int stage;
  };

  // Copies the next tile of K and V with all consumer threads; keys beyond the end become zeros.
  static __device__ __forceinline__ void copy_next(const AttentionParams& p, const Memory& mem, CopyCursor& c,
                                                   int end) {
    if (c.tile < end) {
      if (c.tiles_left == 0) {
        const Segment seg = segment_at(p, c.tile, end);
        const int first_key = seg.first_tile * kTileKeys;
        c.offset = (seg.kv_row * p.kv_capacity + first_key) * kHeadDim;
        c.keys_left = p.kv_len - first_key;
        c.tiles_left = seg.tiles;
      }
      const T* k = static_cast<const T*>(p.k) + c.offset;
      const T* v = static_cast<const T*>(p.v) + c.offset;
#pragma unroll 2
      for (int i = threadIdx.x; i < kTileKeys * kChunks; i += kConsumers) {
        const int key = i / kChunks;
        const bool valid = key < c.keys_left;
        const int source = valid ? i * 8 : 0;  // an address inside the tensor even where nothing is read
        const uint32_t destination = mem.k(c.stage) + chunk_offset(key, i % kChunks);
        copy_async_16(destination, k + source, valid);
        copy_async_16(destination + kSlotBytes, v + source, valid);
      }
      c.offset += kTileKeys * kHeadDim;
      c.keys_left -= kTileKeys;
      --c.tiles_left;
      ++c.tile;
      c.stage = c.stage + 1 == p.stages ? 0 : c.stage + 1;
    }
    copy_async_commit();  // also where nothing is left: the count of groups stays the tile's number
  }

  // ---- consumers ------------------------------------------------------------------------------------------------

  // Gives a slot back to the producer. `seen` mixes results of every multiplication that read the slot, and the arrival
  // depends on it: ldmatrix delivers late, and nothing else stops the arrival, and then the next copy, from overtaking
  // reads that are still queued. The value that is never seen is a NaN that no multiplication produces.
  static __device__ __forceinline__ bool delivered(uint32_t seen) {
    constexpr uint32_t kNeverSeen = 0x7fedcba9u;
    return __any_sync(~0u, seen != kNeverSeen);
  }
  static __device__ __forceinline__ void release_slot(uint32_t empty, uint32_t seen) {
    if (delivered(seen) && threadIdx.x % 32 == 0) barrier_arrive(empty);
  }

  // Gives a unit's query slot back: every lane for its own reads, which went into the multiplications behind `seen`.
  static __device__ __forceinline__ void release_queries(uint32_t empty, uint32_t seen) {
    if (delivered(seen)) barrier_arrive(empty);
  }

  static __device__ __forceinline__ uint32_t mix(const float (&s)[kKeyTiles][kHeadTiles][4]) {
    uint32_t seen = 0;
#pragma unroll
    for (int kt = 0; kt < kKeyTiles; ++kt)
#pragma unroll
      for (int n = 0; n < kHeadTiles; ++n) seen ^= __float_as_uint(s[kt][n][0]);
    return seen;
  }

  static __device__ __forceinline__ uint32_t mix(const State& st) {
    uint32_t seen = 0;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) seen ^= __float_as_uint(st.o[step][0][0]);
    return seen;
  }

  static __device__ __forceinline__ void wait_for_copies(int stages) {
    if (stages == 2)
      copy_async_wait<0>();
    else if (stages == 3)
      copy_async_wait<1>();
    else
      copy_async_wait<2>();
    sync_threads(kConsumerBarrier, kConsumers);
  }

  static __device__ __forceinline__ void consume(const AttentionParams& p, const Memory& mem, int begin, int end) {
    State st;
    Ring ring;
    CopyCursor cursor{};
    if constexpr (!kTma) {
      cursor.tile = begin;
      for (int i = 0; i < p.stages - 1; ++i) copy_next(p, mem, cursor, end);
    }
    for (int tile = begin; tile < end;) {
      const Segment seg = segment_at(p, tile, end);
      for (int i = 0; i < seg.tiles; ++i) {
        if constexpr (kTma) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
          barrier_wait(mem.full_k + ring.stage * 8, ring.phase);
#endif
        } else {
          wait_for_copies(p.stages);
          copy_next(p, mem, cursor, end);
        }
        if (i == 0)
          begin_unit(st, mem, kTma ? mem.query(ring.stage) : static_cast<const T*>(p.q) + row_offset(p, seg),
                     p.heads_per_unit);
        float s[kKeyTiles][kHeadTiles][4];
        uint32_t probabilities[kKeyTiles][kHeadTiles][2];
        scores(st, mem, mem.k(ring.stage), p.heads_per_unit, s);
        if constexpr (kTma) {
          if (i == 0) release_queries(mem.empty_q + ring.stage * 8, mix(s));
          release_slot(mem.empty_k + ring.stage * 8, mix(s));
        }
        int valid = p.kv_len - (seg.first_tile + i) * kTileKeys;
#if defined(POLAR_FAULTS)
        if (tile + i == p.skip_tile) valid = 0;
#endif
        softmax(st, s, valid, p.scale_log2, probabilities);
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
        if constexpr (kTma) barrier_wait(mem.full_v + ring.stage * 8, ring.phase);
#endif
        accumulate(st, mem.v(ring.stage), probabilities);
        if constexpr (kTma) release_slot(mem.empty_v + ring.stage * 8, mix(st));
        ring.advance(p.stages);
      }
      const bool whole = seg.tiles == p.tiles_per_unit;
      end_unit(st, p, mem, seg, whole, 2 * static_cast<int>(blockIdx.x) + (tile == begin ? 0 : 1));
      tile += seg.tiles;
    }
    merge_cut_units(p, mem, begin, end);
  }

  // The block's range cuts at most the unit it begins in and the one it ends in. Both wait until the stream is through:
  // a merge in the middle would let the copies run dry.
  static __device__ __forceinline__ void merge_cut_units(const AttentionParams& p, const Memory& mem, int begin,
                                                         int end) {
    const int last_unit_begin = (end - 1) / p.tiles_per_unit * p.tiles_per_unit;
#pragma unroll 1
    for (int tile = begin; tile < end; tile = tile < last_unit_begin ? last_unit_begin : end) {
      const Segment seg = segment_at(p, tile, end);
      if (seg.tiles < p.tiles_per_unit) merge_if_last(p, mem, seg);
    }
  }

  // ---- rows of unselected groups --------------------------------------------------------------------------------

  static __device__ __forceinline__ bool selected(const int32_t* index, int count, int group) {
    int low = 0;
    for (int high = count; low < high;) {
      const int middle = (low + high) / 2;
      if (index[middle] < group)
        low = middle + 1;
      else
        high = middle;
    }
    return low < count && index[low] == group;
  }

  // One warp per block finds the unselected (sequence, group) pairs of its share, 32 at a time, and zeroes their rows.
  static __device__ __forceinline__ void zero_unselected(const AttentionParams& p) {
    if (p.group_index == nullptr || p.units_per_sequence == p.num_groups) return;
    const int lane = threadIdx.x % 32;
    const int64_t pairs = p.batch_size * p.num_groups;
    const int64_t elements = static_cast<int64_t>(p.heads_per_unit) * kHeadDim;
    for (int64_t first = static_cast<int64_t>(blockIdx.x) * 32; first < pairs;
         first += static_cast<int64_t>(gridDim.x) * 32) {
      const int64_t pair = first + lane;
      bool absent = false;
      if (pair < pairs) {
        const int64_t batch = pair / p.num_groups;
        const int group = static_cast<int>(pair - batch * p.num_groups);
        absent = !selected(p.group_index + batch * p.units_per_sequence, p.units_per_sequence, group);
      }
      for (uint32_t rest = __ballot_sync(~0u, absent); rest != 0; rest &= rest - 1) {
        uint4* rows = reinterpret_cast<uint4*>(static_cast<T*>(p.out) + (first + __ffs(rest) - 1) * elements);
        for (int i = lane; i < elements / 8; i += 32) rows[i] = make_uint4(0u, 0u, 0u, 0u);
      }
    }
  }
};

template <typename T, int kHeadDim, int kHeadTiles, AttentionPipeline kPipeline>
__global__ void __launch_bounds__((attention_consumer_warps(kHeadDim) + 2) * 32, 2)
    attention_decode_kernel(const AttentionParams p, const __grid_constant__ CUtensorMap k_map,
                            const __grid_constant__ CUtensorMap v_map) {
  using D = Decode<T, kHeadDim, kHeadTiles, kPipeline>;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
  if constexpr (D::kTma)
    return;  // the host never picks it there
  else {
#endif
    extern __shared__ char raw[];
    const typename D::Memory mem(raw, p);
    if constexpr (D::kTma) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
      if (threadIdx.x == 0) {
        for (int s = 0; s < p.stages; ++s) {
          barrier_init(mem.full_k + s * 8, 1);
          barrier_init(mem.full_v + s * 8, 1);
          barrier_init(mem.empty_k + s * 8, D::kWarps);
          barrier_init(mem.empty_v + s * 8, D::kWarps);
          barrier_init(mem.empty_q + s * 8, D::kConsumers);
        }
        barrier_init_fence();
      }
      __syncthreads();
#endif
    }
    const int begin = D::range_begin(p, static_cast<int>(blockIdx.x));
    const int end = D::range_begin(p, static_cast<int>(blockIdx.x) + 1);
    const int warp = threadIdx.x / 32;
    if (warp < D::kWarps) {
      D::consume(p, mem, begin, end);
    } else if (warp == D::kWarps) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
      if constexpr (D::kTma) {
        if (threadIdx.x % 32 == 0) D::produce(p, mem, k_map, v_map, begin, end);
      }
#endif
    } else {
      D::zero_unselected(p);
    }
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
  }
#endif
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
