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
