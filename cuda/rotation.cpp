#include "rotation.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "device/alignment.h"

namespace polar::cuda {
namespace {

// Every sample walks through all copies, one run each: more than this would make graphs of many thousand nodes.
constexpr int64_t kMaxCopies = 1024;
constexpr double kCachesBeyond = 5.0;

}  // namespace

size_t tensor_bytes(const PolarProblem& p, Tensor tensor) {
  return align_up(static_cast<size_t>(tensor_elements(p, tensor)) * 2);
}

size_t input_bytes(const PolarProblem& p) {
  size_t bytes = 0;
  for (const Tensor tensor : kInputTensors) bytes += tensor_bytes(p, tensor);
  return bytes;
}

double streamed_bytes(const PolarProblem& p, const PolarCandidate& candidate) {
  if (is_attention(p)) {
    const int64_t groups = selects_groups(p, candidate) ? candidate.active_groups : p.num_kv_heads;
    return 2.0 * 2.0 * static_cast<double>(p.batch_size * groups * p.kv_len * p.head_dim);
  }
  const int64_t neurons = selects_neurons(p, candidate) ? candidate.active_neurons : p.intermediate_size;
  const int64_t rows = (has_up(p) ? up_rows(p) : 0) + (has_down(p) ? 1 : 0);
  return 2.0 * static_cast<double>(neurons * rows * p.hidden_size);
}

double least_streamed_bytes(const PolarProblem& p, const std::vector<PolarCandidate>& candidates) {
  double least = 0;
  for (const PolarCandidate& candidate : candidates) {
    if (std::string_view(candidate.kernel).starts_with("instrument/")) continue;
    const double bytes = streamed_bytes(p, candidate);
    least = least == 0 ? bytes : std::min(least, bytes);
  }
  return least;
}

int64_t copies_that_fit(double available_bytes, double required_bytes, double per_copy_bytes) {
  const double spare = available_bytes - required_bytes;
  return spare > 0 ? 1 + static_cast<int64_t>(spare / per_copy_bytes) : 1;
}

Rotation rotation_over(double bytes, size_t l2_bytes, int64_t fit) {
  const double wanted = std::ceil(kCachesBeyond * static_cast<double>(l2_bytes) / bytes);
  const double allowed = static_cast<double>(std::clamp<int64_t>(fit, 1, kMaxCopies));
  return {static_cast<int64_t>(std::min(wanted, allowed)), wanted <= allowed};
}

Rotation plan_rotation(const PolarProblem& p, const std::vector<PolarCandidate>& candidates,
                       const PolarOptions& options, size_t l2_bytes, int64_t fit) {
  const double least = least_streamed_bytes(p, candidates);
  if (options.cold_cache == 0 || options.mode == POLAR_MODE_VERIFY || least == 0) return {1, true};
  return rotation_over(least, l2_bytes, fit);
}

}  // namespace polar::cuda
