// The kernels of a layer or step candidate in their order on the streams: what is captured, what is verified stage by
// stage, and what the breakdown measures are all this one sequence.
#pragma once

#include <cstdint>
#include <functional>
#include <map>

#include "state.h"

namespace polar::cuda::step {

// A point of the main stream in layer `layer`, behind the kernels that its name says. kInput comes once more with layer
// = num_layers, when x is the output of the last layer, then kLogits.
enum class Stage {
  kInput,            // x complete, a = norm1(x)
  kQkv,              // q, and the new key and value in the caches
  kAttentionRouter,  // group scores and index have arrived; only where groups are selected
  kAttention,
  kOutProjection,
  kNorm2,      // y, n2
  kMlpRouter,  // neuron scores and index have arrived; only where neurons are selected
  kMlp,        // hidden, mlp
  kLogits      // logits, token
};
using Observer = std::function<void(Stage stage, int64_t layer)>;

class LayerSequence {
 public:
  // Attributes, workspaces. Throws NativeError E_UNSUPPORTED for shapes without a kernel, E_OUT_OF_MEMORY.
  LayerSequence(const State& state, const PolarCandidate& candidate);
  static size_t memory_bytes(const PolarProblem& p, const PolarCandidate& candidate, const DeviceInfo& device);

  // Enqueues one run on the state's stream; layer l uses resident layer (first_resident + l) mod resident_layers.
  // `observer` (may be empty) is called at every stage between the kernels; it may enqueue and, outside a capture,
  // synchronise. Leaves the output of the last layer in x.
  void enqueue(int64_t first_resident, const Observer& observer) const;

  bool selects_groups(int64_t layer) const;
  bool selects_neurons() const { return neurons_selected_; }
  int64_t groups(int64_t layer) const { return layer_groups(state_.problem, candidate_, layer); }
  int64_t neurons(int64_t layer) const { return layer_neurons(state_.problem, candidate_, layer); }

 private:
  struct Run;  // one enqueue(): where it stands
  void begin_layer(const Run& run, int64_t layer) const;
  void attention_block(const Run& run, int64_t layer) const;
  void attention(const Run& run, int64_t layer) const;
  void mlp_block(const Run& run, int64_t layer) const;
  void sparse_mlp(const Run& run, int64_t active) const;
  void dense_mlp(const Run& run) const;
  void fork_routers(const Run& run, int64_t layer) const;
  void route_groups(const Run& run) const;
  void route_neurons(const Run& run, int64_t layer) const;
  void head(const Run& run) const;

  const State& state_;
  const PolarCandidate candidate_;
  bool groups_selected_, neurons_selected_;
  // A router on its own stream, and the event behind its selection.
  struct Router {
    Stream stream;
    Event joined;
    DeviceBuffer workspace;
  };
  Router attention_router_, mlp_router_;
  Event forked_;
  DeviceBuffer dense_workspace_, selective_workspace_;
};

}  // namespace polar::cuda::step
