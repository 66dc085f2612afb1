#include "reference_step.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "../../src/native/common/error.h"
#include "../../src/native/common/half.h"

namespace polar::cuda::step {

// What later stages of a checked layer need of earlier ones.
struct RunCheck::Layer {
  int64_t resident;
  ReferencePair x, qkv, attention, y, n2, out;
};

namespace {

constexpr int64_t kPairBytes = sizeof(double) + sizeof(float);

int64_t heads_of(const PolarProblem& p) { return p.num_qo_heads + 2 * p.num_kv_heads; }

// The new key and value of every sequence and group become NaN, so that a layer that does not append fails.
void poison_newest(const PolarProblem& p, void* cache, cudaStream_t stream) {
  const size_t row = static_cast<size_t>(p.head_dim) * 2, pitch = row * static_cast<size_t>(p.kv_capacity);
  char* newest = static_cast<char*>(cache) + row * static_cast<size_t>(p.kv_len - 1);
  CHECK_CUDA(cudaMemset2DAsync(newest, pitch, 0xff, row, static_cast<size_t>(p.batch_size * p.num_kv_heads), stream));
}

// [B (H + 2 H_kv), d_h] as the run left it: q, then the newest keys and values of the caches.
DeviceBuffer gather_qkv(const PolarProblem& p, const void* q, const void* k, const void* v, cudaStream_t stream) {
  const size_t row = static_cast<size_t>(p.head_dim) * 2;
  const auto b = static_cast<size_t>(p.batch_size), h = static_cast<size_t>(p.num_qo_heads);
  const auto g = static_cast<size_t>(p.num_kv_heads), n = static_cast<size_t>(p.kv_capacity);
  const size_t sequence = static_cast<size_t>(heads_of(p)) * row;
  DeviceBuffer out(b * sequence);
  CHECK_CUDA(cudaMemcpy2DAsync(out.as(), sequence, q, h * row, h * row, b, cudaMemcpyDeviceToDevice, stream));
  for (size_t i = 0; i < b; ++i) {
    for (size_t part = 0; part < 2; ++part) {
      const char* cache = static_cast<const char*>(part == 0 ? k : v);
      const char* newest = cache + (i * g * n + static_cast<size_t>(p.kv_len - 1)) * row;
      CHECK_CUDA(cudaMemcpy2DAsync(out.at(i * sequence + (h + part * g) * row), row, newest, n * row, row, g,
                                   cudaMemcpyDeviceToDevice, stream));
    }
  }
  return out;
}

// The positions of the `count` largest scores, ties to the lower, ascending.
std::vector<int32_t> largest(const float* scores, int64_t total, int64_t count) {
  std::vector<int32_t> order(static_cast<size_t>(total));
  std::iota(order.begin(), order.end(), 0);
  const auto before = [&](int32_t a, int32_t b) { return scores[a] > scores[b] || (scores[a] == scores[b] && a < b); };
  std::nth_element(order.begin(), order.begin() + (count - 1), order.end(), before);
  order.resize(static_cast<size_t>(count));
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace

size_t reference_bytes(const PolarProblem& p) {
  const int64_t heads = p.num_qo_heads * p.head_dim, d = p.hidden_size, big_d = p.intermediate_size;
  const int64_t block = 8 * d + 2 * qkv_columns(p) + heads;
  const int64_t mlp = big_d * (up_rows(p) + 1) + big_d + p.mlp_router_rank;
  const int64_t columns = block + std::max(mlp, p.vocab_size);
  return static_cast<size_t>(p.batch_size * columns * kPairBytes) + reference_attention_scratch_bytes(p);
}

RunCheck::RunCheck(const State& state, const LayerSequence& sequence, const std::string& kernel)
    : state_(state), sequence_(sequence), kernel_(kernel), verdict_(state.problem.dtype) {}
RunCheck::~RunCheck() = default;

bool RunCheck::checked(int64_t layer) const {
  const int64_t layers = state_.problem.num_layers;
  return layer >= 0 && layer < layers && (layer < 2 || layer == layers - 1);
}

void RunCheck::operator()(Stage stage, int64_t layer) {
  if (stage == Stage::kInput) {
    if (layer_) compare("layer output", layer - 1, state_.activations.at().x, layer_->out);
    layer_.reset();
    if (checked(layer)) begin(layer);
    return;
  }
  if (stage == Stage::kLogits) return check_logits();
  if (!layer_) return;
  switch (stage) {
    case Stage::kQkv:
      return check_qkv(layer);
    case Stage::kAttentionRouter:
      return check_attention_router(layer);
    case Stage::kAttention:
      return check_attention(layer);
    case Stage::kNorm2:
      return check_second_norm(layer);
    case Stage::kMlpRouter:
      return check_mlp_router(layer);
    case Stage::kMlp:
      return finish_mlp(layer);
    default:
      return;
  }
}

void RunCheck::begin(int64_t layer) {
  const PolarProblem& p = state_.problem;
  const Activations& at = state_.activations.at();
  layer_ = std::make_unique<Layer>();
  layer_->resident = layer % state_.resident_layers;
  const void* x = layer == 0 ? state_.weights.shared(Tensor::kInput) : at.x;
  layer_->x = actual(x, p.batch_size, p.hidden_size);
  ReferencePair a(p.batch_size, p.hidden_size);
  reference_norm(p, layer_->x, state_.weights.layer(Tensor::kNorm1Scale, layer_->resident),
                 state_.weights.layer(Tensor::kNorm1Bias, layer_->resident), a, state_.stream);
  compare("norm1", layer, at.a, a);
  a = actual(at.a, p.batch_size, p.hidden_size);
  layer_->qkv = ReferencePair(p.batch_size, qkv_columns(p));
  reference_linear(p, a, state_.weights.layer(Tensor::kQkv, layer_->resident),
                   state_.weights.layer(Tensor::kQkvBias, layer_->resident), layer_->qkv, state_.stream);
  layer_->qkv.rows = p.batch_size * heads_of(p);
  layer_->qkv.columns = p.head_dim;
  if (p.rope) reference_rope(p, layer_->qkv, state_.stream);
  state_.activations.poison(true, state_.stream);
  for (const Tensor tensor : {Tensor::kKey, Tensor::kValue}) {
    poison_newest(p, state_.weights.layer(tensor, layer_->resident), state_.stream);
  }
  state_.stream.synchronize("the reference of a layer's projections");  // before `a` is freed
}

void RunCheck::check_qkv(int64_t layer) {
  const PolarProblem& p = state_.problem;
  const DeviceBuffer out =
      gather_qkv(p, state_.activations.at().q, state_.weights.layer(Tensor::kKey, layer_->resident),
                 state_.weights.layer(Tensor::kValue, layer_->resident), state_.stream);
  compare("q, k, v", layer, out.as(), layer_->qkv);
  layer_->qkv = actual(out.as(), layer_->qkv.rows, layer_->qkv.columns);
  state_.stream.synchronize("keeping q, k and v");  // before `out` is freed
}

void RunCheck::check_attention_router(int64_t layer) {
  const PolarProblem& p = state_.problem;
  const Activations& at = state_.activations.at();
  ReferencePair scores(p.batch_size, p.num_kv_heads);
  reference_linear(p, actual(at.a, p.batch_size, p.hidden_size),
                   state_.weights.layer(Tensor::kAttentionRouter, layer_->resident), nullptr, scores, state_.stream);
  compare_scores("group scores", layer, at.group_scores, scores);
  check_selection("group index", layer, at.group_scores, p.batch_size, p.num_kv_heads, at.group_index,
                  sequence_.groups(layer));
}

void RunCheck::check_attention(int64_t layer) {
  const PolarProblem& p = state_.problem;
  const Activations& at = state_.activations.at();
  layer_->attention = ReferencePair(p.batch_size * p.num_qo_heads, p.head_dim);
  const DeviceBuffer scratch(reference_attention_scratch_bytes(p));
  reference_attention(p, layer_->qkv, state_.weights.layer(Tensor::kKey, layer_->resident),
                      state_.weights.layer(Tensor::kValue, layer_->resident),
                      sequence_.selects_groups(layer) ? at.group_index : nullptr, sequence_.groups(layer),
                      layer_->attention, scratch.as(), state_.stream);
  compare("attention", layer, at.attention, layer_->attention);
  layer_->attention = actual(at.attention, p.batch_size, p.num_qo_heads * p.head_dim);
}

void RunCheck::check_second_norm(int64_t layer) {
  const PolarProblem& p = state_.problem;
  const Weights& w = state_.weights;
  const Activations& at = state_.activations.at();
  ReferencePair projected(p.batch_size, p.hidden_size);
  layer_->y = ReferencePair(p.batch_size, p.hidden_size);
  layer_->n2 = ReferencePair(p.batch_size, p.hidden_size);
  reference_linear(p, layer_->attention, w.layer(Tensor::kOut, layer_->resident),
                   w.layer(Tensor::kOutBias, layer_->resident), projected, state_.stream);
  reference_add(p, layer_->x, projected, layer_->y, state_.stream);
  compare("attention block", layer, at.y, layer_->y);
  layer_->y = actual(at.y, p.batch_size, p.hidden_size);
  reference_norm(p, layer_->y, w.layer(Tensor::kNorm2Scale, layer_->resident),
                 w.layer(Tensor::kNorm2Bias, layer_->resident), layer_->n2, state_.stream);
  compare("norm2", layer, at.n2, layer_->n2);
  layer_->n2 = actual(at.n2, p.batch_size, p.hidden_size);
}

void RunCheck::check_mlp_router(int64_t layer) {
  const PolarProblem& p = state_.problem;
  const Activations& at = state_.activations.at();
  ReferencePair hidden(p.batch_size, p.mlp_router_rank), logits(p.batch_size, p.intermediate_size);
  ReferencePair scores(1, p.intermediate_size);
  reference_linear(p, actual(at.a, p.batch_size, p.hidden_size),
                   state_.weights.layer(Tensor::kMlpRouterDown, layer_->resident), nullptr, hidden, state_.stream);
  reference_linear(p, hidden, state_.weights.layer(Tensor::kMlpRouterUp, layer_->resident), nullptr, logits,
                   state_.stream);
  reference_relu_sum(logits, scores, state_.stream);
  compare_scores("neuron scores", layer, at.neuron_scores, scores);
  check_selection("neuron index", layer, at.neuron_scores, 1, p.intermediate_size, at.neuron_index,
                  sequence_.neurons(layer));
}

void RunCheck::finish_mlp(int64_t layer) {
  const PolarProblem& p = state_.problem;
  const Weights& w = state_.weights;
  const int64_t r = layer_->resident;
  ReferencePair z(p.batch_size, p.intermediate_size * up_rows(p)), hidden(p.batch_size, p.intermediate_size);
  ReferencePair down(p.batch_size, p.hidden_size);
  reference_linear(p, layer_->n2, w.layer(Tensor::kUp, r), w.layer(Tensor::kUpBias, r), z, state_.stream);
  reference_activate(p, z, hidden, state_.stream);
  const int32_t* index = sequence_.selects_neurons() ? state_.activations.at().neuron_index : nullptr;
  launch_reference_mlp_down(p, hidden.exact.as<double>(), hidden.naive.as<float>(), w.layer(Tensor::kDown, r),
                            w.layer(Tensor::kDownBias, r), index, sequence_.neurons(layer), down.exact.as<double>(),
                            down.naive.as<float>(), state_.stream);
  layer_->out = ReferencePair(p.batch_size, p.hidden_size);
  reference_add(p, layer_->y, down, layer_->out, state_.stream);
  state_.stream.synchronize("the reference of a layer's MLP");
}

void RunCheck::check_logits() {
  const PolarProblem& p = state_.problem;
  const Activations& at = state_.activations.at();
  ReferencePair normed(p.batch_size, p.hidden_size), logits(p.batch_size, p.vocab_size);
  reference_norm(p, actual(at.x, p.batch_size, p.hidden_size), state_.weights.shared(Tensor::kFinalNormScale),
                 state_.weights.shared(Tensor::kFinalNormBias), normed, state_.stream);
  compare("final norm", p.num_layers, at.a, normed);
  reference_linear(p, normed, state_.weights.shared(Tensor::kHead), nullptr, logits, state_.stream);
  compare("logits", p.num_layers, at.logits, logits);
  const auto values = to_host<uint16_t>(at.logits, static_cast<size_t>(p.batch_size * p.vocab_size));
  const std::vector<int32_t> tokens = to_host<int32_t>(at.token, static_cast<size_t>(p.batch_size));
  std::vector<RowError> rows;
  for (int64_t b = 0; b < p.batch_size; ++b) {
    const uint16_t* row = values.data() + b * p.vocab_size;
    int64_t best = 0;
    for (int64_t i = 1; i < p.vocab_size; ++i) {
      if (half_to_float(row[i], p.dtype) > half_to_float(row[best], p.dtype)) best = i;
    }
    // The run's own logits decide: an index is right or it is not.
    rows.push_back({tokens[static_cast<size_t>(b)] == best ? 0.0 : INFINITY, 0.0, 0.0});
  }
  add("token", p.num_layers, rows);
}

ReferencePair RunCheck::actual(const void* values, int64_t rows, int64_t columns) const {
  ReferencePair pair(rows, columns);
  launch_reference_widen(state_.problem, values, rows * columns, pair.exact.as<double>(), pair.naive.as<float>(),
                         state_.stream);
  return pair;
}

void RunCheck::compare(const char* what, int64_t layer, const void* out, const ReferencePair& reference) {
  const DeviceBuffer errors(static_cast<size_t>(reference.rows) * sizeof(RowError));
  launch_compare_rows(state_.problem.dtype, out, reference.rows, reference.columns, reference.exact.as<double>(),
                      reference.naive.as<float>(), reference.columns, nullptr, nullptr, errors.as<RowError>(),
                      state_.stream);
  state_.stream.synchronize(what);
  add(what, layer, to_host<RowError>(errors.as(), static_cast<size_t>(reference.rows)));
}

// Scores are float32 and few: judged on the host.
void RunCheck::compare_scores(const char* what, int64_t layer, const float* scores, const ReferencePair& reference) {
  state_.stream.synchronize(what);
  const auto count = static_cast<size_t>(reference.rows * reference.columns);
  const std::vector<float> got = to_host<float>(scores, count), naive = to_host<float>(reference.naive.as(), count);
  const std::vector<double> exact = to_host<double>(reference.exact.as(), count);
  std::vector<RowError> rows(static_cast<size_t>(reference.rows));
  for (size_t i = 0; i < count; ++i) {
    RowError& row = rows[i / static_cast<size_t>(reference.columns)];
    const double distance = std::fabs(got[i] - exact[i]);
    row.error = std::max(row.error, std::isfinite(distance) ? distance : INFINITY);
    row.naive = std::max(row.naive, std::fabs(naive[i] - exact[i]));
    row.reference = std::max(row.reference, std::fabs(exact[i]));
  }
  add(what, layer, rows);
}

void RunCheck::check_selection(const char* what, int64_t layer, const float* scores, int64_t rows, int64_t total,
                               const int32_t* index, int64_t count) {
  const std::vector<float> values = to_host<float>(scores, static_cast<size_t>(rows * total));
  const std::vector<int32_t> chosen = to_host<int32_t>(index, static_cast<size_t>(rows * count));
  std::vector<RowError> errors;
  bool in_range = true;
  for (int64_t row = 0; row < rows; ++row) {
    const std::vector<int32_t> wanted = largest(values.data() + row * total, total, count);
    const int32_t* got = chosen.data() + row * count;
    errors.push_back({std::equal(wanted.begin(), wanted.end(), got) ? 0.0 : INFINITY, 0.0, 0.0});
    in_range = in_range && std::all_of(got, got + count, [&](int32_t i) { return i >= 0 && i < total; });
  }
  add(what, layer, errors);
  // What follows would read out of bounds, and so lose the device.
  if (!in_range)
    throw NativeError("E_NATIVE", std::string("Expected indices below ") + std::to_string(total) +
                                      " from the router for " + what + ", got others");
}

void RunCheck::add(const char* what, int64_t layer, const std::vector<RowError>& rows) {
  int64_t failed = 0;
  double worst = 0;
  for (const RowError& row : rows) {
    verdict_.add(rows_++, row);
    const double tolerance = row_tolerance(row, state_.problem.dtype);
    const double share = row.error == 0 ? 0 : tolerance > 0 ? row.error / tolerance : INFINITY;
    if (!(share <= 1)) ++failed;
    worst = std::max(worst, share);
  }
  if (failed == 0) return;
  char text[200];
  std::snprintf(text, sizeof text,
                "%s, layer %lld, %s: %lld of %zu rows are outside the tolerance, the worst uses %.3g "
                "times its own",
                kernel_.c_str(), static_cast<long long>(layer), what, static_cast<long long>(failed), rows.size(),
                worst);
  state_.reporter->warn(-1, text);
}

}  // namespace polar::cuda::step
