// The kernels that layers and steps are made of, each on its own, and what is planned around them.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "../../src/native/common/half.h"
#include "../../src/native/common/problem.h"
#include "../../src/native/common/random.h"
#include "../../src/native/cpu/block/plan.h"
#include "../../src/native/cpu/block/session.h"
#include "../../src/native/cpu/buffer.h"
#include "../../src/native/cpu/kernels/decoder.h"
#include "../../src/native/cpu/kernels/linear.h"
#include "../../src/native/cpu/kernels/router.h"
#include "../../src/native/cpu/machine.h"
#include "../../src/native/cpu/session.h"
#include "../../src/native/reference/decoder.h"
#include "check.h"

using namespace polar;
using namespace polar::cpu;

namespace {

constexpr int32_t kDtypes[] = {POLAR_BF16, POLAR_FP16};

std::vector<uint16_t> random_halves(uint64_t seed, int64_t count, float scale, int32_t dtype) {
  std::vector<uint16_t> out;
  for (int64_t i = 0; i < count; ++i) {
    out.push_back(float_to_half(random_value(mix64(seed), static_cast<uint64_t>(i), scale), dtype));
  }
  return out;
}

// Largest distance allowed between a kernel's float32 sum of `terms` products and the exact one, both of order 1, and
// after a rounding to the storage type.
double float_limit(int64_t terms) { return 1e-6 * std::sqrt(static_cast<double>(terms)) + 1e-5; }
double half_limit(double value, int32_t dtype) {
  return std::fabs(value) * (dtype == POLAR_BF16 ? 0x1.0p-8 : 0x1.0p-11) + 1e-4;
}

struct Bench {
  PolarProblem p{};
  ThreadPool pool;
  Isa isa;
  Bench(int32_t dtype, Isa which, int threads = 2) : pool(threads), isa(which) { p.dtype = dtype; }
  Launch launch() { return {p, inner(isa, p.dtype), pool, nullptr, false}; }
};

// One product in all its forms: rounded with bias and residual, as floats, summed over the batch.
void check_linear(Bench& bench, int64_t batch, int64_t width, int64_t count, bool some_rows) {
  const int32_t dtype = bench.p.dtype;
  const int64_t rows = count + 5;
  const auto x = random_halves(1, batch * width, 1.0f, dtype);
  const auto w = random_halves(2, rows * width, 1.0f / std::sqrt(static_cast<float>(width)), dtype);
  const auto bias = random_halves(3, rows, 1.0f, dtype);
  const auto residual = random_halves(4, batch * count, 1.0f, dtype);
  std::vector<int32_t> chosen(static_cast<size_t>(count));
  std::iota(chosen.begin(), chosen.end(), some_rows ? 5 : 0);
  const Buffer space(linear_workspace_bytes(batch, width, bench.pool.size()));
  std::fill(space.half(), space.half() + space.size() / 2, kHalfNaN);
  std::vector<uint16_t> rounded(static_cast<size_t>(batch * count), kHalfNaN);
  std::vector<float> plain(rounded.size(), NAN);
  std::vector<float> sums(static_cast<size_t>(count), NAN);
  LinearArgs args{};
  args.x = x.data();
  args.batch = batch;
  args.in_features = width;
  args.w = w.data();
  args.rows = some_rows ? chosen.data() : nullptr;
  args.count = count;
  args.activation = POLAR_IDENTITY;
  args.out_float = plain.data();
  linear(bench.launch(), args, space.data());
  args.out_float = nullptr;
  args.batch_sum = sums.data();
  linear(bench.launch(), args, space.data());
  args.batch_sum = nullptr;
  args.bias = bias.data();
  args.residual = residual.data();
  args.out = rounded.data();
  linear(bench.launch(), args, space.data());
  for (int64_t n = 0; n < count; ++n) {
    double sum = 0;
    for (int64_t m = 0; m < batch; ++m) {
      double dot = 0;
      for (int64_t i = 0; i < width; ++i) {
        dot += static_cast<double>(half_to_float(x[m * width + i], dtype)) *
               half_to_float(w[chosen[n] * width + i], dtype);
      }
      sum += std::max(0.0, dot);
      const double whole = dot + half_to_float(bias[chosen[n]], dtype) + half_to_float(residual[m * count + n], dtype);
      CHECK_NEAR(plain[m * count + n], dot, float_limit(width));
      CHECK_NEAR(half_to_float(rounded[m * count + n], dtype), whole, half_limit(whole, dtype));
    }
    CHECK_NEAR(sums[n], sum, float_limit(width) * static_cast<double>(batch));
  }
}

PolarProblem block_problem(int32_t scope) {
  PolarProblem p{};
  p.scope = scope;
  p.batch_size = 2;
  p.kv_len = 10;
  p.kv_capacity = 16;
  p.num_qo_heads = 4;
  p.num_kv_heads = 2;
  p.head_dim = 8;
  p.hidden_size = 32;
  p.intermediate_size = 100;
  p.activation = POLAR_SILU;
  p.gated = 1;
  p.norm = POLAR_NORM_RMS;
  p.norm_epsilon = 1e-5;
  p.num_layers = scope == POLAR_SCOPE_STEP ? 4 : 1;
  p.vocab_size = scope == POLAR_SCOPE_STEP ? 50 : 0;
  p.mlp_router_rank = 8;
  p.seed = 5;
  return p;
}

PolarCandidate candidate(const char* kernel, int64_t groups = 0, int64_t neurons = 0) {
  PolarCandidate c{};
  c.kernel = kernel;
  c.active_groups = groups;
  c.active_neurons = neurons;
  return c;
}

}  // namespace

TEST("cpu linear: every form of the output at every instruction set, around the register blocks") {
  for (int isa = 0; isa <= static_cast<int>(supported_isa()); ++isa) {
    for (int32_t dtype : kDtypes) {
      Bench bench(dtype, static_cast<Isa>(isa));
      for (int64_t batch : {1, 2, 7, 13}) {
        for (int64_t width : {8, 40, 136, 1032}) check_linear(bench, batch, width, 11, batch % 2 == 0);
      }
      check_linear(bench, 3, 64, 1, false);
      check_linear(bench, 3, 64, 4, true);
    }
  }
}

TEST("cpu linear: a NaN in the batch reaches the sums of the router") {
  Bench bench(POLAR_BF16, supported_isa());
  auto x = random_halves(1, 3 * 16, 1.0f, POLAR_BF16);
  x[20] = kHalfNaN;
  const auto w = random_halves(2, 4 * 16, 1.0f, POLAR_BF16);
  std::vector<float> sums(4, 0.0f);
  const Buffer space(linear_workspace_bytes(3, 16, 2));
  LinearArgs args{};
  args.x = x.data();
  args.batch = 3;
  args.in_features = 16;
  args.w = w.data();
  args.count = 4;
  args.activation = POLAR_IDENTITY;
  args.batch_sum = sums.data();
  linear(bench.launch(), args, space.data());
  for (float s : sums) CHECK(std::isnan(s));
}

TEST("cpu norm: both norms against the reference, in place too, large means and tiny variances") {
  for (int32_t dtype : kDtypes) {
    for (int64_t d : {8, 24, 1000}) {
      for (int32_t kind : {POLAR_NORM_LAYER, POLAR_NORM_RMS}) {
        Bench bench(dtype, supported_isa(), 3);
        bench.p.batch_size = 5;
        bench.p.hidden_size = d;
        bench.p.norm = kind;
        bench.p.norm_epsilon = 1e-5;
        auto x = random_halves(1, 5 * d, 1.0f, dtype);
        for (int64_t i = 0; i < d; ++i) x[i] = float_to_half(100.0f + static_cast<float>(i % 2), dtype);
        for (int64_t i = d; i < 2 * d; ++i) x[i] = float_to_half(1e-3f * static_cast<float>(i % 3), dtype);
        const auto scale = random_halves(2, d, 1.0f, dtype);
        const auto bias = random_halves(3, d, 1.0f, dtype);
        const uint16_t* b = kind == POLAR_NORM_LAYER ? bias.data() : nullptr;
        std::vector<uint16_t> out(x.size(), kHalfNaN);
        norm(bench.launch(), x.data(), scale.data(), b, out.data());
        for (int64_t m = 0; m < 5; ++m) {
          const Row row = norm_reference(bench.p, stored_row(bench.p, x.data() + m * d, d), scale.data(), b);
          for (int64_t i = 0; i < d; ++i) {
            CHECK_NEAR(half_to_float(out[m * d + i], dtype), row.exact[i], half_limit(row.exact[i], dtype));
          }
        }
        norm(bench.launch(), x.data(), scale.data(), b, x.data());
        CHECK(x == out);
      }
    }
  }
}

TEST("cpu split and append: every head where it belongs, turned by the angles, nothing else written") {
  for (int32_t dtype : kDtypes) {
    for (bool rope : {false, true}) {
      Bench bench(dtype, supported_isa(), 3);
      PolarProblem& p = bench.p;
      p = block_problem(POLAR_SCOPE_LAYER);
      p.dtype = dtype;
      p.rope = rope;
      p.rope_theta = 500;
      const int64_t d = p.head_dim;
      const auto qkv = random_halves(1, p.batch_size * qkv_columns(p), 1.0f, dtype);
      std::vector<float> cosine(static_cast<size_t>(d / 2)), sine(cosine.size());
      fill_rope_angles(p, cosine.data(), sine.data());
      std::vector<uint16_t> q(static_cast<size_t>(p.batch_size * p.num_qo_heads * d), kHalfNaN);
      std::vector<uint16_t> k(static_cast<size_t>(p.batch_size * p.num_kv_heads * p.kv_capacity * d), kHalfNaN), v = k;
      const RopeAngles angles{rope ? cosine.data() : nullptr, rope ? sine.data() : nullptr};
      split_append(bench.launch(), qkv.data(), angles, q.data(), k.data(), v.data());
      int64_t written = 0;
      for (uint16_t h : k) written += h != kHalfNaN;
      CHECK_EQ(written, p.batch_size * p.num_kv_heads * d);
      const auto expect = [&](int64_t b, int64_t head, bool turned, const uint16_t* got) {
        Row row = stored_row(p, qkv.data() + (b * (p.num_qo_heads + 2 * p.num_kv_heads) + head) * d, d);
        if (turned) rope_reference(p, row, 1, p.kv_len - 1);
        for (int64_t i = 0; i < d; ++i) {
          CHECK_NEAR(half_to_float(got[i], dtype), row.exact[i], half_limit(row.exact[i], dtype));
        }
      };
      for (int64_t b = 0; b < p.batch_size; ++b) {
        for (int64_t h = 0; h < p.num_qo_heads; ++h) expect(b, h, rope, q.data() + (b * p.num_qo_heads + h) * d);
        for (int64_t g = 0; g < p.num_kv_heads; ++g) {
          const int64_t at = ((b * p.num_kv_heads + g) * p.kv_capacity + p.kv_len - 1) * d;
          expect(b, p.num_qo_heads + g, rope, k.data() + at);
          expect(b, p.num_qo_heads + p.num_kv_heads + g, false, v.data() + at);
        }
      }
    }
  }
}

TEST("cpu top k: equal to a sort of everything on random scores full of ties") {
  for (int64_t total : {1, 2, 7, 64, 1000}) {
    for (int64_t count : {int64_t{1}, (total + 1) / 2, total}) {
      for (uint32_t values : {1u, 3u, 1000u}) {
        std::vector<float> scores;
        for (int64_t i = 0; i < total; ++i) {
          scores.push_back(static_cast<float>(random_below(values, static_cast<uint64_t>(i), values)) - 1.0f);
        }
        std::vector<uint64_t> order(static_cast<size_t>(total));
        std::vector<int32_t> index(static_cast<size_t>(count), -1);
        top_k(scores.data(), total, count, order.data(), index.data());
        CHECK(index == top_k_reference(scores.data(), total, count));
      }
    }
  }
}

TEST("cpu top k: zeros of either sign are equal, infinities and NaN have a place") {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const float scores[] = {-0.0f, 0.0f, -kInf, 1.0f, NAN, kInf};
  std::vector<uint64_t> order(6);
  std::vector<int32_t> index(3);
  top_k(scores, 6, 3, order.data(), index.data());
  CHECK(index == std::vector<int32_t>({3, 4, 5}));
  const float zeros[] = {-0.0f, 0.0f, 0.0f};
  index.resize(1);
  top_k(zeros, 3, 1, order.data(), index.data());
  CHECK_EQ(index[0], 0);
}

TEST("cpu argmax: the lowest of equals, first and last place") {
  Bench bench(POLAR_BF16, supported_isa());
  bench.p.batch_size = 3;
  bench.p.vocab_size = 4;
  const float logits[] = {1, 7, 7, 2, 9, 1, 1, 9, -3, -2, -2, -1};
  int32_t token[3] = {-1, -1, -1};
  argmax(bench.launch(), logits, token);
  CHECK_EQ(token[0], 1);
  CHECK_EQ(token[1], 0);
  CHECK_EQ(token[2], 3);
}

TEST("cpu plan: bytes of a layer and of what candidates read of it, counted by hand") {
  const PolarProblem p = block_problem(POLAR_SCOPE_STEP);
  const double attention = 2.0 * ((4 + 2 * 2) * 8 * 32 + 32 * 4 * 8);
  const double kv = 2.0 * 2 * 10 * 8 * 2;  // of one group, keys and values of both sequences
  const double neuron = 2.0 * 3 * 32;
  const double mlp_router = 2.0 * (8 * 32 + 100 * 8);
  const double attention_router = 2.0 * 2 * 32;
  CHECK_EQ(touched_layer_bytes(p, candidate("step/dense"), 1), attention + 2 * kv + 100 * neuron);
  CHECK_EQ(touched_layer_bytes(p, candidate("step/polar", 1, 7), 1),
           attention + kv + 7 * neuron + mlp_router + attention_router);
  // layer 0 computes all groups, without an attention router
  CHECK_EQ(touched_layer_bytes(p, candidate("step/polar", 1, 7), 0), attention + 2 * kv + 7 * neuron + mlp_router);
  const int64_t per_layer[] = {50, 40, 30, 20};
  PolarCandidate varying = candidate("step/mlp-sparse");
  varying.layer_active_neurons = per_layer;
  CHECK_EQ(least_layer_bytes(p, {candidate("step/dense"), varying}), attention + 2 * kv + 20 * neuron + mlp_router);
  // A cache has room for 16 positions; norms count; routers only where a candidate has them.
  const auto bytes = [&](const std::vector<PolarCandidate>& list) {
    double sum = 0;
    for (const TensorSpec& s : layer_specs(p, list)) sum += s.bytes();
    return sum;
  };
  const double dense = attention + 2 * kv * 1.6 + 100 * neuron + 2 * 2.0 * 32;
  CHECK_NEAR(bytes({candidate("step/dense")}), dense, 1e-9);
  CHECK_NEAR(bytes({candidate("step/dense"), candidate("step/head-sparse", 1)}), dense + attention_router, 1e-9);
  CHECK_NEAR(bytes({candidate("step/polar", 1, 7)}), dense + attention_router + mlp_router, 1e-9);
}

TEST("cpu plan: cold runs cycle through five caches of layers, hot ones through the model, both within the memory") {
  const PolarProblem p = block_problem(POLAR_SCOPE_STEP);
  const std::vector<PolarCandidate> list{candidate("step/dense")};
  const double layer = least_layer_bytes(p, list);
  double copy = 0;
  for (const TensorSpec& s : layer_specs(p, list)) copy += s.bytes();
  CHECK_EQ(plan_resident(p, list, true, 2 * layer, 1e12).layers, int64_t{10});
  CHECK_EQ(plan_resident(p, list, true, 2 * layer, 3 * copy / 0.6 + 1).layers, int64_t{3});
  CHECK_EQ(plan_resident(p, list, true, 2 * layer, 1).layers, int64_t{1});
  CHECK_EQ(plan_resident(p, list, false, 2 * layer, 1e12).layers, int64_t{4});
  CHECK_EQ(plan_resident(p, list, false, 2 * layer, 2 * copy / 0.6 + 1).layers, int64_t{2});
  CHECK_EQ(plan_resident(p, list, false, 2 * layer, 1).layers, int64_t{1});
  const ResidentPlan plan = plan_resident(p, list, true, layer, 1e12);
  CHECK_EQ(plan.layer_distance, 5 * layer);
  CHECK_NEAR(plan.end_distance, 4 * layer + 2.0 * (32 + 50 * 32), 1e-9);
  CHECK(std::isinf(
      plan_resident(block_problem(POLAR_SCOPE_LAYER), {candidate("layer/dense")}, true, 1, 1e12).end_distance));
}

TEST("cpu session: cold steps hold the planned layers and say what stays in the cache") {
  PolarSink sink{};
  std::vector<std::string> warnings;
  sink.context = &warnings;
  sink.heartbeat = [](void*, const char*, double) { return 0; };
  sink.warning = [](void* c, int32_t, const char* text) { static_cast<std::vector<std::string>*>(c)->push_back(text); };
  const Reporter reporter(sink);
  PolarProblem p = block_problem(POLAR_SCOPE_STEP);
  p.hidden_size = 512;
  p.intermediate_size = 2048;
  const std::vector<PolarCandidate> list{candidate("step/dense"), candidate("step/polar", 1, 512)};
  PolarOptions options{};
  options.cold_cache = 1;
  ThreadPool pool(2);
  InputStore store;
  const auto session = open_block_session(p, list, options, supported_isa(), pool, store);
  const MemoryNeed need = session->memory();
  CHECK(need.required_bytes > 2.0 * 3 * 512 * 2048 && need.required_bytes < need.available_bytes);
  session->prepare(reporter);
  const double cache = last_level_cache_bytes();
  const double least = least_layer_bytes(p, list);
  CHECK_EQ(session->resident_layers(), static_cast<int64_t>(std::ceil(5 * cache / least)));
  CHECK_EQ(session->rotation_copies(), session->resident_layers());
  CHECK(session->rotation_bytes() >= 5 * cache);
  const double head_distance = plan_resident(p, list, true, cache, need.available_bytes).end_distance;
  CHECK_EQ(warnings.size(), head_distance < 5 * cache ? size_t{1} : size_t{0});
  if (!warnings.empty()) CHECK(warnings[0].find("language-model head") != std::string::npos);
  // A verification begins at the first layer wherever the samples before it ended: equal bits.
  const auto executable = session->make(list[1]);
  const PolarVerification first = executable->verify(0, 2);
  executable->plan_sample(3);
  CHECK(executable->sample().ns > 0);
  const PolarVerification second = executable->verify(0, 2);
  CHECK(first.passed == 1 && second.passed == 1);
  CHECK_EQ(first.max_abs_err, second.max_abs_err);
}
