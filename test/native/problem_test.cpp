#include "../../src/native/common/problem.h"

#include <set>

#include "../../src/native/common/error.h"
#include "../../src/native/common/tolerance.h"
#include "check.h"

namespace {

PolarProblem attention() {
  PolarProblem p{};
  p.scope = POLAR_SCOPE_ATTENTION;
  p.batch_size = 3;
  p.kv_len = 65;
  p.kv_capacity = 128;
  p.num_qo_heads = 32;
  p.num_kv_heads = 8;
  p.head_dim = 128;
  p.seed = 42;
  return p;
}

PolarProblem mlp() {
  PolarProblem p{};
  p.scope = POLAR_SCOPE_MLP;
  p.batch_size = 2;
  p.hidden_size = 64;
  p.intermediate_size = 100;
  p.seed = 42;
  return p;
}

PolarCandidate selective(const PolarProblem& p, int64_t active, int32_t pattern = POLAR_INDEX_RANDOM) {
  PolarCandidate c{};
  c.kernel = p.scope == POLAR_SCOPE_ATTENTION ? "attention/selective-head" : "mlp/selective";
  (p.scope == POLAR_SCOPE_ATTENTION ? c.active_groups : c.active_neurons) = active;
  c.index_pattern = pattern;
  return c;
}

// Two layers of 4 query and 2 KV heads of 8, d = 32, D = 48.
PolarProblem step() {
  PolarProblem p = mlp();
  p.scope = POLAR_SCOPE_STEP;
  p.kv_len = 5;
  p.kv_capacity = 8;
  p.num_qo_heads = 4;
  p.num_kv_heads = 2;
  p.head_dim = 8;
  p.hidden_size = 32;
  p.intermediate_size = 48;
  p.norm = POLAR_NORM_LAYER;
  p.norm_epsilon = 1e-5;
  p.num_layers = 2;
  p.vocab_size = 11;
  p.mlp_router_rank = 16;
  return p;
}

PolarCandidate variant(const char* kernel, int64_t groups, const int64_t* neurons) {
  PolarCandidate c{};
  c.kernel = kernel;
  c.active_groups = groups;
  c.layer_active_neurons = neurons;
  return c;
}

const std::vector<std::string> kKernels = {"attention/dense", "attention/selective-head", "mlp/selective"};

}  // namespace

TEST("sizes of tensors, by hand") {
  const PolarProblem a = attention();
  CHECK_EQ(polar::tensor_elements(a, polar::Tensor::kQuery), 3 * 32 * 128);
  CHECK_EQ(polar::tensor_elements(a, polar::Tensor::kKey), 3 * 8 * 128 * 128);
  CHECK_EQ(polar::tensor_elements(a, polar::Tensor::kUp), 0);
  PolarProblem m = mlp();
  CHECK_EQ(polar::tensor_elements(m, polar::Tensor::kUp), 6400);
  m.gated = 1;
  CHECK_EQ(polar::tensor_elements(m, polar::Tensor::kUp), 12800);
  CHECK_EQ(polar::tensor_elements(m, polar::Tensor::kUpBias), 0);
}

TEST("sizes of the tensors of a layer and of the end of a step, by hand") {
  PolarProblem p = step();
  const auto elements = [&](polar::Tensor t) { return polar::tensor_elements(p, t); };
  CHECK_EQ(elements(polar::Tensor::kQkv), (4 + 2 * 2) * 8 * 32);
  CHECK_EQ(elements(polar::Tensor::kQkvBias), 0);
  CHECK_EQ(elements(polar::Tensor::kOut), 32 * 4 * 8);
  CHECK_EQ(elements(polar::Tensor::kKey), 2 * 2 * 8 * 8);
  CHECK_EQ(elements(polar::Tensor::kQuery), 0);
  CHECK_EQ(elements(polar::Tensor::kUp), 48 * 32);
  CHECK_EQ(elements(polar::Tensor::kNorm1Bias), 32);
  CHECK_EQ(elements(polar::Tensor::kAttentionRouter), 2 * 32);
  CHECK_EQ(elements(polar::Tensor::kMlpRouterDown), 16 * 32);
  CHECK_EQ(elements(polar::Tensor::kMlpRouterUp), 48 * 16);
  CHECK_EQ(elements(polar::Tensor::kHead), 11 * 32);
  p.norm = POLAR_NORM_RMS;
  CHECK_EQ(elements(polar::Tensor::kNorm1Bias), 0);
  p.scope = POLAR_SCOPE_LAYER;
  CHECK_EQ(elements(polar::Tensor::kHead), 0);
  CHECK_EQ(elements(polar::Tensor::kQkv), (4 + 2 * 2) * 8 * 32);
}

TEST("the first layer of a step computes all groups; neurons are counted layer by layer") {
  const PolarProblem p = step();
  const int64_t neurons[] = {7, 48};
  const PolarCandidate polar = variant("step/polar", 1, neurons);
  CHECK_EQ(polar::layer_groups(p, polar, 0), 2);
  CHECK_EQ(polar::layer_groups(p, polar, 1), 1);
  CHECK_EQ(polar::layer_neurons(p, polar, 0), 7);
  CHECK_EQ(polar::layer_neurons(p, polar, 1), 48);
  const PolarCandidate heads = variant("step/head-sparse", 1, neurons);
  CHECK_EQ(polar::layer_groups(p, heads, 1), 1);
  CHECK_EQ(polar::layer_neurons(p, heads, 0), 48);
  const PolarCandidate mlp = variant("step/mlp-sparse", 1, neurons);
  CHECK_EQ(polar::layer_groups(p, mlp, 1), 2);
  CHECK_EQ(polar::layer_neurons(p, mlp, 0), 7);
  PolarProblem layer = p;
  layer.scope = POLAR_SCOPE_LAYER;
  layer.num_layers = 1;
  CHECK_EQ(polar::layer_groups(layer, variant("layer/polar", 1, nullptr), 0), 1);
}

TEST("a step is refused with counts out of range in any layer, or with a kernel of another scope") {
  const PolarProblem p = step();
  const std::vector<std::string> kernels = {"step/polar", "layer/polar"};
  const int64_t good[] = {7, 48}, bad[] = {7, 49};
  polar::check_problem(p);
  polar::check_candidate(p, variant("step/polar", 1, good), kernels);
  CHECK_THROWS(polar::check_candidate(p, variant("step/polar", 1, bad), kernels), "E_NATIVE");
  CHECK_THROWS(polar::check_candidate(p, variant("step/polar", 3, good), kernels), "E_NATIVE");
  CHECK_THROWS(polar::check_candidate(p, variant("layer/polar", 1, good), kernels), "E_UNSUPPORTED");
  PolarProblem broken = p;
  broken.norm_epsilon = 0;
  CHECK_THROWS(polar::check_problem(broken), "E_NATIVE");
}

TEST("random index sets ascend, are in range, differ by sequence and by copy") {
  const PolarProblem p = attention();
  const PolarCandidate c = selective(p, 5);
  const std::vector<int32_t> first = polar::group_index(p, c, 0);
  CHECK_EQ(first.size(), size_t{15});
  for (int64_t b = 0; b < 3; ++b) {
    for (int64_t i = 0; i < 5; ++i) {
      const int32_t v = first[b * 5 + i];
      CHECK(v >= 0 && v < 8);
      if (i > 0) CHECK(v > first[b * 5 + i - 1]);
    }
  }
  CHECK(first == polar::group_index(p, c, 0));
  CHECK(first != polar::group_index(p, c, 1));
}

TEST("every subset size can be drawn in full") {
  const PolarProblem p = mlp();
  for (int64_t k = 1; k <= 100; ++k) {
    const std::vector<int32_t> index = polar::neuron_index(p, selective(p, k), k);
    const std::set<int32_t> distinct(index.begin(), index.end());
    CHECK_EQ(distinct.size(), static_cast<size_t>(k));
    CHECK(*distinct.begin() >= 0 && *distinct.rbegin() < 100);
  }
}

TEST("fixed patterns") {
  const PolarProblem p = mlp();
  CHECK(polar::neuron_index(p, selective(p, 3, POLAR_INDEX_FIRST), 0) == (std::vector<int32_t>{0, 1, 2}));
  CHECK(polar::neuron_index(p, selective(p, 3, POLAR_INDEX_LAST), 0) == (std::vector<int32_t>{97, 98, 99}));
  CHECK(polar::neuron_index(p, selective(p, 3, POLAR_INDEX_EVERY_SECOND), 0) == (std::vector<int32_t>{0, 2, 4}));
  const std::vector<int32_t> wrapped = polar::neuron_index(p, selective(p, 52, POLAR_INDEX_EVERY_SECOND), 0);
  CHECK_EQ(wrapped[1], 1);  // the 50 even ones, then 1 and 3
  CHECK_EQ(wrapped[3], 3);
}

TEST("selection is uniform over neurons") {
  const PolarProblem p = mlp();
  std::vector<int> hits(100);
  for (int64_t copy = 0; copy < 4000; ++copy) {
    for (const int32_t i : polar::neuron_index(p, selective(p, 30), copy)) ++hits[i];
  }
  // Binomial(4000, 0.3): mean 1200, standard deviation 29; 100 neurons, so 4.5 sigma.
  for (const int h : hits) CHECK(h > 1200 - 131 && h < 1200 + 131);
}

TEST("explicit indices are checked, never trusted") {
  const PolarProblem p = attention();
  PolarCandidate c = selective(p, 3, POLAR_INDEX_EXPLICIT);
  const auto expect_refused = [&](std::vector<int32_t> list) {
    c.indices = list.data();
    c.num_indices = static_cast<int64_t>(list.size());
    CHECK_THROWS(polar::check_candidate(p, c, kKernels), "E_NATIVE");
  };
  expect_refused({0, 1, 8});
  expect_refused({-1, 1, 2});
  expect_refused({1, 1, 2});
  expect_refused({2, 1, 3});
  expect_refused({0, 1});
  c.indices = nullptr;
  c.num_indices = 3;
  CHECK_THROWS(polar::check_candidate(p, c, kKernels), "E_NATIVE");
  const std::vector<int32_t> good = {0, 3, 7};
  c.indices = good.data();
  polar::check_candidate(p, c, kKernels);
}

TEST("problems and counts out of range are refused") {
  PolarProblem p = attention();
  CHECK_THROWS(polar::check_candidate(p, selective(p, 0), kKernels), "E_NATIVE");
  CHECK_THROWS(polar::check_candidate(p, selective(p, 9), kKernels), "E_NATIVE");
  PolarCandidate unknown = selective(p, 1);
  unknown.kernel = "attention/imaginary";
  CHECK_THROWS(polar::check_candidate(p, unknown, kKernels), "E_UNSUPPORTED");
  p.head_dim = 100;
  CHECK_THROWS(polar::check_problem(p), "E_NATIVE");
  p = attention();
  p.num_kv_heads = 5;
  CHECK_THROWS(polar::check_problem(p), "E_NATIVE");
  p = attention();
  p.kv_capacity = 64;
  CHECK_THROWS(polar::check_problem(p), "E_NATIVE");
  PolarProblem m = mlp();
  m.gated = 1;
  m.mlp_bias = 1;
  CHECK_THROWS(polar::check_problem(m), "E_UNSUPPORTED");
}

TEST("a problem's text names the sizes that tell its cell apart") {
  PolarProblem p{};
  p.scope = POLAR_SCOPE_ATTENTION;
  p.dtype = POLAR_FP16;
  p.batch_size = 64, p.kv_len = 1920, p.num_qo_heads = 72, p.num_kv_heads = 9, p.head_dim = 128;
  CHECK_EQ(polar::problem_text(p), std::string("fp16 B=64 N=1920 H=72/9 d_h=128"));
  p.scope = POLAR_SCOPE_ROUTER;
  p.dtype = POLAR_BF16;
  p.hidden_size = 512, p.intermediate_size = 2048, p.mlp_router_rank = 512;
  CHECK_EQ(polar::problem_text(p), std::string("bf16 B=64 d=512 D=2048 H_kv=9 rank=512"));
}

TEST("a verdict needs rows, refuses NaN and lets zero rows be only zero") {
  polar::Verdict empty(POLAR_BF16);
  CHECK_EQ(empty.result(true).passed, 0);

  polar::Verdict good(POLAR_BF16);
  good.add(0, {.error = 0.01, .naive = 0.004, .reference = 1.0});  // tolerance 0.008 + 0.0039
  CHECK_EQ(good.result(true).passed, 1);
  CHECK_EQ(good.result(false).passed, 0);
  CHECK_NEAR(good.result(true).max_rel_err, 0.01, 1e-15);

  polar::Verdict tight(POLAR_FP16);
  tight.add(0, {.error = 0.01, .naive = 0.004, .reference = 1.0});  // fp16: 0.008 + 0.00049
  CHECK_EQ(tight.result(true).passed, 0);

  polar::Verdict nan(POLAR_BF16);
  nan.add(7, {.error = std::nan(""), .naive = 1, .reference = 1});
  CHECK_EQ(nan.result(true).passed, 0);
  CHECK_EQ(nan.result(true).worst_row, 7);

  polar::Verdict zero(POLAR_BF16);
  zero.add(0, {.error = 1e-30, .naive = 0, .reference = 0});
  CHECK_EQ(zero.result(true).passed, 0);
}
