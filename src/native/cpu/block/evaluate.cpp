#include <vector>

#include "../../common/half.h"
#include "../../common/problem.h"
#include "../inputs.h"
#include "plan.h"
#include "program.h"
#include "session.h"

namespace polar::cpu {
namespace {

// The tensors of one layer or of the end, held as long as this lives.
class Tensors {
 public:
  Tensors(const PolarProblem& p, const PolarTensors& caller, Isa isa, ThreadPool& pool, const Reporter& reporter)
      : p_(p), caller_(caller), isa_(isa), pool_(pool), reporter_(reporter) {}

  // The caller's values, else those that a measurement would use for this resident layer; null where the problem has no
  // such tensor.
  uint16_t* get(const char* name, Tensor tensor, int64_t layer) {
    const TensorSpec spec = tensor_spec(p_, tensor);
    if (spec.elements == 0) return nullptr;
    buffers_.emplace_back(static_cast<size_t>(spec.elements) * sizeof(uint16_t));
    uint16_t* data = buffers_.back().half();
    if (caller_.read(caller_.context, name, layer, data, spec.elements) == 0) {
      fill_tensor(spec, layer, data, isa_, pool_, reporter_);
    }
    return data;
  }

  LayerTensors layer(int64_t index) {
    LayerTensors t{};
    for (const LayerField& field : kLayerFields) t.*field.member = get(field.name, field.tensor, index);
    t.k_cache = get("k_cache", Tensor::kKey, index);
    t.v_cache = get("v_cache", Tensor::kValue, index);
    return t;
  }

  EndTensors end() {
    EndTensors t{};
    for (const EndField& field : kEndFields) t.*field.member = get(field.name, field.tensor, 0);
    return t;
  }

 private:
  const PolarProblem& p_;
  const PolarTensors& caller_;
  Isa isa_;
  ThreadPool& pool_;
  const Reporter& reporter_;
  std::vector<Buffer> buffers_;
};

}  // namespace

void evaluate_block(const PolarProblem& p, const PolarCandidate& candidate, const PolarTensors& tensors, Isa isa,
                    ThreadPool& pool, const Reporter& reporter) {
  const BlockConstants constants(p);
  const Buffer workspace(block_space_bytes(p, pool.size()));
  const BlockSpace s = carve_block_space(p, pool.size(), workspace.data());
  const Launch launch{p, inner(isa, p.dtype), pool, s.scratch, false};
  PartClock clock(nullptr);
  Tensors input(p, tensors, isa, pool, reporter);
  const uint16_t* x = input.get("x", Tensor::kInput, 0);
  std::vector<float> values(static_cast<size_t>(p.batch_size * p.hidden_size));
  for (int64_t l = 0; l < p.num_layers; ++l) {
    reporter.alive("evaluate", static_cast<double>(l) / static_cast<double>(p.num_layers));
    Tensors weights(p, tensors, isa, pool, reporter);
    uint16_t* out = s.out[l % 2];
    run_layer(launch, weights.layer(l), layer_counts(p, candidate, l), constants, s, x, out, clock);
    for (size_t i = 0; i < values.size(); ++i) values[i] = half_to_float(out[i], p.dtype);
    tensors.write(tensors.context, "layer_output", l, values.data(), static_cast<int64_t>(values.size()));
    x = out;
  }
  if (p.scope != POLAR_SCOPE_STEP) return;
  Tensors weights(p, tensors, isa, pool, reporter);
  run_end(launch, weights.end(), s, x, clock);
  tensors.write(tensors.context, "logits", 0, s.logits, p.batch_size * p.vocab_size);
  const std::vector<float> token(s.token, s.token + p.batch_size);
  tensors.write(tensors.context, "token", 0, token.data(), p.batch_size);
}

}  // namespace polar::cpu
