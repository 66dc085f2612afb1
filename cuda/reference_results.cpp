#include <algorithm>
#include <set>

#include "reference_results.h"

namespace polar::cuda {
namespace {

size_t pair_bytes(int64_t rows, int64_t columns) {
  return align_up(static_cast<size_t>(rows * columns) * sizeof(double)) +
         align_up(static_cast<size_t>(rows * columns) * sizeof(float));
}

}  // namespace

ReferencePair::ReferencePair(int64_t rows, int64_t columns)
    : exact(static_cast<size_t>(rows * columns) * sizeof(double)),
      naive(static_cast<size_t>(rows * columns) * sizeof(float)),
      rows(rows),
      columns(columns) {}

size_t ReferenceResults::memory_bytes(const PolarProblem& p, const std::vector<PolarCandidate>& candidates) {
  if (is_attention(p))
    return pair_bytes(p.batch_size * p.num_qo_heads, p.head_dim) + reference_attention_scratch_bytes(p);
  size_t bytes = pair_bytes(p.batch_size, p.intermediate_size);
  if (!has_down(p)) return bytes;
  std::set<std::vector<int32_t>> sets;
  for (const PolarCandidate& candidate : candidates) sets.insert(neuron_index(p, candidate, 0));
  return bytes + sets.size() *
                     (pair_bytes(p.batch_size, p.hidden_size) + align_up(static_cast<size_t>(p.intermediate_size) * 4));
}

const ReferencePair& ReferenceResults::attention() {
  if (attention_.rows == 0) {
    ReferencePair pair(problem_.batch_size * problem_.num_qo_heads, problem_.head_dim);
    const DeviceBuffer scratch(reference_attention_scratch_bytes(problem_));
    launch_reference_attention(problem_, inputs_.at(Tensor::kQuery, 0), inputs_.at(Tensor::kKey, 0),
                               inputs_.at(Tensor::kValue, 0), pair.exact.as<double>(), pair.naive.as<float>(),
                               scratch.as(), stream_);
    CHECK_CUDA(cudaStreamSynchronize(stream_));
    attention_ = std::move(pair);
  }
  return attention_;
}

const ReferencePair& ReferenceResults::hidden() {
  if (hidden_.rows == 0) {
    ReferencePair pair(problem_.batch_size, problem_.intermediate_size);
    if (has_up(problem_)) {
      launch_reference_mlp_up(problem_, inputs_.at(Tensor::kInput, 0), inputs_.at(Tensor::kUp, 0),
                              inputs_.at(Tensor::kUpBias, 0), pair.exact.as<double>(), pair.naive.as<float>(), stream_);
    } else {
      launch_reference_widen(problem_, inputs_.at(Tensor::kHidden, 0), pair.rows * pair.columns,
                             pair.exact.as<double>(), pair.naive.as<float>(), stream_);
    }
    CHECK_CUDA(cudaStreamSynchronize(stream_));
    hidden_ = std::move(pair);
  }
  return hidden_;
}

const ReferencePair& ReferenceResults::down(const std::vector<int32_t>& neurons) {
  const auto found = down_.find(neurons);
  if (found != down_.end()) return found->second;
  const ReferencePair& input = hidden();
  ReferencePair pair(problem_.batch_size, problem_.hidden_size);
  const DeviceBuffer index = to_device(neurons);
  launch_reference_mlp_down(problem_, input.exact.as<double>(), input.naive.as<float>(), inputs_.at(Tensor::kDown, 0),
                            inputs_.at(Tensor::kDownBias, 0), index.as<int32_t>(), static_cast<int64_t>(neurons.size()),
                            pair.exact.as<double>(), pair.naive.as<float>(), stream_);
  CHECK_CUDA(cudaStreamSynchronize(stream_));
  return down_.emplace(neurons, std::move(pair)).first->second;
}

}  // namespace polar::cuda
