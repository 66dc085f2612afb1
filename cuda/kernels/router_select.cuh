// Selection of neurons on the device: the k largest of n scores, or all above a threshold; positions ascend.
//
// Many blocks, each with neighbouring scores in shared memory. They meet twice, through global memory, and wait for the
// data itself instead of a barrier: first until the histogram of all keys has counted every key, which leaves the bin
// of the k-th largest key; then until the packet of every block is there, with its counts and its keys in that bin.
// Counts are integers and blocks have fixed places in the output, so nothing depends on timing.
#pragma once

#include "../device/dependent.cuh"
#include "router_key.cuh"
#include "router_ptx.cuh"
#include "router_select_config.h"

namespace polar::cuda::router {

inline constexpr int kSelectWarps = kSelectThreads / 32;
inline constexpr int kWordsPerThread = kWords / kSelectThreads;
inline constexpr uint32_t kFullWarp = 0xffffffffu;
static_assert(kSelectWarps <= 32 && kWordsPerThread == 2);

struct SelectParams {
  const float* scores;  // [n]
  int n;
  int k;  // top-k; 0: all above `threshold`
  float threshold;
  SelectPlan plan;
  bool range_known;  // state->range, left at zero
  SelectState* state;
  int32_t* index;
  int32_t* count;  // or null
};

struct SelectShared {
  uint32_t histogram[kWords];
  uint32_t keys[kKept][kSelectThreads];
  alignas(16) uint32_t list[kCandidates];  // candidates of all blocks, in whatever order
  bool from_before[kCandidates];           // of blocks before this one
  uint32_t listed, published;
  uint32_t warp[2][kSelectWarps];  // used in turns: others may still read the last one
  uint32_t found[3], smallest;
  uint32_t above_before, inside_before, above_total;
  uint32_t tag;
};

__device__ __forceinline__ uint32_t tag_of(unsigned long long word) { return static_cast<uint32_t>(word >> 32); }

// What is taken: keys above `high`, and the first `need` in order of position of those in low .. high.
struct Threshold {
  uint32_t low, high, need;
  __device__ __forceinline__ bool inside(uint32_t key) const { return key >= low && key <= high; }
};

// The scores of this thread: per_thread of them, 32 apart; those of a warp and of a block are neighbours.
struct Mine {
  const float* scores;
  uint32_t* kept;
  uint32_t first, n;  // positions may lie past n
  int count;
  uint32_t low = 0, high = 0xffffffffu;  // keys are clamped: a range that left one out would have all wait for it

  __device__ Mine(const SelectParams& p, SelectShared& s)
      : scores(p.scores),
        kept(&s.keys[0][threadIdx.x]),
        first((blockIdx.x * kSelectThreads + (threadIdx.x & ~31u)) * static_cast<uint32_t>(p.plan.per_thread) +
              (threadIdx.x & 31)),
        n(static_cast<uint32_t>(p.n)),
        count(p.plan.per_thread) {}
  __device__ __forceinline__ uint32_t position(int j) const { return first + static_cast<uint32_t>(j) * 32; }
  __device__ __forceinline__ float score(int j) const {
    return j < count && position(j) < n ? __ldcg(scores + position(j)) : 0.0f;
  }
  __device__ __forceinline__ uint32_t clamped(float score) const { return min(max(key_of(score), low), high); }
  __device__ __forceinline__ void keep() {
    for (int j = 0; j < min(count, kKept); j += 4) {
      const float a = score(j), b = score(j + 1), c = score(j + 2), d = score(j + 3);
      kept[j * kSelectThreads] = clamped(a), kept[(j + 1) * kSelectThreads] = clamped(b);
      kept[(j + 2) * kSelectThreads] = clamped(c), kept[(j + 3) * kSelectThreads] = clamped(d);
    }
  }
  __device__ __forceinline__ uint32_t key(int j) const {
    return j < kKept ? kept[j * kSelectThreads] : clamped(score(j));
  }
  // body(position, key, whether it exists), by all threads together, in ascending order of position.
  template <typename Body>
  __device__ __forceinline__ void each(const Body& body) const {
#pragma unroll 1
    for (int j = 0; j < count; j += 2) {
      const uint32_t first = key(j), second = key(j + 1);
      body(position(j), first, position(j) < n);
      body(position(j + 1), second, position(j + 1) < n);
    }
  }
};

// Adds this block's keys in t.low .. t.high to the histogram of all blocks. Counting in shared memory first bounds how
// often one address is added to, whatever the keys are.
__device__ __forceinline__ void add_histogram(SelectShared& s, uint32_t* histogram, const Mine& mine,
                                              const Threshold& t, int shift, int packed) {
  mine.each([&](uint32_t, uint32_t key, bool exists) {
    if (!exists || !t.inside(key)) return;
    const uint32_t bin = (key - t.low) >> shift;
    atomicAdd(&s.histogram[bin >> packed], 1u << (bin & packed) * 16);
  });
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kWordsPerThread; ++i) {
    const int word = i * kSelectThreads + static_cast<int>(threadIdx.x);
    const uint32_t count = s.histogram[word];
    if (count != 0) atomicAdd(histogram + word, count), s.histogram[word] = 0;
  }
}

// The bin that holds the `need`-th largest of `total` keys: found = {bin, keys above it, keys in it}. The histogram
// only grows, so it is complete once it holds `total` keys.
__device__ __forceinline__ void find_bin(SelectShared& s, const uint32_t* histogram, int packed, uint32_t total,
                                         uint32_t need) {
  const uint32_t thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
  uint32_t counts[2 * kWordsPerThread], sum, warp_sum, above, seen;  // unpacked: only the even ones
  int turn = 0;
  do {
    const uint2 v = ptx::load_words(histogram + thread * kWordsPerThread);
    counts[0] = packed != 0 ? v.x & 0xffffu : v.x, counts[1] = packed != 0 ? v.x >> 16 : 0;
    counts[2] = packed != 0 ? v.y & 0xffffu : v.y, counts[3] = packed != 0 ? v.y >> 16 : 0;
    sum = counts[0] + counts[1] + counts[2] + counts[3];
    warp_sum = __reduce_add_sync(kFullWarp, sum);
    if (lane == 0) s.warp[turn][warp] = warp_sum;
    __syncthreads();
    const uint32_t other = lane < kSelectWarps ? s.warp[turn][lane] : 0;
    seen = __reduce_add_sync(kFullWarp, other);
    above = __reduce_add_sync(kFullWarp, lane > warp ? other : 0);
    turn ^= 1;
  } while (seen != total);
  if (above < need && need <= above + warp_sum) {
    uint32_t suffix = sum;  // of this lane and those above it
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const uint32_t other = __shfl_down_sync(kFullWarp, suffix, step);
      if (lane + step < 32) suffix += other;
    }
    above += suffix - sum;
#pragma unroll
    for (int i = 2 * kWordsPerThread - 1; i >= 0; --i) {
      if (above < need && need <= above + counts[i]) {
        s.found[0] = (thread * kWordsPerThread * 2 + i) >> (1 - packed), s.found[1] = above, s.found[2] = counts[i];
      }
      above += counts[i];
    }
  }
  __syncthreads();
}

// What find_range() leaves.
struct Search {
  Threshold t;
  int levels;         // histograms that were used
  uint32_t unsorted;  // keys in t.low .. t.high if it takes their order to tell which of them are taken; else 0
};

// Narrows the range of all keys down to the bin of the k-th largest, until few enough keys are in it, all are taken, or
// all are equal.
__device__ __forceinline__ Search find_range(SelectShared& s, const SelectParams& p, const Mine& mine) {
  Search r{{mine.low, mine.high, static_cast<uint32_t>(p.k)}, 0, 0};
  uint32_t total = static_cast<uint32_t>(p.n);
  const int packed = p.n <= kMostPacked ? 1 : 0, bin_bits = kWordBits + packed;
  while (r.t.low != r.t.high) {
    const int bits = 32 - __clz(static_cast<int>(r.t.high - r.t.low));
    const int shift = bits > bin_bits ? bits - bin_bits : 0;
    uint32_t* histogram = p.state->histogram[r.levels++];
    add_histogram(s, histogram, mine, r.t, shift, packed);
    find_bin(s, histogram, packed, total, r.t.need);
    r.t.need -= s.found[1];
    total = s.found[2];
    const uint32_t bottom = r.t.low + (s.found[0] << shift);
    r.t.high = bottom + min(r.t.high - bottom, (1u << shift) - 1u);
    r.t.low = bottom;
    if (r.t.need == total || shift == 0) break;
    if (total <= kCandidates) {
      r.unsorted = total;
      break;
    }
  }
  return r;
}

// s.warp = {keys above the range, keys inside it} of this warp.
__device__ __forceinline__ void count_warp(SelectShared& s, const Mine& mine, const Threshold& t) {
  uint32_t above = 0, inside = 0;
  mine.each([&](uint32_t, uint32_t key, bool exists) {
    above += __popc(__ballot_sync(kFullWarp, exists && key > t.high));
    inside += __popc(__ballot_sync(kFullWarp, exists && t.inside(key)));
  });
  if ((threadIdx.x & 31) == 0) s.warp[0][threadIdx.x >> 5] = above, s.warp[1][threadIdx.x >> 5] = inside;
}

// Tells all blocks this one's counts, and its keys in the range if they are to be compared, in whatever order.
__device__ __forceinline__ void publish(SelectShared& s, const SelectParams& p, const Mine& mine, const Search& r) {
  uint64_t* packet = p.state->packet[blockIdx.x];
  mine.each([&](uint32_t, uint32_t key, bool exists) {
    if (exists && r.unsorted != 0 && r.t.inside(key)) {
      ptx::store_word(packet + 2 + atomicAdd(&s.published, 1u), s.tag, key);
    }
  });
  count_warp(s, mine, r.t);
  __syncthreads();
  if (threadIdx.x >= 32) return;
  const uint32_t above = __reduce_add_sync(kFullWarp, threadIdx.x < kSelectWarps ? s.warp[0][threadIdx.x] : 0);
  const uint32_t inside = __reduce_add_sync(kFullWarp, threadIdx.x < kSelectWarps ? s.warp[1][threadIdx.x] : 0);
  if (threadIdx.x < 2) ptx::store_word(packet + threadIdx.x, s.tag, threadIdx.x == 0 ? above : inside);
}

// Waits for the packets of all blocks. A few threads read one, two words at a time, the first ones before it is known
// whether they count.
__device__ __forceinline__ void gather(SelectShared& s, const SelectParams& p, bool unsorted) {
  const uint32_t parts_log2 = gridDim.x <= kMaxSelectBlocks / 4 ? 4 : gridDim.x <= kMaxSelectBlocks / 2 ? 3 : 2;
  const uint32_t parts = 1u << parts_log2, block = threadIdx.x >> parts_log2, part = threadIdx.x & (parts - 1);
  const uint32_t lane = threadIdx.x & 31;
  const bool exists = block < gridDim.x, before = block < blockIdx.x;
  const uint64_t* packet = p.state->packet[exists ? block : 0];
  const uint32_t tag = s.tag;
  ulonglong2 pair = ptx::load_pair(packet + 2 * part);
  if (exists && part == 0) {
    while (tag_of(pair.x) != tag || tag_of(pair.y) != tag) pair = ptx::load_pair(packet);
  }
  const auto above = exists && part == 0 ? static_cast<uint32_t>(pair.x) : 0;
  uint32_t inside = exists && part == 0 ? static_cast<uint32_t>(pair.y) : 0;
  const uint32_t above_before = __reduce_add_sync(kFullWarp, before ? above : 0);
  const uint32_t inside_before = __reduce_add_sync(kFullWarp, before ? inside : 0);
  const uint32_t above_total = __reduce_add_sync(kFullWarp, above);
  if (lane == 0 && above_total + inside_before != 0) {
    atomicAdd(&s.above_before, above_before), atomicAdd(&s.inside_before, inside_before);
    atomicAdd(&s.above_total, above_total);
  }
  inside = __shfl_sync(kFullWarp, inside, lane & ~(parts - 1));
  if (unsorted && exists) {
#pragma unroll 1
    for (uint32_t i = part == 0 ? parts : part; 2 * (i - 1) < inside; i += parts) {
      const uint32_t at = 2 * (i - 1);
      const bool both = at + 1 < inside;
      if (i >= parts) pair = ptx::load_pair(packet + 2 * i);
      while (tag_of(pair.x) != tag || (both && tag_of(pair.y) != tag)) pair = ptx::load_pair(packet + 2 * i);
      const uint32_t to = atomicAdd(&s.listed, both ? 2u : 1u);
      s.list[to] = static_cast<uint32_t>(pair.x), s.from_before[to] = before;
      if (both) s.list[to + 1] = static_cast<uint32_t>(pair.y), s.from_before[to + 1] = before;
    }
  }
  __syncthreads();
}

// Finds the need-th largest of the candidates by counting, so their order in the list does not matter: four lanes for
// each candidate. The range becomes that key, and the candidates of blocks before join the sums.
__device__ __forceinline__ void settle(SelectShared& s, Threshold& t, uint32_t candidates) {
  const uint32_t thread = threadIdx.x, lane = thread & 31, warp = thread >> 5, part = lane & 3;
  const uint4* list = reinterpret_cast<const uint4*>(s.list);  // zero, which is above nothing, past the candidates
  uint32_t smallest = 0xffffffffu;                             // of this lane's keys with fewer than `need` above them
#pragma unroll 1
  for (uint32_t base = warp * 8; base < candidates; base += kSelectThreads / 4) {
    const uint32_t key = s.list[base + (lane >> 2)];
    uint32_t above = 0;
#pragma unroll 4
    for (uint32_t i = part; i * 4 < candidates; i += 4) {
      const uint4 other = list[i];
      above += (other.x > key) + (other.y > key) + (other.z > key) + (other.w > key);
    }
    above += __shfl_xor_sync(kFullWarp, above, 1);
    above += __shfl_xor_sync(kFullWarp, above, 2);
    if (base + (lane >> 2) < candidates && above < t.need) smallest = min(smallest, key);
  }
  smallest = __reduce_min_sync(kFullWarp, smallest);
  if (lane == 0) atomicMin(&s.smallest, smallest);
  if (thread == 0) s.inside_before = 0;
  __syncthreads();
  t.low = t.high = s.smallest;
  t.need -= __syncthreads_count(thread < candidates && s.list[thread] > t.high);
  const bool counts = thread < candidates && s.from_before[thread];
  const uint32_t above = __popc(__ballot_sync(kFullWarp, counts && s.list[thread] > t.high));
  const uint32_t equal = __popc(__ballot_sync(kFullWarp, counts && s.list[thread] == t.high));
  if (lane == 0 && above + equal != 0) atomicAdd(&s.above_before, above), atomicAdd(&s.inside_before, equal);
}

// Writes this block's positions in ascending order.
__device__ __forceinline__ void write_positions(const SelectShared& s, const SelectParams& p, const Mine& mine,
                                                const Threshold& t) {
  const uint32_t lane = threadIdx.x & 31, warp = threadIdx.x >> 5, lanes_before = (1u << lane) - 1u;
  uint32_t above = s.above_before + __reduce_add_sync(kFullWarp, lane < warp ? s.warp[0][lane] : 0);
  uint32_t inside = s.inside_before + __reduce_add_sync(kFullWarp, lane < warp ? s.warp[1][lane] : 0);
  mine.each([&](uint32_t position, uint32_t key, bool exists) {
    const bool is_above = exists && key > t.high, is_inside = exists && t.inside(key);
    const uint32_t mask_above = __ballot_sync(kFullWarp, is_above);
    const uint32_t mask_inside = __ballot_sync(kFullWarp, is_inside);
    const uint32_t my_inside = inside + __popc(mask_inside & lanes_before);
    const uint32_t place = above + __popc(mask_above & lanes_before) + min(my_inside, t.need);
    if (is_above || (is_inside && my_inside < t.need)) p.index[place] = static_cast<int32_t>(position);
    above += __popc(mask_above), inside += __popc(mask_inside);
  });
}

// Every block has published, so none reads the histograms, the range or the launch's number any more.
__device__ __forceinline__ void reset_state(const SelectParams& p, int levels, uint32_t tag) {
#pragma unroll 1
  for (uint32_t i = blockIdx.x * kSelectThreads + threadIdx.x; i < static_cast<uint32_t>(levels * kWords);
       i += gridDim.x * kSelectThreads) {
    (&p.state->histogram[0][0])[i] = 0;
  }
  if (blockIdx.x != 0) return;
  if (threadIdx.x < 2) p.state->range[threadIdx.x] = 0;
  if (threadIdx.x == 2) p.state->launches = tag;
}

__global__ void __launch_bounds__(kSelectThreads, 2) select_kernel(const SelectParams p) {
  __shared__ SelectShared s;
  const uint32_t thread = threadIdx.x;
#pragma unroll
  for (uint32_t i = 0; i < kWords; i += kSelectThreads) s.histogram[i + thread] = 0;
  if (thread < kCandidates) s.list[thread] = 0;
  // What was streamed through L2 since the launch before has thrown these lines out.
  if (thread < kWords / 32) ptx::prefetch(&p.state->histogram[0][thread * 32]);
  if (thread < gridDim.x) ptx::prefetch(p.state->packet[thread]);
  if (thread == 0) {
    s.smallest = 0xffffffffu;
    s.listed = s.published = s.above_before = s.inside_before = s.above_total = 0;
  }
  __syncthreads();
  wait_for_dependencies();
  uint32_t launches = 0;
  if (thread == 0) launches = __ldcg(&p.state->launches);
  Mine mine(p, s);
  if (p.range_known) mine.low = ~__ldcg(p.state->range), mine.high = __ldcg(p.state->range + 1);
  mine.keep();
  if (thread == 0) s.tag = launches + 1;
  Search r{{0xffffffffu, 0, 0}, 0, 0};
  if (p.k > 0) {
    r = find_range(s, p, mine);
  } else {
    r.t.high = key_of(p.threshold);  // low stays above it: nothing else is taken
  }
  __syncthreads();  // s.tag
  publish(s, p, mine, r);
  gather(s, p, r.unsorted != 0);
  if (r.unsorted != 0) {
    settle(s, r.t, r.unsorted);
    count_warp(s, mine, r.t);
    __syncthreads();
  }
  write_positions(s, p, mine, r.t);
  if (p.count != nullptr && blockIdx.x == 0 && thread == 0) *p.count = static_cast<int32_t>(s.above_total);
  reset_state(p, r.levels, s.tag);
}

}  // namespace polar::cuda::router
