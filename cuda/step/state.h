// What the candidates of a layer or step cell share on the device: weights, activations, the dense projections.
#pragma once

#include <memory>
#include <optional>

#include "../device/device.h"
#include "../device/memory.h"
#include "projection.h"
#include "weights.h"

namespace polar::cuda::step {

// Activations of one run. They stay small beside weights and KV, and are hot in a real decode step too: not rotated.
struct Activations {
  void* x;                // [B, d] residual stream: input of the running layer
  void* a;                // [B, d] norm1(x); behind the last layer the normed input of the head
  void* qkv;              // [B, (H + 2 H_kv) d_h]
  void* q;                // [B, H, d_h]
  void* attention;        // [B, H, d_h]
  void* projected;        // [B, d] output of the out projection
  void* y;                // [B, d]
  void* n2;               // [B, d] norm2(y)
  void* hidden;           // [B, D rounded up to 8]
  void* mlp;              // [B, d] output of the down projection
  void* logits;           // [B, V]
  int32_t* token;         // [B]
  float* group_scores;    // [B, H_kv]
  int32_t* group_index;   // [B, active_groups]
  float* neuron_scores;   // [D]
  int32_t* neuron_index;  // [active_neurons]
};

// The block of memory behind Activations; 16-bit tensors lie in front, so that one fill poisons them.
class ActivationMemory {
 public:
  ActivationMemory() = default;
  explicit ActivationMemory(const PolarProblem& p);
  static size_t bytes(const PolarProblem& p);
  const Activations& at() const { return at_; }
  // NaN into all activations, but for x and a where `keep_input`; scores NaN as well, index sets and tokens 0.
  void poison(bool keep_input, cudaStream_t stream) const;

 private:
  DeviceBuffer memory_;
  size_t half_bytes_ = 0;
  Activations at_{};
};

// The dense projections, chosen once per cell. Up and down exist for every cell: layers that compute all neurons.
struct Projections {
  Projections(const PolarProblem& p, const DeviceInfo& device);
  Projection qkv, out, up, down;
  std::optional<Projection> head;  // step only
};
// The most that any of them, or a sparse MLP of these candidates, needs.
GemmNeed gemm_need(const PolarProblem& p, const std::vector<PolarCandidate>& candidates, const DeviceInfo& device);

// The shapes of the sparse MLP products with `active` neurons.
mlp::GemmShape sparse_up_shape(const PolarProblem& p, int64_t active);
mlp::GemmShape sparse_down_shape(const PolarProblem& p, int64_t active);

struct State {
  PolarProblem problem;
  PolarOptions options;
  Device device;
  Stream stream{};
  const Reporter* reporter = nullptr;  // from prepare() on
  int64_t resident_layers = 0;
  std::unique_ptr<Projections> projections{};
  Weights weights{};
  ActivationMemory activations{};
  DeviceBuffer angles{};  // float2 [d_h / 2], empty without RoPE
  DeviceBuffer tickets{}, partial{}, product{}, library{};
  GemmWorkspace gemm_workspace() const {
    return {tickets.as<unsigned>(), partial.as<float>(), product.as<float>(), library.as()};
  }
};

// Device bytes of all that a cell holds once: shared weights, activations, workspaces, references of verification.
size_t fixed_bytes(const PolarProblem& p, const std::vector<PolarCandidate>& candidates, const DeviceInfo& device);

// Makes everything but the weights ready: projections (timed where new), activations, workspaces.
void prepare_state(State& state, const std::vector<PolarCandidate>& candidates);

}  // namespace polar::cuda::step
