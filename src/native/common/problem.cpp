#include "problem.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "error.h"

namespace polar {
namespace {

[[noreturn]] void refuse(const std::string& message) { throw NativeError("E_NATIVE", message); }

void expect_range(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) {
    refuse(std::string("Expected ") + std::to_string(low) + ".." + std::to_string(high) + " for " + name + ", got " +
           std::to_string(value));
  }
}

bool ends_with(const std::string& text, const char* suffix) {
  const size_t n = std::strlen(suffix);
  return text.size() >= n && text.compare(text.size() - n, n, suffix) == 0;
}

bool selects(const PolarCandidate& candidate) {
  const std::string kernel = candidate.kernel;
  return kernel.find("/selective") != std::string::npos || ends_with(kernel, "/gather-dense");
}

// `count` of `total` indices, ascending. Selection sampling (Knuth 3.4.2 S) needs no set and comes out sorted.
void draw_random(uint64_t key, int64_t total, int64_t count, int32_t* out) {
  int64_t taken = 0;
  for (int64_t i = 0; i < total && taken < count; ++i) {
    if (random_uniform(key, i) * static_cast<double>(total - i) < static_cast<double>(count - taken)) {
      out[taken++] = static_cast<int32_t>(i);
    }
  }
}

void draw(const PolarCandidate& candidate, uint64_t key, int64_t total, int64_t count, int32_t* out) {
  switch (candidate.index_pattern) {
    case POLAR_INDEX_FIRST:
      std::iota(out, out + count, 0);
      return;
    case POLAR_INDEX_LAST:
      std::iota(out, out + count, static_cast<int32_t>(total - count));
      return;
    case POLAR_INDEX_EVERY_SECOND: {
      const int64_t even = (total + 1) / 2;
      for (int64_t i = 0; i < count; ++i) out[i] = static_cast<int32_t>(i < even ? 2 * i : 2 * (i - even) + 1);
      std::sort(out, out + count);
      return;
    }
    case POLAR_INDEX_EXPLICIT:
      std::copy(candidate.indices, candidate.indices + count, out);
      return;
    default:
      draw_random(key, total, count, out);
  }
}

void check_explicit(const PolarCandidate& candidate, int64_t count, int64_t total) {
  if (candidate.indices == nullptr || candidate.num_indices != count) {
    refuse("Expected " + std::to_string(count) + " entries for indices, got " + std::to_string(candidate.num_indices));
  }
  for (int64_t i = 0; i < count; ++i) {
    const int64_t value = candidate.indices[i];
    if (value < 0 || value >= total || (i > 0 && value <= candidate.indices[i - 1])) {
      refuse("Expected ascending distinct integers in 0.." + std::to_string(total - 1) + " for indices, got " +
             std::to_string(value) + " at position " + std::to_string(i));
    }
  }
}

constexpr int64_t kMax = int64_t{1} << 24;

void check_attention_shape(const PolarProblem& p) {
  expect_range("kv_len", p.kv_len, 1, kMax);
  expect_range("kv_capacity", p.kv_capacity, p.kv_len, kMax);
  expect_range("num_qo_heads", p.num_qo_heads, 1, 4096);
  expect_range("num_kv_heads", p.num_kv_heads, 1, p.num_qo_heads);
  expect_range("head_dim", p.head_dim, 8, 256);
  if (p.num_qo_heads % p.num_kv_heads != 0) refuse("Expected num_qo_heads to be a multiple of num_kv_heads");
  if (p.head_dim % 8 != 0) refuse("Expected a multiple of 8 for head_dim, got " + std::to_string(p.head_dim));
}

void check_mlp_shape(const PolarProblem& p) {
  expect_range("hidden_size", p.hidden_size, 8, kMax);
  expect_range("intermediate_size", p.intermediate_size, 1, kMax);
  expect_range("activation", p.activation, POLAR_RELU, POLAR_SILU);
  if (p.gated && p.mlp_bias) throw NativeError("E_UNSUPPORTED", "Expected a gated MLP without biases");
  if (p.hidden_size % 8 != 0) refuse("Expected a multiple of 8 for hidden_size, got " + std::to_string(p.hidden_size));
}

void check_block_shape(const PolarProblem& p) {
  expect_range("norm", p.norm, POLAR_NORM_LAYER, POLAR_NORM_RMS);
  expect_range("qkv_bias", p.qkv_bias, 0, 1);
  expect_range("out_bias", p.out_bias, 0, 1);
  expect_range("rope", p.rope, 0, 1);
  if (p.rope && !(p.rope_theta > 0)) refuse("Expected a positive number for rope_theta");
  if (!(p.norm_epsilon > 0)) refuse("Expected a positive number for norm_epsilon");
  const bool step = p.scope == POLAR_SCOPE_STEP;
  expect_range("num_layers", p.num_layers, 1, step ? 4096 : 1);
  expect_range("vocab_size", p.vocab_size, step ? 1 : 0, kMax);
}

// The counts of a layer or step candidate, layer by layer.
void check_layers(const PolarProblem& p, const PolarCandidate& candidate) {
  if (selects_groups(p, candidate)) expect_range("active_groups", candidate.active_groups, 1, p.num_kv_heads);
  for (int64_t layer = 0; layer < p.num_layers; ++layer) {
    expect_range("active_neurons", layer_neurons(p, candidate, layer), 1, p.intermediate_size);
  }
  if (candidate.index_pattern != POLAR_INDEX_RANDOM) {
    refuse("Expected the routers' own choice for the index pattern of a layer or step");
  }
}

}  // namespace

int64_t tensor_elements(const PolarProblem& p, Tensor tensor) {
  const bool attention = is_attention(p) || is_block(p);
  const bool layer_norm = p.norm == POLAR_NORM_LAYER;
  const bool step = p.scope == POLAR_SCOPE_STEP;
  const bool routed = is_router(p) || is_block(p);
  switch (tensor) {
    case Tensor::kQuery:
      return is_attention(p) ? p.batch_size * p.num_qo_heads * p.head_dim : 0;
    case Tensor::kKey:
    case Tensor::kValue:
      return attention ? p.batch_size * p.num_kv_heads * p.kv_capacity * p.head_dim : 0;
    case Tensor::kInput:
      return has_up(p) || is_router(p) ? p.batch_size * p.hidden_size : 0;
    case Tensor::kUp:
      return has_up(p) ? p.intermediate_size * up_rows(p) * p.hidden_size : 0;
    case Tensor::kUpBias:
      return has_up(p) && p.mlp_bias ? p.intermediate_size : 0;
    case Tensor::kDown:
      return has_down(p) ? p.intermediate_size * p.hidden_size : 0;
    case Tensor::kDownBias:
      return has_down(p) && p.mlp_bias ? p.hidden_size : 0;
    case Tensor::kHidden:
      return p.scope == POLAR_SCOPE_MLP_DOWN ? p.batch_size * p.intermediate_size : 0;
    case Tensor::kNorm1Scale:
    case Tensor::kNorm2Scale:
      return is_block(p) ? p.hidden_size : 0;
    case Tensor::kNorm1Bias:
    case Tensor::kNorm2Bias:
      return is_block(p) && layer_norm ? p.hidden_size : 0;
    case Tensor::kQkv:
      return is_block(p) ? qkv_columns(p) * p.hidden_size : 0;
    case Tensor::kQkvBias:
      return is_block(p) && p.qkv_bias ? qkv_columns(p) : 0;
    case Tensor::kOut:
      return is_block(p) ? p.hidden_size * p.num_qo_heads * p.head_dim : 0;
    case Tensor::kOutBias:
      return is_block(p) && p.out_bias ? p.hidden_size : 0;
    case Tensor::kAttentionRouter:
      return routed ? p.num_kv_heads * p.hidden_size : 0;
    case Tensor::kMlpRouterDown:
      return routed ? p.mlp_router_rank * p.hidden_size : 0;
    case Tensor::kMlpRouterUp:
      return routed ? p.intermediate_size * p.mlp_router_rank : 0;
    case Tensor::kFinalNormScale:
      return step ? p.hidden_size : 0;
    case Tensor::kFinalNormBias:
      return step && layer_norm ? p.hidden_size : 0;
    case Tensor::kHead:
      return step ? p.vocab_size * p.hidden_size : 0;
    default:
      return 0;
  }
}

float tensor_scale(const PolarProblem& p, Tensor tensor) {
  const auto fan_in = [](int64_t width) { return 1.0f / std::sqrt(static_cast<float>(width)); };
  switch (tensor) {
    case Tensor::kUp:
    case Tensor::kQkv:
    case Tensor::kAttentionRouter:
    case Tensor::kMlpRouterDown:
    case Tensor::kHead:
      return fan_in(p.hidden_size);
    case Tensor::kDown:
      return fan_in(p.intermediate_size);
    case Tensor::kOut:
      return fan_in(p.num_qo_heads * p.head_dim);
    case Tensor::kMlpRouterUp:
      return fan_in(p.mlp_router_rank);
    case Tensor::kUpBias:
    case Tensor::kDownBias:
    case Tensor::kQkvBias:
    case Tensor::kOutBias:
    case Tensor::kNorm1Bias:
    case Tensor::kNorm2Bias:
    case Tensor::kFinalNormBias:
      return 0.5f;
    default:
      return 1.0f;
  }
}

std::string problem_text(const PolarProblem& p) {
  std::string text = std::string(p.dtype == POLAR_BF16 ? "bf16" : "fp16") + " B=" + std::to_string(p.batch_size);
  if (is_attention(p) || is_block(p)) {
    text += " N=" + std::to_string(p.kv_len) + " H=" + std::to_string(p.num_qo_heads) + "/" +
            std::to_string(p.num_kv_heads) + " d_h=" + std::to_string(p.head_dim);
  }
  if (!is_attention(p)) text += " d=" + std::to_string(p.hidden_size) + " D=" + std::to_string(p.intermediate_size);
  if (is_router(p)) {
    text += " H_kv=" + std::to_string(p.num_kv_heads) + " rank=" + std::to_string(p.mlp_router_rank);
  }
  if (is_block(p)) text += " L=" + std::to_string(p.num_layers);
  return text;
}

OutputShape output_shape(const PolarProblem& p, const PolarCandidate& candidate) {
  if (is_attention(p)) return {p.batch_size * p.num_qo_heads, p.head_dim};
  if (p.scope == POLAR_SCOPE_STEP) return {p.batch_size, p.vocab_size};
  if (p.scope == POLAR_SCOPE_MLP_UP) {
    return {p.batch_size, selects(candidate) ? candidate.active_neurons : p.intermediate_size};
  }
  return {p.batch_size, p.hidden_size};
}

void check_problem(const PolarProblem& p) {
  expect_range("scope", p.scope, POLAR_SCOPE_ATTENTION, POLAR_SCOPE_STEP);
  expect_range("dtype", p.dtype, POLAR_BF16, POLAR_FP16);
  expect_range("batch_size", p.batch_size, 1, kMax);
  if (is_attention(p) || is_block(p)) check_attention_shape(p);
  if (!is_attention(p)) check_mlp_shape(p);
  if (is_router(p) || is_block(p)) {
    expect_range("num_kv_heads", p.num_kv_heads, 1, 4096);
    expect_range("mlp_router_rank", p.mlp_router_rank, 8, kMax);
    if (p.mlp_router_rank % 8 != 0) refuse("Expected a multiple of 8 for mlp_router_rank");
  }
  if (is_block(p)) check_block_shape(p);
}

void check_candidate(const PolarProblem& p, const PolarCandidate& candidate, const std::vector<std::string>& kernels) {
  if (candidate.kernel == nullptr || std::find(kernels.begin(), kernels.end(), candidate.kernel) == kernels.end()) {
    throw NativeError("E_UNSUPPORTED", std::string("Expected a kernel of this backend, got ") +
                                           (candidate.kernel == nullptr ? "null" : candidate.kernel));
  }
  const std::string id = candidate.kernel;
  const char* scope = is_router(p) ? "router/" : p.scope == POLAR_SCOPE_LAYER ? "layer/" : "step/";
  if ((is_router(p) || is_block(p)) && !id.starts_with(scope)) {
    throw NativeError("E_UNSUPPORTED", std::string("Expected a kernel of scope ") + scope + "*, got " + id);
  }
  expect_range("index_pattern", candidate.index_pattern, POLAR_INDEX_RANDOM, POLAR_INDEX_EXPLICIT);
  if (is_block(p)) return check_layers(p, candidate);
  if (selects_groups(p, candidate)) {
    expect_range("active_groups", candidate.active_groups, 1, p.num_kv_heads);
    if (candidate.index_pattern == POLAR_INDEX_EXPLICIT) {
      check_explicit(candidate, candidate.active_groups, p.num_kv_heads);
    }
  }
  if (selects_neurons(p, candidate)) {
    expect_range("active_neurons", candidate.active_neurons, 1, p.intermediate_size);
    if (candidate.index_pattern == POLAR_INDEX_EXPLICIT) {
      check_explicit(candidate, candidate.active_neurons, p.intermediate_size);
    }
  }
}

void check_options(const PolarOptions& o) {
  expect_range("mode", o.mode, POLAR_MODE_MEASURE, POLAR_MODE_VERIFY);
  expect_range("device", o.device, 0, 1 << 16);
  expect_range("threads", o.threads, 0, 4096);
  expect_range("min_samples", o.min_samples, 3, 1 << 20);
  expect_range("max_samples", o.max_samples, o.min_samples, 1 << 20);
  expect_range("warmup", o.warmup, 1, 1 << 20);
  expect_range("repeats", o.repeats, 1, 1000);
  if (!(o.max_noise > 0) || !(o.max_time_s > 0) || !(o.min_sample_us >= 0)) {
    refuse("Expected positive numbers for max_noise, max_time_s and min_sample_us");
  }
}

bool selects_groups(const PolarProblem& p, const PolarCandidate& candidate) {
  const std::string id = candidate.kernel;
  if (is_block(p)) return ends_with(id, "/head-sparse") || ends_with(id, "/polar");
  if (is_router(p)) return ends_with(id, "/attention-topk");
  return is_attention(p) && selects(candidate);
}

bool selects_neurons(const PolarProblem& p, const PolarCandidate& candidate) {
  const std::string id = candidate.kernel;
  if (is_block(p)) return ends_with(id, "/mlp-sparse") || ends_with(id, "/polar");
  if (is_router(p)) return ends_with(id, "/mlp-topk");
  return !is_attention(p) && selects(candidate);
}

int64_t layer_neurons(const PolarProblem& p, const PolarCandidate& candidate, int64_t layer) {
  if (!selects_neurons(p, candidate)) return p.intermediate_size;
  return candidate.layer_active_neurons != nullptr ? candidate.layer_active_neurons[layer] : candidate.active_neurons;
}

int64_t layer_groups(const PolarProblem& p, const PolarCandidate& candidate, int64_t layer) {
  const bool dense_layer = p.scope == POLAR_SCOPE_STEP && layer == 0;
  return selects_groups(p, candidate) && !dense_layer ? candidate.active_groups : p.num_kv_heads;
}

std::vector<int32_t> group_index(const PolarProblem& p, const PolarCandidate& candidate, int64_t copy) {
  const bool sparse = selects_groups(p, candidate);
  const int64_t count = sparse ? candidate.active_groups : p.num_kv_heads;
  std::vector<int32_t> index(static_cast<size_t>(p.batch_size * count));
  for (int64_t b = 0; b < p.batch_size; ++b) {
    int32_t* row = index.data() + b * count;
    if (!sparse) {
      std::iota(row, row + count, 0);
      continue;
    }
    const uint64_t key = stream_key(p.seed, Tensor::kGroups, static_cast<uint64_t>(copy * p.batch_size + b));
    draw(candidate, key, p.num_kv_heads, count, row);
  }
  return index;
}

std::vector<int32_t> neuron_index(const PolarProblem& p, const PolarCandidate& candidate, int64_t copy) {
  const bool sparse = selects_neurons(p, candidate);
  const int64_t count = sparse ? candidate.active_neurons : p.intermediate_size;
  std::vector<int32_t> index(static_cast<size_t>(count));
  if (sparse) {
    const uint64_t key = stream_key(p.seed, Tensor::kNeurons, static_cast<uint64_t>(copy));
    draw(candidate, key, p.intermediate_size, count, index.data());
  } else {
    std::iota(index.begin(), index.end(), 0);
  }
  return index;
}

}  // namespace polar
