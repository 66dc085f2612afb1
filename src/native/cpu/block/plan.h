// What a layer or step problem needs in memory, and how many distinct layers its runs cycle through. No device, no
// allocation.
#pragma once

#include <vector>

#include "../../abi.h"
#include "../inputs.h"

namespace polar::cpu {

// Weights and KV cache of one layer; routers only if a candidate has them.
std::vector<TensorSpec> layer_specs(const PolarProblem& p, const std::vector<PolarCandidate>& candidates);
// Final norm and head (empty in a layer problem).
std::vector<TensorSpec> end_specs(const PolarProblem& p);

// Bytes of weights and KV that layer `layer` of a run of the candidate reads.
double touched_layer_bytes(const PolarProblem& p, const PolarCandidate& candidate, int64_t layer);
// Of all candidates and layers the fewest.
double least_layer_bytes(const PolarProblem& p, const std::vector<PolarCandidate>& candidates);

struct ResidentPlan {
  int64_t layers;  // distinct layers; layer l of run r uses (r L + l) mod layers
  // Bytes that a run reads between two uses of the same layer, and between two uses of the head (infinity in a layer
  // problem).
  double layer_distance;
  double end_distance;
};
// cold: as many layers as put kRotationCaches caches between two uses of one, else one per layer of the model; limited
// to what `free_bytes` allows, at least 1.
ResidentPlan plan_resident(const PolarProblem& p, const std::vector<PolarCandidate>& candidates, bool cold,
                           double cache_bytes, double free_bytes);

}  // namespace polar::cpu
