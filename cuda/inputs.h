// The inputs of one problem on the device: every tensor in `copies` versions with different random values, which cold
// measurements rotate over.
#pragma once

#include <array>
#include <vector>

#include "../src/native/common/problem.h"
#include "device/memory.h"

namespace polar::cuda {

inline constexpr std::array kInputTensors = {Tensor::kQuery, Tensor::kKey,      Tensor::kValue,
                                             Tensor::kInput, Tensor::kUp,       Tensor::kUpBias,
                                             Tensor::kDown,  Tensor::kDownBias, Tensor::kHidden};

class Inputs {
 public:
  Inputs() = default;
  // Allocates and fills on `stream`; copy c holds random_value(stream_key(seed, tensor, c), i, scale), K and V are NaN
  // past kv_len.
  Inputs(const PolarProblem& p, int64_t copies, cudaStream_t stream);

  // Bytes of one copy of all tensors.
  static size_t copy_bytes(const PolarProblem& p);

  // Null where the problem has no such tensor.
  const void* at(Tensor tensor, int64_t copy) const;
  int64_t copies() const { return copies_; }

 private:
  struct Arena {
    DeviceBuffer memory;
    size_t stride = 0;  // bytes between copies
  };
  int64_t copies_ = 0;
  std::array<Arena, kInputTensors.size()> arenas_;
};

// Bytes that one run of the candidate reads of the tensors that rotation multiplies: KV of the active groups, weights
// of the active neurons.
double streamed_bytes(const PolarProblem& p, const PolarCandidate& candidate);

// The least of them over the candidates; 0 where none reads any input (instruments of the test build).
double least_streamed_bytes(const PolarProblem& p, const std::vector<PolarCandidate>& candidates);

// How many copies make the distinct bytes of the least candidate exceed 5 times the cache; `fit` copies fit in memory.
struct Rotation {
  int64_t copies;
  bool complete;  // false: memory or the limit on graph nodes allowed fewer
};
Rotation plan_rotation(const PolarProblem& p, const std::vector<PolarCandidate>& candidates,
                       const PolarOptions& options, size_t l2_bytes, int64_t fit);

}  // namespace polar::cuda
