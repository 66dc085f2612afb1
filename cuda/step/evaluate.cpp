// Backend::evaluate: one run on the caller's tensors, handing out what every layer computed.
#include <string>

#include "../../src/native/common/error.h"
#include "../../src/native/common/half.h"
#include "executable.h"
#include "session.h"

namespace polar::cuda::step {
namespace {

// The names of abi.h (PolarTensors).
const char* name_of(Tensor tensor) {
  switch (tensor) {
    case Tensor::kInput:
      return "x";
    case Tensor::kHead:
      return "lm_head";
    case Tensor::kFinalNormScale:
      return "final_norm_scale";
    case Tensor::kFinalNormBias:
      return "final_norm_bias";
    case Tensor::kNorm1Scale:
      return "norm1_scale";
    case Tensor::kNorm1Bias:
      return "norm1_bias";
    case Tensor::kQkv:
      return "wqkv";
    case Tensor::kQkvBias:
      return "bqkv";
    case Tensor::kKey:
      return "k_cache";
    case Tensor::kValue:
      return "v_cache";
    case Tensor::kOut:
      return "wo";
    case Tensor::kOutBias:
      return "bo";
    case Tensor::kNorm2Scale:
      return "norm2_scale";
    case Tensor::kNorm2Bias:
      return "norm2_bias";
    case Tensor::kUp:
      return "w1";
    case Tensor::kUpBias:
      return "b1";
    case Tensor::kDown:
      return "w2";
    case Tensor::kDownBias:
      return "b2";
    case Tensor::kAttentionRouter:
      return "attention_router";
    case Tensor::kMlpRouterDown:
      return "mlp_router_down";
    case Tensor::kMlpRouterUp:
      return "mlp_router_up";
    default:
      throw NativeError("E_NATIVE", "Expected a tensor of a layer, got another");
  }
}

// Reads the caller's tensor, or fills it as a measurement does where there is none.
void fill_from(const PolarProblem& p, const PolarTensors& tensors, Tensor tensor, int64_t layer, void* device,
               cudaStream_t stream) {
  std::vector<uint16_t> values(static_cast<size_t>(tensor_elements(p, tensor)));
  if (tensors.read(tensors.context, name_of(tensor), layer, values.data(), static_cast<int64_t>(values.size())) == 0) {
    fill_tensor(p, tensor, layer, device, stream);
    return;
  }
  CHECK_CUDA(cudaMemcpyAsync(device, values.data(), values.size() * 2, cudaMemcpyHostToDevice, stream));
  CHECK_CUDA(cudaStreamSynchronize(stream));  // `values` ends here
}

void write_floats(const State& state, const PolarTensors& tensors, const char* name, int64_t layer, const void* device,
                  int64_t count) {
  state.stream.synchronize(name);
  std::vector<float> values;
  for (const uint16_t bits : to_host<uint16_t>(device, static_cast<size_t>(count))) {
    values.push_back(half_to_float(bits, state.problem.dtype));
  }
  tensors.write(tensors.context, name, layer, values.data(), count);
}

void write_stage(const State& state, const PolarTensors& tensors, Stage stage, int64_t layer) {
  const PolarProblem& p = state.problem;
  const Activations& at = state.activations.at();
  if (stage == Stage::kInput && layer > 0) {
    write_floats(state, tensors, "layer_output", layer - 1, at.x, p.batch_size * p.hidden_size);
  }
  if (stage != Stage::kLogits) return;
  write_floats(state, tensors, "logits", 0, at.logits, p.batch_size * p.vocab_size);
  std::vector<float> tokens;
  for (const int32_t token : to_host<int32_t>(at.token, static_cast<size_t>(p.batch_size))) {
    tokens.push_back(static_cast<float>(token));
  }
  tensors.write(tensors.context, "token", 0, tokens.data(), p.batch_size);
}

}  // namespace

void evaluate(const PolarProblem& problem, const PolarCandidate& candidate, const PolarOptions& options,
              const PolarTensors& tensors, const Reporter& reporter) {
  check_shape(problem);
  State state{problem, options, open_device(options.device)};
  state.reporter = &reporter;
  state.resident_layers = problem.num_layers;
  prepare_state(state, {candidate});
  state.weights = Weights(problem, problem.num_layers, [&](Tensor tensor, int64_t layer, void* device) {
    fill_from(problem, tensors, tensor, layer, device, state.stream);
  });
  const LayerSequence sequence(state, candidate);
  state.activations.poison(false, state.stream);
  sequence.enqueue(0, [&](Stage stage, int64_t layer) {
    reporter.alive("evaluate", static_cast<double>(layer) / static_cast<double>(problem.num_layers));
    write_stage(state, tensors, stage, layer);
  });
  state.stream.synchronize("the run that is evaluated");
}

}  // namespace polar::cuda::step
