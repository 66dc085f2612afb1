// Selection of neurons on the device: the k largest of n scores, or all above a threshold; positions ascend.
//
// One cluster of blocks (one block before sm_90), each with an equal slice of the scores. Radix select over the range
// of keys that is left: histogram, total over the cluster, the bin in which the k-th largest lies becomes the range.
// Counts are integers and slices have fixed places in the output, so nothing depends on timing.
#pragma once

#include "../device/dependent.cuh"
#include "router_key.cuh"
#include "router_ptx.cuh"

namespace polar::cuda::router {

inline constexpr int kSelectThreads = 512;
inline constexpr int kSelectWarps = kSelectThreads / 32;
inline constexpr int kBinBits = 10;
inline constexpr int kBins = 1 << kBinBits;
inline constexpr int kBinsPerThread = kBins / kSelectThreads;
inline constexpr int kCandidates = 1024;  // so few keys left are compared with each other instead
inline constexpr int kClusterBlocks = 8;
static_assert(kBinsPerThread == 2);

struct SelectParams {
  const float* scores;  // [n]
  int n;
  int k;  // top-k; 0: all above `threshold`
  float threshold;
  int slice;        // scores per block, a multiple of 32
  int cached;       // 1: the slice is kept in shared memory
  uint32_t* range;  // {max of ~key, max of key} of all scores, left at zero; null: to be found
  int32_t* index;
  int32_t* count;  // or null
};

struct SelectShared {
  uint32_t histogram[2][kBins];             // used in turns: others may still read the last one
  uint32_t mine[kCandidates];               // keys that this block found
  uint32_t all[kCandidates];                // keys of all blocks
  uint32_t exchange[2][kClusterBlocks][2];  // a pair of every block; one array per use, as others may lag behind
  uint32_t warp[kSelectWarps][2];
  uint32_t found[3];
  uint32_t taken;  // entries of `mine`
};

template <int Blocks>
__device__ __forceinline__ int block_of_cluster() {
#if __CUDA_ARCH__ >= 900
  if constexpr (Blocks > 1) return static_cast<int>(ptx::cluster_rank());
#endif
  return 0;
}

template <int Blocks>
__device__ __forceinline__ void sync_blocks() {
#if __CUDA_ARCH__ >= 900
  if constexpr (Blocks > 1) ptx::cluster_sync();
#endif
  if constexpr (Blocks == 1) __syncthreads();
}

// Makes the pair of every block known to every block. Thread 0's values count.
template <int Blocks>
__device__ __forceinline__ void exchange_pair(uint32_t (&pairs)[kClusterBlocks][2], int rank, uint32_t a, uint32_t b) {
  if (threadIdx.x == 0) {
#if __CUDA_ARCH__ >= 900
    if constexpr (Blocks > 1) {
      const uint32_t mine = ptx::shared_address(&pairs[rank][0]);
      for (int block = 0; block < Blocks; ++block) {
        ptx::cluster_store(ptx::cluster_address(mine, block), a);
        ptx::cluster_store(ptx::cluster_address(mine + 4, block), b);
      }
    } else
#endif
    {
      pairs[rank][0] = a, pairs[rank][1] = b;
    }
  }
  sync_blocks<Blocks>();
}

// The slice of this block: keys by position within it.
struct Slice {
  const uint32_t* cache;  // null: read the scores again
  const float* scores;
  int first, length;
  __device__ __forceinline__ uint32_t key(int i) const {
    return cache != nullptr ? cache[i] : key_of(__ldcg(scores + first + i));
  }
};

// Smallest and largest key of all slices, from those of this thread.
template <int Blocks>
__device__ void key_range(SelectShared& s, int rank, uint32_t& low, uint32_t& high) {
  low = __reduce_min_sync(0xffffffffu, low), high = __reduce_max_sync(0xffffffffu, high);
  if ((threadIdx.x & 31) == 0) s.warp[threadIdx.x >> 5][0] = low, s.warp[threadIdx.x >> 5][1] = high;
  __syncthreads();
  for (int w = 0; w < kSelectWarps; ++w) low = min(low, s.warp[w][0]), high = max(high, s.warp[w][1]);
  exchange_pair<Blocks>(s.exchange[0], rank, low, high);
  for (int b = 0; b < Blocks; ++b) low = min(low, s.exchange[0][b][0]), high = max(high, s.exchange[0][b][1]);
}

// Word `word` of block `block`'s copy of a shared array.
template <int Blocks>
__device__ __forceinline__ uint32_t read_block(const uint32_t* array, int word, int block) {
#if __CUDA_ARCH__ >= 900
  if constexpr (Blocks > 1) {
    return ptx::cluster_load(ptx::cluster_address(ptx::shared_address(array + word), static_cast<uint32_t>(block)));
  }
#endif
  return array[word];
}

// The bin that holds the `need`-th largest key: found = {bin, keys above it, keys in it}. Every block adds up all
// histograms for itself.
template <int Blocks>
__device__ void find_bin(SelectShared& s, const uint32_t* histogram, uint32_t need) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, warp = thread >> 5;
  uint32_t counts[kBinsPerThread] = {}, sum = 0;
#pragma unroll
  for (int block = 0; block < Blocks; ++block) {
#pragma unroll
    for (int i = 0; i < kBinsPerThread; ++i) {
      counts[i] += read_block<Blocks>(histogram, thread * kBinsPerThread + i, block);
    }
  }
  for (int i = 0; i < kBinsPerThread; ++i) sum += counts[i];
  uint32_t suffix = sum;  // of this lane and those above it
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const uint32_t other = __shfl_down_sync(0xffffffffu, suffix, step);
    if (lane + step < 32) suffix += other;
  }
  if (lane == 0) s.warp[warp][0] = suffix;
  __syncthreads();
  uint32_t above = suffix - sum;
  for (int w = warp + 1; w < kSelectWarps; ++w) above += s.warp[w][0];
#pragma unroll
  for (int i = kBinsPerThread - 1; i >= 0; --i) {
    if (above < need && need <= above + counts[i]) {
      s.found[0] = static_cast<uint32_t>(thread * kBinsPerThread + i), s.found[1] = above, s.found[2] = counts[i];
    }
    above += counts[i];
  }
  __syncthreads();
}

// What is taken: keys above `high`, and the first `need` in order of position of those in low .. high.
struct Threshold {
  uint32_t low, high, need;
};

// The end of the search when at most kCandidates keys lie in low .. high: every block gathers them all, in whatever
// order, and finds the need-th largest by counting, so the order does not matter.
template <int Blocks>
__device__ void settle(SelectShared& s, const Slice& slice, Threshold& t) {
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) s.taken = 0;
  __syncthreads();
  for (int i = thread; i < slice.length; i += kSelectThreads) {
    const uint32_t key = slice.key(i);
    if (key >= t.low && key <= t.high) s.mine[atomicAdd(&s.taken, 1u)] = key;
  }
  sync_blocks<Blocks>();
  // Warp w fetches the keys of block w % Blocks, so that all blocks are read at once.
  uint32_t counts[Blocks], total = 0, before = 0, theirs = 0;
  const int from = (thread >> 5) % Blocks;
#pragma unroll
  for (int block = 0; block < Blocks; ++block) counts[block] = read_block<Blocks>(&s.taken, 0, block);
#pragma unroll
  for (int block = 0; block < Blocks; ++block) {
    if (block == from) before = total, theirs = counts[block];
    total += counts[block];
  }
  for (uint32_t i = thread / (32 * Blocks) * 32 + (thread & 31); i < theirs; i += kSelectThreads / Blocks) {
    s.all[before + i] = read_block<Blocks>(s.mine, static_cast<int>(i), from);
  }
  for (uint32_t i = total + threadIdx.x; i < total + 4 && i < kCandidates; i += kSelectThreads) s.all[i] = 0;
  if (thread == 0) s.found[0] = 0xffffffffu;
  __syncthreads();
  // The need-th largest is the smallest key with fewer than `need` above it. (Padding, key 0, is above nothing.)
  uint32_t smallest = 0xffffffffu, its_above = 0;
  bool any = false;
  const uint4* all = reinterpret_cast<const uint4*>(s.all);
  for (uint32_t i = threadIdx.x; i < total; i += kSelectThreads) {
    const uint32_t key = s.all[i];
    uint32_t above = 0;
#pragma unroll 4
    for (uint32_t j = 0; j < (total + 3) / 4; ++j) {
      const uint4 other = all[j];
      above += (other.x > key) + (other.y > key) + (other.z > key) + (other.w > key);
    }
    if (above < t.need && key <= smallest) smallest = key, its_above = above, any = true;
  }
  atomicMin(&s.found[0], smallest);
  __syncthreads();
  if (any && s.found[0] == smallest) s.found[1] = its_above;
  __syncthreads();
  t.low = t.high = s.found[0];
  t.need -= s.found[1];
}

// Narrows low .. high, the range of all keys, down to the k-th largest.
template <int Blocks>
__device__ Threshold find_threshold(SelectShared& s, const Slice& slice, uint32_t low, uint32_t high, uint32_t k) {
  Threshold t{low, high, k};
  for (int turn = 0; t.low != t.high; turn ^= 1) {
    const int bits = 32 - __clz(t.high - t.low);
    const int shift = bits > kBinBits ? bits - kBinBits : 0;
    uint32_t* histogram = s.histogram[turn];
    for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kSelectThreads) histogram[bin] = 0;
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < slice.length; i += kSelectThreads) {
      const uint32_t key = slice.key(i);
      if (key >= t.low && key <= t.high) atomicAdd(&histogram[(key - t.low) >> shift], 1u);
    }
    sync_blocks<Blocks>();
    find_bin<Blocks>(s, histogram, t.need);
    t.need -= s.found[1];
    const uint32_t bottom = t.low + (s.found[0] << shift), inside = s.found[2];
    t.high = min(t.high, bottom + ((1u << shift) - 1u));
    t.low = bottom;
    if (t.need == inside || shift == 0) break;  // the whole bin is taken, or its keys are equal
    if (inside <= kCandidates) {
      settle<Blocks>(s, slice, t);
      break;
    }
  }
  return t;
}

// Writes the positions in ascending order: each warp of each block has a contiguous range of scores.
template <int Blocks>
__device__ void compact(SelectShared& s, const SelectParams& p, const Slice& slice, int rank, const Threshold& t) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, warp = thread >> 5;
  const int range = (slice.length + kSelectThreads - 1) / kSelectThreads * 32;
  const int begin = warp * range, end = min(begin + range, slice.length);
  uint32_t above = 0, equal = 0;
  for (int i = begin + lane; i < begin + range; i += 32) {
    const uint32_t key = i < end ? slice.key(i) : 0;
    above += __popc(__ballot_sync(0xffffffffu, i < end && key > t.high));
    equal += __popc(__ballot_sync(0xffffffffu, i < end && key <= t.high && key >= t.low));
  }
  __syncthreads();
  if (lane == 0) s.warp[warp][0] = above, s.warp[warp][1] = equal;
  __syncthreads();
  uint32_t all_above = 0, all_equal = 0;
  above = equal = 0;
  for (int w = 0; w < kSelectWarps; ++w) {
    if (w == warp) above = all_above, equal = all_equal;
    all_above += s.warp[w][0], all_equal += s.warp[w][1];
  }
  exchange_pair<Blocks>(s.exchange[1], rank, all_above, all_equal);
  for (int b = 0; b < rank; ++b) above += s.exchange[1][b][0], equal += s.exchange[1][b][1];
  for (int i = begin + lane; i < begin + range; i += 32) {
    const uint32_t key = i < end ? slice.key(i) : 0;
    const bool is_above = i < end && key > t.high, is_equal = i < end && key <= t.high && key >= t.low;
    const uint32_t mask_above = __ballot_sync(0xffffffffu, is_above);
    const uint32_t mask_equal = __ballot_sync(0xffffffffu, is_equal);
    const uint32_t before = (1u << lane) - 1u;
    const uint32_t my_equal = equal + __popc(mask_equal & before);
    const uint32_t place = above + __popc(mask_above & before) + min(my_equal, t.need);
    if (is_above || (is_equal && my_equal < t.need)) p.index[place] = slice.first + i;
    above += __popc(mask_above), equal += __popc(mask_equal);
  }
  if (p.count != nullptr && rank == Blocks - 1 && thread == kSelectThreads - 1) {
    *p.count = static_cast<int32_t>(above + min(equal, t.need));
  }
}

template <int Blocks>
__global__ void __launch_bounds__(kSelectThreads, 1) select_kernel(const SelectParams p) {
  __shared__ SelectShared s;
  extern __shared__ uint32_t cache[];
  wait_for_dependencies();
  const int rank = block_of_cluster<Blocks>();
  Slice slice{nullptr, p.scores, min(rank * p.slice, p.n), 0};
  slice.length = min(p.slice, p.n - slice.first);
  uint32_t low = 0xffffffffu, high = 0;
#pragma unroll 16
  for (int i = static_cast<int>(threadIdx.x); i < slice.length; i += kSelectThreads) {
    const uint32_t key = slice.key(i);
    if (p.cached != 0) cache[i] = key;
    low = min(low, key), high = max(high, key);
  }
  if (p.cached != 0) slice.cache = cache;
  Threshold t{0xffffffffu, 0, 0};
  if (p.k > 0) {
    if (p.range != nullptr) {
      low = ~__ldcg(p.range), high = __ldcg(p.range + 1);
      __syncthreads();
    } else {
      key_range<Blocks>(s, rank, low, high);
    }
    t = find_threshold<Blocks>(s, slice, low, high, static_cast<uint32_t>(p.k));
  } else {
    t.high = key_of(p.threshold);  // low stays above it: nothing else is taken
    __syncthreads();
  }
  compact<Blocks>(s, p, slice, rank, t);
  // Every block has read the range: all met in compact().
  if (p.range != nullptr && rank == 0 && threadIdx.x < 2) p.range[threadIdx.x] = 0;
}

// ---- attention groups ---------------------------------------------------------------------------------------------

struct GroupParams {
  const float* partial;  // [splits, batch, groups]
  int splits, groups, top_k;
  int64_t batch;
  float* scores;   // [batch, groups]
  int32_t* index;  // [batch, top_k]
};

// One block per sequence: scores = sum over splits, then each group counts those that come before it. Dynamic shared
// memory: the keys, room for a multiple of eight.
template <int Threads>
__global__ void __launch_bounds__(Threads, 1) group_select_kernel(const GroupParams p) {
  extern __shared__ uint32_t keys[];
  __shared__ float part[Threads];
  __shared__ int warp_count[Threads / 32];
  const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, warp = thread >> 5;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * p.groups;
  const int64_t split_stride = p.batch * p.groups;
  // Few groups: several threads share the splits of one. Part i takes splits i, i + parts, ...; a fixed order.
  const int width = min((p.groups + 31) / 32 * 32, Threads), parts = Threads / width;
  const int column = thread % width, mine = thread / width;
  wait_for_dependencies();
  for (int base = 0; base < p.groups; base += width) {
    const int group = base + column;
    float sum = 0;
    if (group < p.groups && mine < parts) {
#pragma unroll 8
      for (int split = mine; split < p.splits; split += parts) {
        sum += __ldcg(p.partial + split * split_stride + row + group);
      }
    }
    part[thread] = sum;
    __syncthreads();
    if (thread < width && group < p.groups) {
      for (int i = 1; i < parts; ++i) sum += part[i * width + column];
      keys[group] = key_of(sum);
      p.scores[row + group] = sum;
    }
    __syncthreads();
  }
  int taken = 0;
  for (int base = 0; base < p.groups; base += Threads) {
    const int group = base + thread;
    bool selected = false;
    if (group < p.groups) {
      const uint32_t key = keys[group];
      int before = 0;
#pragma unroll 8
      for (int other = 0; other < p.groups; ++other) {
        before += keys[other] > key || (keys[other] == key && other < group);
      }
      selected = before < p.top_k;
    }
    const uint32_t mask = __ballot_sync(0xffffffffu, selected);
    if (lane == 0) warp_count[warp] = __popc(mask);
    __syncthreads();
    int place = taken;
    for (int w = 0; w < Threads / 32; ++w) {
      if (w < warp) place += warp_count[w];
      taken += warp_count[w];
    }
    place += __popc(mask & ((1u << lane) - 1u));
    if (selected) p.index[static_cast<int64_t>(blockIdx.x) * p.top_k + place] = group;
    __syncthreads();
  }
}

}  // namespace polar::cuda::router
