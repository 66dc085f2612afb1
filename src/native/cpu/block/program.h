// A layer and the end of a decode step as sequences of kernels, on tensors that are already in place.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "../../common/block.h"
#include "../kernels/kernel.h"

namespace polar::cpu {

// Parts of a step, in the order and by the names of PolarSink.part.
enum class Part { kAttention, kQkv, kOutProj, kMlp, kRouters, kOther };
inline constexpr std::array<const char*, 6> kPartNames = {"attention", "qkv", "out-proj", "mlp", "routers", "other"};
using PartTimes = std::array<double, kPartNames.size()>;

// Gives the time since the last lap to a part, so that the parts sum to the whole. Without `times` it does nothing.
class PartClock {
 public:
  explicit PartClock(PartTimes* times) : times_(times) {
    if (times_ != nullptr) last_ = Clock::now();
  }
  void lap(Part part) {
    if (times_ == nullptr) return;
    const auto now = Clock::now();
    (*times_)[static_cast<size_t>(part)] += std::chrono::duration<double, std::nano>(now - last_).count();
    last_ = now;
  }

 private:
  using Clock = std::chrono::steady_clock;
  PartTimes* times_;
  Clock::time_point last_{};
};

// How many groups and neurons one layer computes, and whether routers choose them.
struct LayerCounts {
  int64_t groups;
  int64_t neurons;
  bool routes_groups;
  bool routes_neurons;
};
LayerCounts layer_counts(const PolarProblem& p, const PolarCandidate& candidate, int64_t layer);

// What a problem fixes and no run changes.
struct BlockConstants {
  explicit BlockConstants(const PolarProblem& p);
  std::vector<int32_t> all_groups;  // [B, H_kv]
  std::vector<float> cosine, sine;  // [d_h / 2]; empty without RoPE
};

// Every buffer of a run, carved from one workspace whose contents are arbitrary before it. After a layer its index
// lists and scores stand here.
struct BlockSpace {
  uint16_t* a;            // [B, d], normed input of the block that runs
  uint16_t* qkv;          // [B, (H + 2 H_kv) d_h]
  uint16_t* q;            // [B, H, d_h]
  uint16_t* attention;    // [B, H, d_h]
  uint16_t* y;            // [B, d], after the attention block
  uint16_t* out[2];       // [B, d], of even and odd layers
  float* group_scores;    // [B, H_kv]
  int32_t* group_index;   // [B, active groups]
  float* neuron_scores;   // [D]
  int32_t* neuron_index;  // [active neurons]
  float* logits;          // [B, V]
  int32_t* token;         // [B]
  std::byte* scratch;     // of the kernels, one after another
};
size_t block_space_bytes(const PolarProblem& p, int threads);
BlockSpace carve_block_space(const PolarProblem& p, int threads, std::byte* workspace);

// out = layer(x); x and out [B, d] are different buffers. launch.workspace is not used, launch.skip_tile reaches
// attention and MLP.
void run_layer(const Launch& launch, const LayerTensors& t, const LayerCounts& counts, const BlockConstants& constants,
               const BlockSpace& s, const uint16_t* x, uint16_t* out, PartClock& clock);

// Final norm, logits and greedy tokens into s.
void run_end(const Launch& launch, const EndTensors& t, const BlockSpace& s, const uint16_t* x, PartClock& clock);

}  // namespace polar::cpu
