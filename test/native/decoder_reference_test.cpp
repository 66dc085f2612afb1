// The references of layers, routers and steps: by hand where that is possible, and against Hugging Face transformers.
#include "../../src/native/reference/decoder.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "../../src/native/common/half.h"
#include "check.h"
#include "step_fixture.h"

using namespace polar;

namespace {

std::vector<uint16_t> halves(const std::vector<float>& values) {
  std::vector<uint16_t> out;
  for (float v : values) out.push_back(float_to_half(v, POLAR_FP16));
  return out;
}

PolarProblem tiny() {
  PolarProblem p{};
  p.scope = POLAR_SCOPE_LAYER;
  p.dtype = POLAR_FP16;
  p.batch_size = 1;
  p.kv_len = 1;
  p.kv_capacity = 1;
  p.num_qo_heads = p.num_kv_heads = 1;
  p.head_dim = 8;
  p.hidden_size = 8;
  p.intermediate_size = 1;
  p.activation = POLAR_RELU;
  p.norm = POLAR_NORM_RMS;
  p.norm_epsilon = 1e-30;
  p.num_layers = 1;
  p.mlp_router_rank = 8;
  return p;
}

// Row i of an 8 by 8 matrix is `scale` times the i-th unit vector.
std::vector<float> diagonal(float scale) {
  std::vector<float> w(64, 0.0f);
  for (int i = 0; i < 8; ++i) w[static_cast<size_t>(9 * i)] = scale;
  return w;
}

}  // namespace

TEST("decoder reference: LayerNorm and RMSNorm by hand") {
  PolarProblem p = tiny();
  const Row x = stored_row(p, halves({1, 3, 1, 3, 1, 3, 1, 3}).data(), 8);
  const auto scale = halves({2, 2, 2, 2, 2, 2, 2, 4});
  const auto bias = halves({0, 0, 0, 0, 0, 0, 1, 0});
  p.norm = POLAR_NORM_LAYER;  // mean 2, variance 1
  const Row layer = norm_reference(p, x, scale.data(), bias.data());
  const double expected[8] = {-2, 2, -2, 2, -2, 2, -1, 4};
  for (int i = 0; i < 8; ++i) CHECK_NEAR(layer.exact[i], expected[i], 1e-12);
  p.norm = POLAR_NORM_RMS;  // mean square 5
  const Row rms = norm_reference(p, x, scale.data(), nullptr);
  CHECK_NEAR(rms.exact[0], 2 / std::sqrt(5.0), 1e-12);
  CHECK_NEAR(rms.exact[7], 12 / std::sqrt(5.0), 1e-12);
  CHECK_EQ(rms.naive[7], half_to_float(float_to_half(static_cast<float>(rms.exact[7]), p.dtype), p.dtype));
  p.norm_epsilon = 20;  // 5 + 20 under the root
  CHECK_NEAR(norm_reference(p, x, scale.data(), nullptr).exact[0], 2.0 / 5, 1e-12);
}

TEST("decoder reference: RoPE turns the pair (i, i + d_h/2) by position * theta^(-2i/d_h)") {
  PolarProblem p = tiny();
  p.rope_theta = 16;  // frequencies 1, 1/2, 1/4, 1/8
  Row row = stored_row(p, halves({1, 1, 0, 0, 0, 0, 0, 1}).data(), 8);
  rope_reference(p, row, 1, 3);
  CHECK_NEAR(row.exact[0], std::cos(3.0), 1e-12);
  CHECK_NEAR(row.exact[4], std::sin(3.0), 1e-12);
  CHECK_NEAR(row.exact[1], std::cos(1.5), 1e-12);
  CHECK_NEAR(row.exact[5], std::sin(1.5), 1e-12);
  CHECK_EQ(row.exact[2], 0.0);
  CHECK_NEAR(row.exact[3], -std::sin(3.0 / 8), 1e-12);
  CHECK_NEAR(row.exact[7], std::cos(3.0 / 8), 1e-12);
  Row still = stored_row(p, halves({1, 2, 3, 4, 5, 6, 7, 8}).data(), 8);
  rope_reference(p, still, 1, 0);
  for (int i = 0; i < 8; ++i) CHECK_EQ(still.exact[i], i + 1.0);
}

TEST("decoder reference: the first token of a layer, by hand") {
  // One position: attention returns the new value. All norms of x = 2 are 1.
  PolarProblem p = tiny();
  p.mlp_bias = 1;
  const auto x = halves({2, 2, 2, 2, 2, 2, 2, 2});
  const auto ones = halves(std::vector<float>(8, 1.0f));
  std::vector<float> qkv = diagonal(1);
  for (float scale : {1.0f, 3.0f}) {
    const auto more = diagonal(scale);
    qkv.insert(qkv.end(), more.begin(), more.end());
  }
  const auto wqkv = halves(qkv);                        // v = 3 a = 3
  const auto wo = halves(diagonal(2));                  // y = 2 + 2 * 3 = 8, normed 1
  const auto w1 = halves(std::vector<float>(8, 0.5f));  // 4 - 1 = 3
  const auto b1 = halves({-1});
  const auto w2 = halves({0, 1, 2, 3, 4, 5, 6, 7});  // 3 n
  const auto b2 = halves({0.5, 0, 0, 0, 0, 0, 0, 0});
  std::vector<uint16_t> cache(8, kHalfNaN);  // no position before the new one is read
  LayerTensors t{};
  t.norm1_scale = t.norm2_scale = ones.data();
  t.wqkv = wqkv.data();
  t.wo = wo.data();
  t.w1 = w1.data();
  t.b1 = b1.data();
  t.w2 = w2.data();
  t.b2 = b2.data();
  t.k_cache = t.v_cache = cache.data();
  const Row row = stored_row(p, x.data(), 8);
  const LayerRows all = layer_reference(p, t, row, 0, {nullptr, 0, nullptr, 0}, serial_for);
  for (int i = 0; i < 8; ++i) {
    CHECK_NEAR(all.a.exact[i], 1.0, 1e-12);
    CHECK_NEAR(all.k.exact[i], 1.0, 1e-12);
    CHECK_NEAR(all.v.exact[i], 3.0, 1e-12);
    CHECK_NEAR(all.out.exact[i], 8.0 + 3.0 * i + (i == 0 ? 0.5 : 0), 1e-12);
    CHECK_NEAR(all.out.naive[i], all.out.exact[i], 0.05);
  }
  // No group: the attention block adds nothing, y = 2 and its norm is 1 again. No neuron: b2 alone.
  const int32_t none[] = {0};
  const LayerRows empty = layer_reference(p, t, row, 0, {none, 0, none, 0}, serial_for);
  for (int i = 0; i < 8; ++i) CHECK_NEAR(empty.out.exact[i], 2.0 + (i == 0 ? 0.5 : 0), 1e-12);
}

TEST("decoder reference: router scores, by hand") {
  PolarProblem p = tiny();
  p.num_kv_heads = 2;
  p.intermediate_size = 3;
  const auto weight = halves({1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1});
  const Row a = stored_row(p, halves({3, -1, 0, 0, 0, 0, 0, 5}).data(), 8);
  const Row scores = attention_router_reference(p, weight.data(), a, serial_for);
  CHECK_EQ(scores.exact[0], 3.0);
  CHECK_EQ(scores.exact[1], 3.0);  // -2 + 5
  // hidden = a; logits of the neurons 0, 1, 2: 3, -1, 2
  const auto down = halves(diagonal(1));
  const auto up = halves({1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0});
  Row sums{std::vector<double>(3, 0.0), std::vector<float>(3, 0.0f)};
  add_mlp_router_reference(p, down.data(), up.data(), a, {0, 1, 2}, serial_for, sums);
  const Row other = stored_row(p, halves({-1, 4, 0, 0, 0, 0, 0, 0}).data(), 8);  // -1, 4, 3
  add_mlp_router_reference(p, down.data(), up.data(), other, {0, 1, 2}, serial_for, sums);
  CHECK_EQ(sums.exact[0], 3.0);
  CHECK_EQ(sums.exact[1], 4.0);
  CHECK_EQ(sums.exact[2], 5.0);
  CHECK_EQ(sums.naive[2], 5.0f);
}

TEST("decoder reference: top k keeps the lower index of equals and comes out ascending") {
  const float scores[] = {1, 5, 3, 5, -2, 3};
  CHECK(top_k_reference(scores, 6, 1) == std::vector<int32_t>({1}));
  CHECK(top_k_reference(scores, 6, 3) == std::vector<int32_t>({1, 2, 3}));
  CHECK(top_k_reference(scores, 6, 5) == std::vector<int32_t>({0, 1, 2, 3, 5}));
}

namespace {

using polar::test::StepFixture;

// The tensors of a layer or of the end, and the memory they lie in.
template <typename Tensors, typename Fields>
Tensors load(const StepFixture& fixture, const PolarProblem& p, const Fields& fields, int64_t layer,
             std::vector<std::vector<uint16_t>>& kept) {
  Tensors t{};
  for (const auto& field : fields) {
    kept.push_back(fixture.stored(p, field.name, layer));
    t.*field.member = kept.back().empty() ? nullptr : kept.back().data();
  }
  return t;
}

// max|ours - theirs| in units of max|theirs|; theirs is row `row` of a tensor.
double relative_error(const Row& ours, const std::vector<float>& theirs, int64_t row) {
  const size_t columns = ours.exact.size();
  double error = 0;
  double largest = 0;
  for (size_t i = 0; i < columns; ++i) {
    const double value = theirs[static_cast<size_t>(row) * columns + i];
    error = std::max(error, std::fabs(ours.exact[i] - value));
    largest = std::max(largest, std::fabs(value));
  }
  return error / largest;
}

// Both sides start from the same stored values and compute without rounding to 16 bits; theirs in float32, whose sums
// of some 400 terms are good to about 1e-5 of the largest value after three layers.
constexpr double kFloat32 = 2e-5;

void compare_sequence(const StepFixture& fixture, const PolarProblem& p, int64_t batch) {
  const auto input = fixture.stored(p, "x", 0);
  Row x = stored_row(p, input.data() + batch * p.hidden_size, p.hidden_size);
  for (int64_t l = 0; l < p.num_layers; ++l) {
    std::vector<std::vector<uint16_t>> kept;
    auto t = load<LayerTensors>(fixture, p, kLayerFields, l, kept);
    std::vector<uint16_t> k = fixture.stored(p, "k_cache", l);
    std::vector<uint16_t> v = fixture.stored(p, "v_cache", l);
    t.k_cache = k.data();
    t.v_cache = v.data();
    x = layer_reference(p, t, x, batch, {nullptr, 0, nullptr, 0}, serial_for).out;
    CHECK_NEAR(relative_error(x, fixture.values("layer_output", l), batch), 0, kFloat32);
  }
  std::vector<std::vector<uint16_t>> kept;
  const auto end = load<EndTensors>(fixture, p, kEndFields, 0, kept);
  const Row logits = logits_reference(p, end, x, serial_for);
  CHECK_NEAR(relative_error(logits, fixture.values("logits", 0), batch), 0, kFloat32);
}

}  // namespace

TEST("decoder reference: exact rows of whole steps equal Hugging Face transformers in float32") {
  for (const char* name : polar::test::kStepFixtures) {
    const StepFixture fixture(std::string(POLAR_FIXTURES) + "/step/" + name + ".safetensors");
    const PolarProblem p = fixture.problem(POLAR_SCOPE_STEP, POLAR_BF16);
    for (int64_t b = 0; b < p.batch_size; ++b) compare_sequence(fixture, p, b);
  }
}
