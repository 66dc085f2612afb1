// How many copies of the inputs a cold measurement rotates over: pure functions of the problem and of sizes, so that
// they are tested without a device.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../src/native/common/problem.h"

namespace polar::cuda {

inline constexpr std::array kInputTensors = {Tensor::kQuery, Tensor::kKey,      Tensor::kValue,
                                             Tensor::kInput, Tensor::kUp,       Tensor::kUpBias,
                                             Tensor::kDown,  Tensor::kDownBias, Tensor::kHidden};

// Device bytes of one copy of a tensor, 0 where the problem has none; a multiple of kAlignment.
size_t tensor_bytes(const PolarProblem& p, Tensor tensor);

// Device bytes of one copy of all tensors.
size_t input_bytes(const PolarProblem& p);

// Bytes that one run of the candidate reads of the tensors that rotation multiplies: KV of the active groups, weights
// of the active neurons.
double streamed_bytes(const PolarProblem& p, const PolarCandidate& candidate);

// The least of them over the candidates; 0 where none reads any input (instruments of the test build).
double least_streamed_bytes(const PolarProblem& p, const std::vector<PolarCandidate>& candidates);

// Copies for which there is memory, at least 1: `required_bytes` holds one copy and everything that is there once,
// `per_copy_bytes` is what each further copy adds.
int64_t copies_that_fit(double available_bytes, double required_bytes, double per_copy_bytes);

// How many copies make the distinct bytes of the least candidate exceed 5 times the cache; `fit` copies fit in memory.
struct Rotation {
  int64_t copies;
  bool complete;  // false: memory or the limit on graph nodes allowed fewer
};
// The same for what reads `bytes` of each copy.
Rotation rotation_over(double bytes, size_t l2_bytes, int64_t fit);
Rotation plan_rotation(const PolarProblem& p, const std::vector<PolarCandidate>& candidates,
                       const PolarOptions& options, size_t l2_bytes, int64_t fit);

}  // namespace polar::cuda
