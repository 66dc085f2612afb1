#include "residency.h"

#include <algorithm>
#include <cmath>

#include "../rotation.h"

namespace polar::cuda::step {
namespace {

constexpr double kCachesBeyond = 5.0;
constexpr int64_t kMaxRuns = 4096;      // per graph
constexpr int64_t kMaxResident = 4096;  // some ten graph nodes each

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

double bytes_of_layer(const PolarProblem& p, int64_t groups, int64_t neurons) {
  const double kv = 2.0 * static_cast<double>(p.batch_size * groups * p.kv_len * p.head_dim);
  const double dense = static_cast<double>((qkv_columns(p) + p.num_qo_heads * p.head_dim) * p.hidden_size);
  const double mlp = static_cast<double>(neurons * (up_rows(p) + 1) * p.hidden_size);
  return 2.0 * (kv + dense + mlp);
}

}  // namespace

size_t layer_bytes(const PolarProblem& p) {
  size_t bytes = 0;
  for (const Tensor tensor : kLayerTensors) bytes += tensor_bytes(p, tensor);
  return bytes;
}

size_t shared_bytes(const PolarProblem& p) {
  size_t bytes = 0;
  for (const Tensor tensor : kSharedTensors) bytes += tensor_bytes(p, tensor);
  return bytes;
}

double least_layer_bytes(const PolarProblem& p, const std::vector<PolarCandidate>& candidates) {
  double least = INFINITY;
  for (const PolarCandidate& candidate : candidates) {
    for (int64_t layer = 0; layer < p.num_layers; ++layer) {
      least = std::min(least, bytes_of_layer(p, layer_groups(p, candidate, layer), layer_neurons(p, candidate, layer)));
    }
  }
  return least;
}

Residency plan_residency(const PolarProblem& p, const std::vector<PolarCandidate>& candidates,
                         const PolarOptions& options, size_t l2_bytes, int64_t fit) {
  const int64_t model = p.num_layers;
  if (options.cold_cache == 0 || options.mode == POLAR_MODE_VERIFY) return {std::min(model, fit), true};
  const double least = least_layer_bytes(p, candidates);
  const int64_t beyond = static_cast<int64_t>(std::ceil(kCachesBeyond * static_cast<double>(l2_bytes) / least));
  const int64_t wanted = ceil_div(std::max(model, beyond), model) * model;
  const int64_t limit = std::max(std::min(fit, std::max(kMaxResident, model)), int64_t{1});
  if (wanted <= limit) return {wanted, true};
  // Whole models where at least one fits, so that every run of a sample costs the same.
  const int64_t layers = limit >= model ? limit / model * model : limit;
  return {layers, layers >= beyond};
}

int64_t runs_per_sample(const PolarProblem& p, int64_t resident_layers, int64_t wanted) {
  const int64_t walk = ceil_div(resident_layers, p.num_layers);
  const int64_t most = std::max<int64_t>(1, kMaxRuns / walk);
  return std::clamp<int64_t>(ceil_div(wanted, walk), 1, most) * walk;
}

}  // namespace polar::cuda::step
