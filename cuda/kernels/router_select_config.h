// How the selection over neurons is cut up: pure functions of sizes and device facts.
#pragma once

#include <cstddef>
#include <cstdint>

#include "router_config.h"

namespace polar::cuda::router {

inline constexpr int kSelectThreads = 512;
inline constexpr int kMaxSelectBlocks = 128;  // a block's packet is read by at least four threads of every block
inline constexpr int kLeastPerThread = 2;     // an even number; fewer blocks add to the histogram less often
inline constexpr int kKept = 8;               // scores per thread kept in shared memory; further ones are read again
// A histogram is 1024 words: two bins of 16 bits in each as long as no count can exceed that, else one.
inline constexpr int kWordBits = 10;
inline constexpr int kWords = 1 << kWordBits;
inline constexpr int kMostPacked = 65535;
inline constexpr int kLevels = 4;  // histograms that 32 bits of key take at most
static_assert(kWordBits * kLevels >= 32);
inline constexpr int kCandidates = 256;  // so few keys left are compared with each other instead
static_assert(kSelectThreads >= 4 * kMaxSelectBlocks && kSelectThreads >= kCandidates);

// What a block tells all others: how many of its keys are taken for certain, how many may be, and which those are.
// Every word carries the number of the launch in its upper half, so whoever finds that there need not wait for anything
// else. [total of one launch: at most kCandidates candidates]
inline constexpr int kPacketWords = (2 + kCandidates + 15) / 16 * 16;  // whole lines

// In the workspace, zero before the first launch. A launch leaves it ready for the next.
struct SelectState {
  alignas(256) uint32_t range[2];  // {max of ~key, max of key} of all scores where a kernel before found it
  uint32_t launches;
  alignas(256) uint32_t histogram[kLevels][kWords];  // zero between launches
  alignas(256) uint64_t packet[kMaxSelectBlocks][kPacketWords];
};

struct SelectPlan {
  int blocks;
  int per_thread;  // scores, an even number; a block has kSelectThreads * per_thread neighbouring ones
};

// Blocks wait for each other, so all must fit on the device at once: at most one per SM.
constexpr SelectPlan plan_select(int64_t n, int sm_count) {
  const int64_t most = sm_count < kMaxSelectBlocks ? sm_count : kMaxSelectBlocks;
  const int64_t per_thread = divide_up(n, most * kSelectThreads * kLeastPerThread) * kLeastPerThread;
  return {static_cast<int>(divide_up(n, per_thread * kSelectThreads)), static_cast<int>(per_thread)};
}

}  // namespace polar::cuda::router
