// Selection of head groups for attention: the k largest scores of every sequence, positions ascend.
#pragma once

#include "../device/dependent.cuh"
#include "router_key.cuh"

namespace polar::cuda::router {

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
