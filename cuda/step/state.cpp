#include "state.h"

#include <algorithm>
#include <cmath>

#include "../device/fill.h"
#include "kernels.h"
#include "layer_sequence.h"
#include "reference_step.h"

namespace polar::cuda::step {
namespace {

int64_t round_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

ProjectionShape up_form(const PolarProblem& p, int64_t columns, int64_t k, bool bias) {
  return {mlp::GemmOp::kUp, p.dtype, p.batch_size, columns, k, POLAR_IDENTITY, false, bias};
}
ProjectionShape qkv_shape(const PolarProblem& p) { return up_form(p, qkv_columns(p), p.hidden_size, p.qkv_bias != 0); }
// The biases of out and down projection are added by the kernel behind them, with the residual.
ProjectionShape out_shape(const PolarProblem& p) {
  return up_form(p, p.hidden_size, p.num_qo_heads * p.head_dim, false);
}
ProjectionShape head_shape(const PolarProblem& p) { return up_form(p, p.vocab_size, p.hidden_size, false); }
ProjectionShape up_shape(const PolarProblem& p) {
  return {mlp::GemmOp::kUp, p.dtype,      p.batch_size, p.intermediate_size,
          p.hidden_size,    p.activation, p.gated != 0, p.mlp_bias != 0};
}
ProjectionShape down_shape(const PolarProblem& p) {
  return {mlp::GemmOp::kDown, p.dtype, p.batch_size, p.hidden_size, p.intermediate_size, POLAR_IDENTITY, false, false};
}

// Deals out pieces of one block of memory; with a null base it only counts.
class Carver {
 public:
  explicit Carver(char* base) : base_(base) {}
  void* halves(int64_t count) { return take(static_cast<size_t>(count) * 2); }
  template <typename T>
  T* words(int64_t count) {
    return static_cast<T*>(take(static_cast<size_t>(count) * 4));
  }
  size_t used() const { return used_; }

 private:
  void* take(size_t bytes) {
    void* at = base_ == nullptr ? nullptr : base_ + used_;
    used_ += align_up(bytes);
    return at;
  }
  char* base_;
  size_t used_ = 0;
};

// Returns the bytes of the 16-bit tensors, which come first.
size_t carve(const PolarProblem& p, Carver& carver, Activations& at) {
  const int64_t b = p.batch_size, d = p.hidden_size, heads = p.num_qo_heads * p.head_dim;
  at.x = carver.halves(b * d);
  at.a = carver.halves(b * d);
  at.qkv = carver.halves(b * qkv_columns(p));
  at.q = carver.halves(b * heads);
  at.attention = carver.halves(b * heads);
  at.projected = carver.halves(b * d);
  at.y = carver.halves(b * d);
  at.n2 = carver.halves(b * d);
  at.hidden = carver.halves(b * round_up(p.intermediate_size, 8));
  at.mlp = carver.halves(b * d);
  at.logits = carver.halves(b * p.vocab_size);
  const size_t halves = carver.used();
  at.group_scores = carver.words<float>(b * p.num_kv_heads);
  at.neuron_scores = carver.words<float>(p.intermediate_size);
  at.token = carver.words<int32_t>(b);
  at.group_index = carver.words<int32_t>(b * p.num_kv_heads);
  at.neuron_index = carver.words<int32_t>(p.intermediate_size);
  return halves;
}

// {cos, sin} of position kv_len - 1 for every pair of a head, in double before they are rounded to float32.
DeviceBuffer rope_angles(const PolarProblem& p) {
  std::vector<float2> angles;
  for (int64_t i = 0; p.rope && i < p.head_dim / 2; ++i) {
    const double angle = static_cast<double>(p.kv_len - 1) *
                         std::pow(p.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(p.head_dim));
    angles.push_back({static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))});
  }
  return to_device(angles);
}

}  // namespace

size_t ActivationMemory::bytes(const PolarProblem& p) {
  Carver carver(nullptr);
  Activations at{};
  carve(p, carver, at);
  return carver.used();
}

ActivationMemory::ActivationMemory(const PolarProblem& p) : memory_(bytes(p)) {
  Carver carver(memory_.as<char>());
  half_bytes_ = carve(p, carver, at_);
}

void ActivationMemory::poison(bool keep_input, cudaStream_t stream) const {
  char* first = keep_input ? static_cast<char*>(at_.qkv) : memory_.as<char>();
  char* words = memory_.as<char>() + half_bytes_;
  fill_nan(first, (words - first) / 2, stream);
  const auto scores = static_cast<size_t>(reinterpret_cast<char*>(at_.token) - words);
  CHECK_CUDA(cudaMemsetAsync(words, 0xff, scores, stream));  // a float32 NaN
  CHECK_CUDA(cudaMemsetAsync(at_.token, 0, memory_.bytes() - half_bytes_ - scores, stream));
}

Projections::Projections(const PolarProblem& p, const DeviceInfo& device)
    : qkv(qkv_shape(p), device), out(out_shape(p), device), up(up_shape(p), device), down(down_shape(p), device) {
  if (p.scope == POLAR_SCOPE_STEP) head.emplace(head_shape(p), device);
}

mlp::GemmShape sparse_up_shape(const PolarProblem& p, int64_t active) {
  return {mlp::GemmOp::kUp, p.batch_size, p.hidden_size, active, p.gated != 0};
}
mlp::GemmShape sparse_down_shape(const PolarProblem& p, int64_t active) {
  return {mlp::GemmOp::kDown, p.batch_size, p.hidden_size, active, false};
}

GemmNeed gemm_need(const PolarProblem& p, const std::vector<PolarCandidate>& candidates, const DeviceInfo& device) {
  GemmNeed need;
  for (const ProjectionShape& shape : {qkv_shape(p), out_shape(p), up_shape(p), down_shape(p)}) {
    need.cover(projection_need(shape, device));
  }
  if (p.scope == POLAR_SCOPE_STEP) need.cover(projection_need(head_shape(p), device));
  for (const PolarCandidate& candidate : candidates) {
    for (int64_t layer = 0; selects_neurons(p, candidate) && layer < p.num_layers; ++layer) {
      const int64_t active = layer_neurons(p, candidate, layer);
      need.cover(gemm_need(sparse_up_shape(p, active), device));
      need.cover(gemm_need(sparse_down_shape(p, active), device));
    }
  }
  return need;
}

size_t fixed_bytes(const PolarProblem& p, const std::vector<PolarCandidate>& candidates, const DeviceInfo& device) {
  const GemmNeed need = gemm_need(p, candidates, device);
  size_t bytes = shared_bytes(p) + ActivationMemory::bytes(p) + lt::kWorkspaceBytes + reference_bytes(p);
  bytes += static_cast<size_t>(need.tickets + need.partial + need.product);
  for (const PolarCandidate& candidate : candidates) bytes += LayerSequence::memory_bytes(p, candidate, device);
  return bytes;
}

void prepare_state(State& state, const std::vector<PolarCandidate>& candidates) {
  const PolarProblem& p = state.problem;
  state.projections = std::make_unique<Projections>(p, state.device.info);
  state.activations = ActivationMemory(p);
  state.angles = rope_angles(p);
  const GemmNeed need = gemm_need(p, candidates, state.device.info);
  state.tickets = DeviceBuffer(static_cast<size_t>(need.tickets));
  if (state.tickets) CHECK_CUDA(cudaMemsetAsync(state.tickets.as(), 0, state.tickets.bytes(), state.stream));
  state.partial = DeviceBuffer(static_cast<size_t>(need.partial));
  state.product = DeviceBuffer(static_cast<size_t>(need.product));
  state.library = DeviceBuffer(lt::kWorkspaceBytes);
}

}  // namespace polar::cuda::step
