#include "layer_sequence.h"

#include <set>

#include "../../src/native/common/error.h"
#include "../../src/native/common/faults.h"
#include "../kernels/registry.h"
#include "../kernels/router.h"
#include "kernels.h"

namespace polar::cuda::step {
namespace {

AttentionRouterArgs attention_router_shape(const PolarProblem& p, int64_t groups) {
  AttentionRouterArgs args{};
  args.batch_size = p.batch_size;
  args.hidden_size = p.hidden_size;
  args.num_groups = p.num_kv_heads;
  args.top_k = groups;
  return args;
}

MlpRouterArgs mlp_router_shape(const PolarProblem& p, int64_t neurons) {
  MlpRouterArgs args{};
  args.batch_size = p.batch_size;
  args.hidden_size = p.hidden_size;
  args.rank = p.mlp_router_rank;
  args.num_neurons = p.intermediate_size;
  args.top_k = neurons;
  return args;
}

bool any_layer_dense(const PolarProblem& p, const PolarCandidate& candidate) {
  return !selects_groups(p, candidate) || layer_groups(p, candidate, 0) == p.num_kv_heads;
}

// Sizes of the workspaces of one candidate; tickets of two kernels never share a place.
struct WorkspaceSizes {
  size_t dense = 0, selective = 0, attention_router = 0, mlp_router = 0;
};

WorkspaceSizes workspace_sizes(const PolarProblem& p, const PolarCandidate& candidate, const DeviceInfo& device) {
  WorkspaceSizes sizes;
  const bool groups = selects_groups(p, candidate);
  if (any_layer_dense(p, candidate)) sizes.dense = kAttentionDense.workspace_bytes(p, candidate, device);
  if (groups) {
    sizes.selective = kAttentionSelectiveHead.workspace_bytes(p, candidate, device);
    sizes.attention_router =
        attention_router_workspace_bytes(attention_router_shape(p, candidate.active_groups), device);
  }
  if (selects_neurons(p, candidate)) {
    sizes.mlp_router = mlp_router_workspace_bytes(mlp_router_shape(p, layer_neurons(p, candidate, 0)), device);
  }
  return sizes;
}

DeviceBuffer zeroed(size_t bytes, cudaStream_t stream) {
  DeviceBuffer buffer(bytes);
  if (buffer) CHECK_CUDA(cudaMemsetAsync(buffer.as(), 0, bytes, stream));
  return buffer;
}

void prepare_sparse_mlp(const PolarProblem& p, const PolarCandidate& candidate, const DeviceInfo& device) {
  std::set<int64_t> counts;
  for (int64_t layer = 0; layer < p.num_layers; ++layer) counts.insert(layer_neurons(p, candidate, layer));
  for (const int64_t active : counts) {
    for (const mlp::GemmShape& shape : {sparse_up_shape(p, active), sparse_down_shape(p, active)}) {
      mlp::prepare_gemm(shape, mlp::choose_gemm_config(shape, mlp::gemm_device(device)), p.dtype);
    }
  }
}

}  // namespace

// What the pieces of one run share.
struct LayerSequence::Run {
  const Observer& observer;
  int64_t first_resident;
  int64_t resident;  // of the layer at work
  bool dependent;    // programmatic dependent launches: not where an observer works between the kernels

  void at(Stage stage, int64_t layer) const {
    if (observer) observer(stage, layer);
  }
};

LayerSequence::LayerSequence(const State& state, const PolarCandidate& candidate)
    : state_(state),
      candidate_(candidate),
      groups_selected_(polar::selects_groups(state.problem, candidate)),
      neurons_selected_(polar::selects_neurons(state.problem, candidate)) {
  const PolarProblem& p = state.problem;
  const DeviceInfo& device = state.device.info;
  const WorkspaceSizes sizes = workspace_sizes(p, candidate, device);
  dense_workspace_ = zeroed(sizes.dense, state.stream);
  selective_workspace_ = zeroed(sizes.selective, state.stream);
  attention_router_.workspace = zeroed(sizes.attention_router, state.stream);
  mlp_router_.workspace = zeroed(sizes.mlp_router, state.stream);
  if (any_layer_dense(p, candidate)) kAttentionDense.prepare(p, candidate, device);
  if (groups_selected_) kAttentionSelectiveHead.prepare(p, candidate, device);
  if (groups_selected_ || neurons_selected_) prepare_routers(p.dtype, device);
  if (neurons_selected_) prepare_sparse_mlp(p, candidate, device);
}

size_t LayerSequence::memory_bytes(const PolarProblem& p, const PolarCandidate& candidate, const DeviceInfo& device) {
  try {
    const WorkspaceSizes sizes = workspace_sizes(p, candidate, device);
    return align_up(sizes.dense) + align_up(sizes.selective) + align_up(sizes.attention_router) +
           align_up(sizes.mlp_router);
  } catch (const NativeError&) {
    return 0;  // it refuses the problem; its own constructor says why, and the cell's others go on
  }
}

bool LayerSequence::selects_groups(int64_t layer) const {
  return groups_selected_ && !(state_.problem.scope == POLAR_SCOPE_STEP && layer == 0);
}

void LayerSequence::enqueue(int64_t first_resident, const Observer& observer) const {
  const PolarProblem& p = state_.problem;
  const bool dependent = !observer && state_.device.info.compute_major >= 9;
  for (int64_t layer = 0; layer < p.num_layers; ++layer) {
    const Run run{observer, first_resident, (first_resident + layer) % state_.resident_layers, dependent};
    begin_layer(run, layer);
    attention_block(run, layer);
    mlp_block(run, layer);
  }
  const Run end{observer, first_resident, 0, dependent};
  begin_layer(end, p.num_layers);
  if (p.scope != POLAR_SCOPE_STEP) return;
  head(end);
  end.at(Stage::kLogits, p.num_layers);
}

// x = the output of the layer before, a = the norm in front of this one; behind the last layer the final norm of a
// step, none of a layer.
void LayerSequence::begin_layer(const Run& run, int64_t layer) const {
  const PolarProblem& p = state_.problem;
  const Activations& at = state_.activations.at();
  const Weights& w = state_.weights;
  const bool first = layer == 0, last = layer == p.num_layers;
  ResidualNormArgs args{};
  args.base = first ? w.shared(Tensor::kInput) : at.y;
  if (!first) {
    const int64_t before = (run.first_resident + layer - 1) % state_.resident_layers;
    args.delta = at.mlp;
    args.delta_bias = w.layer(Tensor::kDownBias, before);
    args.sum = at.x;
  }
  args.scale = last ? w.shared(Tensor::kFinalNormScale) : w.layer(Tensor::kNorm1Scale, run.resident);
  args.bias = last ? w.shared(Tensor::kFinalNormBias) : w.layer(Tensor::kNorm1Bias, run.resident);
  args.normed = at.a;
  args.rows = p.batch_size;
  args.columns = p.hidden_size;
  args.norm = p.norm;
  args.epsilon = static_cast<float>(p.norm_epsilon);
  launch_residual_norm(p.dtype, args, run.dependent, state_.stream);
  run.at(Stage::kInput, layer);
}

void LayerSequence::attention_block(const Run& run, int64_t layer) const {
  const PolarProblem& p = state_.problem;
  const Activations& at = state_.activations.at();
  const Weights& w = state_.weights;
  const int64_t heads = p.num_qo_heads * p.head_dim, r = run.resident;
  fork_routers(run, layer);
  state_.projections->qkv.launch(
      {w.layer(Tensor::kQkv, r), w.layer(Tensor::kQkvBias, r), at.a, p.hidden_size, at.qkv, qkv_columns(p)},
      state_.gemm_workspace(), state_.stream);
  launch_rope_append(p,
                     {at.qkv, state_.angles.as<float2>(), at.q, w.layer(Tensor::kKey, r), w.layer(Tensor::kValue, r)},
                     run.dependent, state_.stream);
  run.at(Stage::kQkv, layer);
  attention(run, layer);
  run.at(Stage::kAttention, layer);
  if (!(kFaultBuild && layer == p.num_layers - 1 && fault_active("skip-tile", candidate_.kernel))) {
    state_.projections->out.launch(
        {w.layer(Tensor::kOut, r), nullptr, at.attention, heads, at.projected, p.hidden_size}, state_.gemm_workspace(),
        state_.stream);
  }
  run.at(Stage::kOutProjection, layer);
}

void LayerSequence::attention(const Run& run, int64_t layer) const {
  const PolarProblem& p = state_.problem;
  const Activations& at = state_.activations.at();
  const bool selective = selects_groups(layer);
  if (selective) {
    CHECK_CUDA(cudaStreamWaitEvent(state_.stream, attention_router_.joined));
    run.at(Stage::kAttentionRouter, layer);
  }
  const AttentionArgs args{at.q,
                           state_.weights.layer(Tensor::kKey, run.resident),
                           state_.weights.layer(Tensor::kValue, run.resident),
                           at.attention,
                           selective ? at.group_index : nullptr,
                           selective ? candidate_.active_groups : p.num_kv_heads,
                           selective ? selective_workspace_.as() : dense_workspace_.as()};
  (selective ? kAttentionSelectiveHead : kAttentionDense)
      .launch({p, state_.device.info, state_.stream, run.dependent && !selective}, args);
}

// Both routers read `a` only: each runs on a stream of its own beside the QKV projection, and is waited for where its
// selection is needed. Beside attention they would cost as much and end later (docs/kernels/step.md).
void LayerSequence::fork_routers(const Run& run, int64_t layer) const {
  const bool groups = selects_groups(layer);
  if (!groups && !neurons_selected_) return;
  CHECK_CUDA(cudaEventRecord(forked_, state_.stream));
  if (groups) {
    CHECK_CUDA(cudaStreamWaitEvent(attention_router_.stream, forked_));
    route_groups(run);
    CHECK_CUDA(cudaEventRecord(attention_router_.joined, attention_router_.stream));
  }
  if (neurons_selected_) {
    CHECK_CUDA(cudaStreamWaitEvent(mlp_router_.stream, forked_));
    route_neurons(run, layer);
    CHECK_CUDA(cudaEventRecord(mlp_router_.joined, mlp_router_.stream));
  }
}

void LayerSequence::route_groups(const Run& run) const {
  const Activations& at = state_.activations.at();
  AttentionRouterArgs router = attention_router_shape(state_.problem, candidate_.active_groups);
  router.x = at.a;
  router.weight = state_.weights.layer(Tensor::kAttentionRouter, run.resident);
  router.scores = at.group_scores;
  router.index = at.group_index;
  router.workspace = attention_router_.workspace.as();
  launch_attention_router(state_.problem.dtype, state_.device.info, router, attention_router_.stream);
}

void LayerSequence::route_neurons(const Run& run, int64_t layer) const {
  const Activations& at = state_.activations.at();
  MlpRouterArgs router = mlp_router_shape(state_.problem, neurons(layer));
  router.x = at.a;
  router.down = state_.weights.layer(Tensor::kMlpRouterDown, run.resident);
  router.up = state_.weights.layer(Tensor::kMlpRouterUp, run.resident);
  router.scores = at.neuron_scores;
  router.index = at.neuron_index;
  router.workspace = mlp_router_.workspace.as();
  launch_mlp_router(state_.problem.dtype, state_.device.info, router, mlp_router_.stream);
}

void LayerSequence::mlp_block(const Run& run, int64_t layer) const {
  const PolarProblem& p = state_.problem;
  const Activations& at = state_.activations.at();
  const Weights& w = state_.weights;
  ResidualNormArgs args{};
  args.base = layer == 0 ? w.shared(Tensor::kInput) : at.x;
  args.delta = at.projected;
  args.delta_bias = w.layer(Tensor::kOutBias, run.resident);
  args.sum = at.y;
  args.scale = w.layer(Tensor::kNorm2Scale, run.resident);
  args.bias = w.layer(Tensor::kNorm2Bias, run.resident);
  args.normed = at.n2;
  args.rows = p.batch_size;
  args.columns = p.hidden_size;
  args.norm = p.norm;
  args.epsilon = static_cast<float>(p.norm_epsilon);
  launch_residual_norm(p.dtype, args, run.dependent, state_.stream);
  run.at(Stage::kNorm2, layer);
  if (neurons_selected_) {
    CHECK_CUDA(cudaStreamWaitEvent(state_.stream, mlp_router_.joined));
    run.at(Stage::kMlpRouter, layer);
    sparse_mlp(run, neurons(layer));
  } else {
    dense_mlp(run);
  }
  run.at(Stage::kMlp, layer);
}

void LayerSequence::dense_mlp(const Run& run) const {
  const PolarProblem& p = state_.problem;
  const Activations& at = state_.activations.at();
  const Weights& w = state_.weights;
  const int64_t r = run.resident;
  state_.projections->up.launch(
      {w.layer(Tensor::kUp, r), w.layer(Tensor::kUpBias, r), at.n2, p.hidden_size, at.hidden, p.intermediate_size},
      state_.gemm_workspace(), state_.stream);
  state_.projections->down.launch(
      {w.layer(Tensor::kDown, r), nullptr, at.hidden, p.intermediate_size, at.mlp, p.hidden_size},
      state_.gemm_workspace(), state_.stream);
}

// The neurons of at.neuron_index; hidden rows are as long as their number, rounded up to 16 bytes.
void LayerSequence::sparse_mlp(const Run& run, int64_t active) const {
  const PolarProblem& p = state_.problem;
  const Activations& at = state_.activations.at();
  const Weights& w = state_.weights;
  const mlp::GemmDevice device = mlp::gemm_device(state_.device.info);
  const int64_t stride = (active + 7) / 8 * 8;
  const GemmWorkspace workspace = state_.gemm_workspace();
  mlp::GemmCall call{};
  call.dtype = p.dtype;
  call.index = at.neuron_index;
  call.tickets = workspace.tickets;
  call.partial = workspace.partial;

  call.shape = sparse_up_shape(p, active);
  call.weights = w.layer(Tensor::kUp, run.resident);
  call.weight_rows = p.intermediate_size * up_rows(p);
  call.input = at.n2;
  call.input_stride = p.hidden_size;
  call.out = at.hidden;
  call.out_stride = stride;
  call.bias = w.layer(Tensor::kUpBias, run.resident);
  call.bias_index = at.neuron_index;
  call.activation = p.activation;
  mlp::launch_gemm(call, mlp::choose_gemm_config(call.shape, device), state_.stream);

  call.shape = sparse_down_shape(p, active);
  call.weights = w.layer(Tensor::kDown, run.resident);
  call.weight_rows = p.intermediate_size;
  call.input = at.hidden;
  call.input_stride = stride;
  call.out = at.mlp;
  call.out_stride = p.hidden_size;
  call.bias = nullptr;
  call.bias_index = nullptr;
  call.dependent = run.dependent;  // on the up projection alone: its launch waited for everything before
  mlp::launch_gemm(call, mlp::choose_gemm_config(call.shape, device), state_.stream);
}

void LayerSequence::head(const Run& run) const {
  const PolarProblem& p = state_.problem;
  const Activations& at = state_.activations.at();
  state_.projections->head->launch(
      {state_.weights.shared(Tensor::kHead), nullptr, at.a, p.hidden_size, at.logits, p.vocab_size},
      state_.gemm_workspace(), state_.stream);
  launch_argmax(p.dtype, at.logits, p.batch_size, p.vocab_size, at.token, run.dependent, state_.stream);
}

}  // namespace polar::cuda::step
