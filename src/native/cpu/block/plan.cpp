#include "plan.h"

#include <algorithm>
#include <cmath>

#include "../../common/block.h"
#include "../../common/problem.h"
#include "../session.h"

namespace polar::cpu {
namespace {

bool is_router_tensor(Tensor tensor) {
  return tensor == Tensor::kAttentionRouter || tensor == Tensor::kMlpRouterDown || tensor == Tensor::kMlpRouterUp;
}

bool needed(const PolarProblem& p, const std::vector<PolarCandidate>& candidates, Tensor tensor) {
  if (!is_router_tensor(tensor)) return true;
  return std::any_of(candidates.begin(), candidates.end(), [&](const PolarCandidate& c) {
    return tensor == Tensor::kAttentionRouter ? selects_groups(p, c) : selects_neurons(p, c);
  });
}

double bytes_of(const PolarProblem& p, Tensor tensor) { return tensor_spec(p, tensor).bytes(); }

double sum_bytes(const std::vector<TensorSpec>& specs) {
  double bytes = 0;
  for (const TensorSpec& s : specs) bytes += s.bytes();
  return bytes;
}

}  // namespace

std::vector<TensorSpec> layer_specs(const PolarProblem& p, const std::vector<PolarCandidate>& candidates) {
  std::vector<TensorSpec> specs;
  for (const LayerField& field : kLayerFields) {
    const TensorSpec spec = tensor_spec(p, field.tensor);
    if (spec.elements > 0 && needed(p, candidates, field.tensor)) specs.push_back(spec);
  }
  specs.push_back(tensor_spec(p, Tensor::kKey));
  specs.push_back(tensor_spec(p, Tensor::kValue));
  return specs;
}

std::vector<TensorSpec> end_specs(const PolarProblem& p) {
  std::vector<TensorSpec> specs;
  for (const EndField& field : kEndFields) {
    const TensorSpec spec = tensor_spec(p, field.tensor);
    if (spec.elements > 0) specs.push_back(spec);
  }
  return specs;
}

double touched_layer_bytes(const PolarProblem& p, const PolarCandidate& candidate, int64_t layer) {
  const auto groups = static_cast<double>(layer_groups(p, candidate, layer));
  const auto neurons = static_cast<double>(layer_neurons(p, candidate, layer));
  const double kv = 4.0 * groups * static_cast<double>(p.batch_size * p.kv_len * p.head_dim);
  const double mlp = 2.0 * neurons * static_cast<double>((up_rows(p) + 1) * p.hidden_size);
  double bytes = kv + mlp + bytes_of(p, Tensor::kQkv) + bytes_of(p, Tensor::kOut);
  const bool dense_layer = p.scope == POLAR_SCOPE_STEP && layer == 0;
  if (selects_groups(p, candidate) && !dense_layer) bytes += bytes_of(p, Tensor::kAttentionRouter);
  if (selects_neurons(p, candidate)) bytes += bytes_of(p, Tensor::kMlpRouterDown) + bytes_of(p, Tensor::kMlpRouterUp);
  return bytes;
}

double least_layer_bytes(const PolarProblem& p, const std::vector<PolarCandidate>& candidates) {
  double least = INFINITY;
  for (const PolarCandidate& c : candidates) {
    for (int64_t layer = 0; layer < p.num_layers; ++layer) least = std::min(least, touched_layer_bytes(p, c, layer));
  }
  return least;
}

ResidentPlan plan_resident(const PolarProblem& p, const std::vector<PolarCandidate>& candidates, bool cold,
                           double cache_bytes, double free_bytes) {
  const double least = least_layer_bytes(p, candidates);
  const double copy = sum_bytes(layer_specs(p, candidates));
  ResidentPlan plan{};
  plan.layers = cold ? plan_copies(copy, least, cache_bytes, free_bytes)
                     : static_cast<int64_t>(std::clamp(std::floor(kRotationShare * free_bytes / copy), 1.0,
                                                       static_cast<double>(p.num_layers)));
  plan.layer_distance = least * static_cast<double>(plan.layers);
  plan.end_distance =
      p.scope == POLAR_SCOPE_STEP ? least * static_cast<double>(p.num_layers) + sum_bytes(end_specs(p)) : INFINITY;
  return plan;
}

}  // namespace polar::cpu
