// Rows of unselected groups are zeroed by a warp of their own, while the others stream.
#pragma once

#include "attention_layout.cuh"

namespace polar::cuda::attention {

__device__ __forceinline__ bool selected(const int32_t* index, int count, int group) {
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
template <typename S>
__device__ __forceinline__ void zero_unselected(const AttentionParams& p) {
  if (p.group_index == nullptr || p.units_per_sequence == p.num_groups) return;
  const int lane = threadIdx.x % 32;
  const int64_t pairs = p.batch_size * p.num_groups;
  const int64_t elements = static_cast<int64_t>(p.heads_per_unit) * S::kHeadDim;
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
      uint4* rows =
          reinterpret_cast<uint4*>(static_cast<typename S::Element*>(p.out) + (first + __ffs(rest) - 1) * elements);
      for (int i = lane; i < elements / 8; i += 32) rows[i] = make_uint4(0u, 0u, 0u, 0u);
    }
  }
}

}  // namespace polar::cuda::attention
