// Which tensors a resident layer holds and how many distinct layers a cell keeps: pure functions of sizes, tested
// without a device.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../../src/native/common/problem.h"

namespace polar::cuda::step {

inline constexpr std::array kLayerTensors = {
    Tensor::kKey,           Tensor::kValue,       Tensor::kNorm1Scale,
    Tensor::kNorm1Bias,     Tensor::kQkv,         Tensor::kQkvBias,
    Tensor::kOut,           Tensor::kOutBias,     Tensor::kNorm2Scale,
    Tensor::kNorm2Bias,     Tensor::kUp,          Tensor::kUpBias,
    Tensor::kDown,          Tensor::kDownBias,    Tensor::kAttentionRouter,
    Tensor::kMlpRouterDown, Tensor::kMlpRouterUp,
};
// There once, whatever the number of layers.
inline constexpr std::array kSharedTensors = {Tensor::kInput, Tensor::kFinalNormScale, Tensor::kFinalNormBias,
                                              Tensor::kHead};

// Device bytes of one resident layer (weights, KV cache, routers), and of the tensors that are there once.
size_t layer_bytes(const PolarProblem& p);
size_t shared_bytes(const PolarProblem& p);

// Bytes that the leanest layer of the leanest candidate reads: KV of the active groups, dense projections, weights of
// the active neurons.
double least_layer_bytes(const PolarProblem& p, const std::vector<PolarCandidate>& candidates);

struct Residency {
  int64_t layers;
  bool complete;  // false: memory did not allow enough distinct bytes between two uses of the same layer
};

// Distinct layers: all of the model where they fit, whole models more where 5 times the L2 cache ask for it (cold
// cache), else as many as `fit`. Layer l of run r uses resident layer (r L + l) mod layers.
Residency plan_residency(const PolarProblem& p, const std::vector<PolarCandidate>& candidates,
                         const PolarOptions& options, size_t l2_bytes, int64_t fit);

// Runs of a sample: at least one walk over all resident layers, so that no sample begins on warm bytes.
int64_t runs_per_sample(const PolarProblem& p, int64_t resident_layers, int64_t wanted);

}  // namespace polar::cuda::step
