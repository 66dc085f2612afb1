// Getting K, V and queries into shared memory and giving the slots back: tensor copies by one producer thread with
// mbarriers (sm_90 and later), or cp.async by all consumer threads.
#pragma once

#include "attention_layout.cuh"

namespace polar::cuda::attention {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
// One thread keeps every stage filled, across unit boundaries; the next unit's group is read one unit ahead.
template <typename S>
__device__ __forceinline__ void produce(const AttentionParams& p, const Memory<S>& mem, const CUtensorMap& k_map,
                                        const CUtensorMap& v_map, int begin, int end) {
  prefetch_tensor_map(&k_map);
  prefetch_tensor_map(&v_map);
  const uint64_t policy = evict_first_policy();
  const uint32_t query_bytes = p.heads_per_unit * S::kHeadDim * 2;
  Ring ring;
  uint32_t query_phases = 0;  // bit s: as Ring::phase, for the query slot of stage s, which not every tile uses
  Segment seg = segment_at(p, begin, end);
  for (int tile = begin; tile < end;) {
    const int next = tile + seg.tiles;
    const Segment ahead = next < end ? segment_at(p, next, end) : seg;
    for (int i = 0; i < seg.tiles; ++i) {
      const int key = (seg.first_tile + i) * S::kTileKeys;
      const int row = static_cast<int>(seg.kv_row);
      const uint32_t full_k = mem.full_k + ring.stage * 8, full_v = mem.full_v + ring.stage * 8;
      barrier_wait(mem.empty_k + ring.stage * 8, ring.phase ^ 1);
      barrier_expect(full_k, S::kSlotBytes + (i == 0 ? query_bytes : 0));
      copy_tensor_4d(mem.k(ring.stage), &k_map, 0, key, 0, row, full_k, policy);
      if (i == 0) {
        // Never blocks for long: whoever freed this stage's K has read its queries before.
        barrier_wait(mem.empty_q + ring.stage * 8, ((query_phases >> ring.stage) & 1) ^ 1);
        query_phases ^= 1u << ring.stage;
        copy_bulk(shared_address(mem.query(ring.stage)),
                  static_cast<const typename S::Element*>(p.q) + row_offset<S>(p, seg), query_bytes, full_k);
      }
      barrier_arrive(full_k);
      barrier_wait(mem.empty_v + ring.stage * 8, ring.phase ^ 1);
      barrier_expect(full_v, S::kSlotBytes);
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
template <typename S>
__device__ __forceinline__ void copy_next(const AttentionParams& p, const Memory<S>& mem, CopyCursor& c, int end) {
  if (c.tile < end) {
    if (c.tiles_left == 0) {
      const Segment seg = segment_at(p, c.tile, end);
      const int first_key = seg.first_tile * S::kTileKeys;
      c.offset = (seg.kv_row * p.kv_capacity + first_key) * S::kHeadDim;
      c.keys_left = p.kv_len - first_key;
      c.tiles_left = seg.tiles;
    }
    const typename S::Element* k = static_cast<const typename S::Element*>(p.k) + c.offset;
    const typename S::Element* v = static_cast<const typename S::Element*>(p.v) + c.offset;
#pragma unroll 2
    for (int i = threadIdx.x; i < S::kTileKeys * S::kChunks; i += S::kConsumers) {
      const int key = i / S::kChunks;
      const bool valid = key < c.keys_left;
      const int source = valid ? i * 8 : 0;  // an address inside the tensor even where nothing is read
      const uint32_t destination = mem.k(c.stage) + chunk_offset<S>(key, i % S::kChunks);
      copy_async_16(destination, k + source, valid);
      copy_async_16(destination + S::kSlotBytes, v + source, valid);
    }
    c.offset += S::kTileKeys * S::kHeadDim;
    c.keys_left -= S::kTileKeys;
    --c.tiles_left;
    ++c.tile;
    c.stage = c.stage + 1 == p.stages ? 0 : c.stage + 1;
  }
  copy_async_commit();  // also where nothing is left: the count of groups stays the tile's number
}

template <typename S>
__device__ __forceinline__ void wait_for_copies(int stages) {
  if (stages == 2)
    copy_async_wait<0>();
  else if (stages == 3)
    copy_async_wait<1>();
  else
    copy_async_wait<2>();
  sync_threads(kConsumerBarrier, S::kConsumers);
}

// Gives a slot back to the producer. `seen` mixes results of every multiplication that read the slot, and the arrival
// depends on it: ldmatrix delivers late, and nothing else stops the arrival, and then the next copy, from overtaking
// reads that are still queued. The value that is never seen is a NaN that no multiplication produces.
__device__ __forceinline__ bool delivered(uint32_t seen) {
  constexpr uint32_t kNeverSeen = 0x7fedcba9u;
  return __any_sync(~0u, seen != kNeverSeen);
}
__device__ __forceinline__ void release_slot(uint32_t empty, uint32_t seen) {
  if (delivered(seen) && threadIdx.x % 32 == 0) barrier_arrive(empty);
}

// Gives a unit's query slot back: every lane for its own reads, which went into the multiplications behind `seen`.
__device__ __forceinline__ void release_queries(uint32_t empty, uint32_t seen) {
  if (delivered(seen)) barrier_arrive(empty);
}

template <typename S>
__device__ __forceinline__ uint32_t mix(const float (&s)[S::kKeyTiles][S::kHeadTiles][4]) {
  uint32_t seen = 0;
#pragma unroll
  for (int kt = 0; kt < S::kKeyTiles; ++kt)
#pragma unroll
    for (int n = 0; n < S::kHeadTiles; ++n) seen ^= __float_as_uint(s[kt][n][0]);
  return seen;
}

template <typename S>
__device__ __forceinline__ uint32_t mix(const State<S>& st) {
  uint32_t seen = 0;
#pragma unroll
  for (int step = 0; step < S::kSteps; ++step) seen ^= __float_as_uint(st.o[step][0][0]);
  return seen;
}

}  // namespace polar::cuda::attention
