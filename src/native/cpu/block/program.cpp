#include "program.h"

#include <algorithm>

#include "../../common/problem.h"
#include "../kernels/attention_units.h"
#include "../kernels/decoder.h"
#include "../kernels/linear.h"
#include "../kernels/mlp_phases.h"
#include "../kernels/router.h"

namespace polar::cpu {
namespace {

int64_t attention_width(const PolarProblem& p) { return p.num_qo_heads * p.head_dim; }

size_t scratch_bytes(const PolarProblem& p, int threads) {
  return std::max({linear_workspace_bytes(p.batch_size, p.hidden_size, threads),
                   linear_workspace_bytes(p.batch_size, attention_width(p), threads),
                   attention_units_workspace_bytes(p, threads),
                   mlp_direct_workspace_bytes(p, p.intermediate_size, threads),
                   attention_router_workspace_bytes(p, threads), mlp_router_workspace_bytes(p, threads)});
}

BlockSpace carve(Carver& carver, const PolarProblem& p, int threads) {
  const auto half = [&](int64_t count) {
    return reinterpret_cast<uint16_t*>(carver.take(static_cast<size_t>(count) * sizeof(uint16_t)));
  };
  const auto real = [&](int64_t count) {
    return reinterpret_cast<float*>(carver.take(static_cast<size_t>(count) * sizeof(float)));
  };
  const auto index = [&](int64_t count) {
    return reinterpret_cast<int32_t*>(carver.take(static_cast<size_t>(count) * sizeof(int32_t)));
  };
  const int64_t rows = p.batch_size * p.hidden_size;
  BlockSpace s;
  s.a = half(rows);
  s.qkv = half(p.batch_size * qkv_columns(p));
  s.q = half(p.batch_size * attention_width(p));
  s.attention = half(p.batch_size * attention_width(p));
  s.y = half(rows);
  s.out[0] = half(rows);
  s.out[1] = half(rows);
  s.group_scores = real(p.batch_size * p.num_kv_heads);
  s.group_index = index(p.batch_size * p.num_kv_heads);
  s.neuron_scores = real(p.intermediate_size);
  s.neuron_index = index(p.intermediate_size);
  s.logits = real(p.batch_size * p.vocab_size);
  s.token = index(p.batch_size);
  s.scratch = carver.take(scratch_bytes(p, threads));
  return s;
}

// A plain projection with bias and, where given, the residual.
void project(const Launch& launch, const BlockSpace& s, const uint16_t* x, int64_t width, const uint16_t* w,
             const uint16_t* bias, int64_t count, const uint16_t* residual, uint16_t* out) {
  LinearArgs args{};
  args.x = x;
  args.batch = launch.problem.batch_size;
  args.in_features = width;
  args.w = w;
  args.bias = bias;
  args.count = count;
  args.activation = POLAR_IDENTITY;
  args.residual = residual;
  args.out = out;
  linear(launch, args, s.scratch);
}

void route(const Launch& launch, const LayerTensors& t, const LayerCounts& counts, const BlockSpace& s) {
  if (counts.routes_groups) {
    attention_router(launch, {s.a, t.attention_router, counts.groups, s.group_scores, s.group_index}, s.scratch);
  }
  if (counts.routes_neurons) {
    mlp_router(launch, {s.a, t.mlp_router_down, t.mlp_router_up, counts.neurons, s.neuron_scores, s.neuron_index},
               s.scratch);
  }
}

void mlp(const Launch& launch, const LayerTensors& t, const LayerCounts& counts, const BlockSpace& s, uint16_t* out) {
  MlpArgs args{};
  args.x = s.a;
  args.w1 = t.w1;
  args.b1 = t.b1;
  args.w2 = t.w2;
  args.b2 = t.b2;
  args.out = out;
  args.neuron_index = counts.routes_neurons ? s.neuron_index : nullptr;
  args.active_neurons = counts.neurons;
  args.residual = s.y;
  mlp_direct(launch, args);
}

}  // namespace

LayerCounts layer_counts(const PolarProblem& p, const PolarCandidate& candidate, int64_t layer) {
  const int64_t groups = layer_groups(p, candidate, layer);
  // Layer 0 of a step computes all groups and has no attention router.
  const bool dense_layer = p.scope == POLAR_SCOPE_STEP && layer == 0;
  return {groups, layer_neurons(p, candidate, layer), selects_groups(p, candidate) && !dense_layer,
          selects_neurons(p, candidate)};
}

BlockConstants::BlockConstants(const PolarProblem& p) {
  all_groups.resize(static_cast<size_t>(p.batch_size * p.num_kv_heads));
  for (size_t i = 0; i < all_groups.size(); ++i) all_groups[i] = static_cast<int32_t>(i % p.num_kv_heads);
  if (!p.rope) return;
  cosine.resize(static_cast<size_t>(p.head_dim / 2));
  sine.resize(cosine.size());
  fill_rope_angles(p, cosine.data(), sine.data());
}

size_t block_space_bytes(const PolarProblem& p, int threads) {
  Carver carver(nullptr);
  carve(carver, p, threads);
  return carver.used();
}

BlockSpace carve_block_space(const PolarProblem& p, int threads, std::byte* workspace) {
  Carver carver(workspace);
  return carve(carver, p, threads);
}

void run_layer(const Launch& launch, const LayerTensors& t, const LayerCounts& counts, const BlockConstants& constants,
               const BlockSpace& s, const uint16_t* x, uint16_t* out, PartClock& clock) {
  const PolarProblem& p = launch.problem;
  const Launch sound{p, launch.inner, launch.pool, s.scratch, false};
  const Launch faulty{p, launch.inner, launch.pool, s.scratch, launch.skip_tile};
  norm(sound, x, t.norm1_scale, t.norm1_bias, s.a);
  clock.lap(Part::kOther);
  project(sound, s, s.a, p.hidden_size, t.wqkv, t.bqkv, qkv_columns(p), nullptr, s.qkv);
  clock.lap(Part::kQkv);
  const bool rope = !constants.cosine.empty();
  split_append(sound, s.qkv, {rope ? constants.cosine.data() : nullptr, rope ? constants.sine.data() : nullptr}, s.q,
               t.k_cache, t.v_cache);
  clock.lap(Part::kOther);
  if (counts.routes_groups || counts.routes_neurons) {
    route(sound, t, counts, s);
    clock.lap(Part::kRouters);
  }
  const int32_t* groups = counts.routes_groups ? s.group_index : constants.all_groups.data();
  attention_units(faulty, {s.q, t.k_cache, t.v_cache, s.attention, groups, counts.groups}, UnitKind::kGroup);
  clock.lap(Part::kAttention);
  project(sound, s, s.attention, attention_width(p), t.wo, t.bo, p.hidden_size, x, s.y);
  clock.lap(Part::kOutProj);
  norm(sound, s.y, t.norm2_scale, t.norm2_bias, s.a);
  clock.lap(Part::kOther);
  mlp(faulty, t, counts, s, out);
  clock.lap(Part::kMlp);
}

void run_end(const Launch& launch, const EndTensors& t, const BlockSpace& s, const uint16_t* x, PartClock& clock) {
  const PolarProblem& p = launch.problem;
  const Launch sound{p, launch.inner, launch.pool, s.scratch, false};
  norm(sound, x, t.norm_scale, t.norm_bias, s.a);
  LinearArgs head{};
  head.x = s.a;
  head.batch = p.batch_size;
  head.in_features = p.hidden_size;
  head.w = t.head;
  head.count = p.vocab_size;
  head.activation = POLAR_IDENTITY;
  head.out_float = s.logits;
  linear(sound, head, s.scratch);
  argmax(sound, s.logits, s.token);
  clock.lap(Part::kOther);
}

}  // namespace polar::cpu
