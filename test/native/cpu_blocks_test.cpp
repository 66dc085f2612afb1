// Layers, steps and routers of the CPU backend at every instruction set against the float64 references.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "../../src/native/common/error.h"
#include "../../src/native/cpu/block/session.h"
#include "../../src/native/cpu/isa.h"
#include "../../src/native/cpu/router_session.h"
#include "check.h"

using namespace polar;
using namespace polar::cpu;

namespace {

PolarSink silent_sink() {
  PolarSink sink{};
  sink.text = [](void*, const char*, const char*) {};
  sink.number = [](void*, const char*, double) {};
  sink.heartbeat = [](void*, const char*, double) { return 0; };
  sink.warning = [](void*, int32_t, const char*) {};
  return sink;
}

std::vector<Isa> all_isas() {
  std::vector<Isa> list;
  for (int i = 0; i <= static_cast<int>(supported_isa()); ++i) list.push_back(static_cast<Isa>(i));
  return list;
}

// OPT: LayerNorm, biases, ReLU.
PolarProblem opt(int32_t scope, int64_t batch, int64_t kv_len, int64_t heads, int64_t head_dim, int64_t d, int64_t ffn,
                 int32_t dtype) {
  PolarProblem p{};
  p.scope = scope;
  p.dtype = dtype;
  p.batch_size = batch;
  p.kv_len = kv_len;
  p.kv_capacity = kv_len + 3;
  p.num_qo_heads = p.num_kv_heads = heads;
  p.head_dim = head_dim;
  p.hidden_size = d;
  p.intermediate_size = ffn;
  p.activation = POLAR_RELU;
  p.mlp_bias = p.qkv_bias = p.out_bias = 1;
  p.norm = POLAR_NORM_LAYER;
  p.norm_epsilon = 1e-5;
  p.num_layers = scope == POLAR_SCOPE_STEP ? 3 : 1;
  p.vocab_size = scope == POLAR_SCOPE_STEP ? 101 : 0;
  p.mlp_router_rank = 16;
  p.seed = 42;
  return p;
}

// LLaMA: RMSNorm, RoPE, groups of two query heads, SwiGLU, no biases.
PolarProblem llama(int32_t scope, int64_t batch, int64_t kv_len, int64_t kv_heads, int64_t head_dim, int64_t d,
                   int64_t ffn, int32_t dtype) {
  PolarProblem p = opt(scope, batch, kv_len, kv_heads, head_dim, d, ffn, dtype);
  p.num_qo_heads = 2 * kv_heads;
  p.activation = POLAR_SILU;
  p.gated = 1;
  p.mlp_bias = p.qkv_bias = p.out_bias = 0;
  p.norm = POLAR_NORM_RMS;
  p.rope = 1;
  p.rope_theta = 10000;
  return p;
}

PolarCandidate candidate(const char* kernel, int64_t groups, int64_t neurons) {
  PolarCandidate c{};
  c.kernel = kernel;
  c.active_groups = groups;
  c.active_neurons = neurons;
  return c;
}

// All variants, at one, some and all groups and neurons.
std::vector<PolarCandidate> candidates_of(const PolarProblem& p) {
  const int64_t groups[] = {1, (p.num_kv_heads + 1) / 2, p.num_kv_heads};
  const int64_t neurons[] = {1, (p.intermediate_size + 1) / 2, p.intermediate_size};
  std::vector<PolarCandidate> list;
  for (int i = 0; i < 3; ++i) {
    if (p.scope == POLAR_SCOPE_ROUTER) {
      list.push_back(candidate("router/attention-topk", groups[i], 0));
      list.push_back(candidate("router/mlp-topk", 0, neurons[i]));
      continue;
    }
    const bool step = p.scope == POLAR_SCOPE_STEP;
    if (i == 0) list.push_back(candidate(step ? "step/dense" : "layer/dense", 0, 0));
    list.push_back(candidate(step ? "step/mlp-sparse" : "layer/mlp-sparse", 0, neurons[i]));
    list.push_back(candidate(step ? "step/head-sparse" : "layer/head-sparse", groups[i], 0));
    list.push_back(candidate(step ? "step/polar" : "layer/polar", groups[i], neurons[i]));
  }
  return list;
}

std::unique_ptr<Session> open_any(const PolarProblem& p, const std::vector<PolarCandidate>& candidates,
                                  const PolarOptions& options, Isa isa, ThreadPool& pool, InputStore& store) {
  return p.scope == POLAR_SCOPE_ROUTER ? open_router_session(p, candidates, options, isa, pool, store)
                                       : open_block_session(p, candidates, options, isa, pool, store);
}

std::string describe(const PolarProblem& p, const PolarCandidate& c, Isa isa, int threads) {
  return std::string(c.kernel) + " " + isa_name(isa) + (p.dtype == POLAR_BF16 ? " bf16" : " fp16") +
         " B=" + std::to_string(p.batch_size) + " N=" + std::to_string(p.kv_len) +
         " H=" + std::to_string(p.num_qo_heads) + "/" + std::to_string(p.num_kv_heads) +
         " d_h=" + std::to_string(p.head_dim) + " d=" + std::to_string(p.hidden_size) +
         " D=" + std::to_string(p.intermediate_size) + " groups=" + std::to_string(c.active_groups) +
         " neurons=" + std::to_string(c.active_neurons) + " threads=" + std::to_string(threads);
}

// Verifies all rows, three runs compared bit by bit.
void expect_right(const PolarProblem& p, int threads = 2) {
  static const PolarSink sink = silent_sink();
  const Reporter reporter(sink);
  const std::vector<PolarCandidate> candidates = candidates_of(p);
  for (Isa isa : all_isas()) {
    ThreadPool pool(threads);
    InputStore store;
    const auto session = open_any(p, candidates, PolarOptions{}, isa, pool, store);
    session->prepare(reporter);
    for (const PolarCandidate& c : candidates) {
      const PolarVerification v = session->make(c)->verify(0, 3);
      if (v.passed) continue;
      const std::string message = describe(p, c, isa, threads) + ": tolerance used " +
                                  std::to_string(v.tolerance_used) + ", rows failed " + std::to_string(v.rows_failed) +
                                  " of " + std::to_string(v.rows_checked) + ", worst " + std::to_string(v.worst_row) +
                                  ", repeats equal " + std::to_string(v.repeats_equal);
      polar::test::check_true(false, message.c_str(), __FILE__, __LINE__);
    }
  }
}

constexpr int32_t kDtypes[] = {POLAR_BF16, POLAR_FP16};
constexpr int32_t kScopes[] = {POLAR_SCOPE_ROUTER, POLAR_SCOPE_LAYER, POLAR_SCOPE_STEP};

}  // namespace

TEST("cpu blocks: both families, every scope and variant, batch sizes around the register blocks") {
  for (int32_t dtype : kDtypes) {
    for (int32_t scope : kScopes) {
      for (int64_t batch : {1, 2, 5, 9}) {
        expect_right(opt(scope, batch, 70, 4, 16, 64, 200, dtype));
        expect_right(llama(scope, batch, 70, 3, 16, 72, 101, dtype));
      }
    }
  }
}

TEST("cpu blocks: the first token, key counts around the tile, one head, one neuron") {
  for (int32_t dtype : kDtypes) {
    for (int64_t kv_len : {1, 2, 63, 64, 65, 300}) {
      expect_right(llama(POLAR_SCOPE_LAYER, 2, kv_len, 2, 40, 48, 64, dtype));
      expect_right(opt(POLAR_SCOPE_STEP, 2, kv_len, 1, 8, 8, 1, dtype));
    }
  }
}

TEST("cpu blocks: more threads than rows, and one thread") {
  for (int threads : {1, 2, 7}) {
    for (int32_t scope : kScopes) {
      expect_right(opt(scope, 3, 100, 5, 24, 120, 333, POLAR_BF16), threads);
    }
  }
}

TEST("cpu blocks: measure_cell verifies, times and reports layers and parts that sum to the step") {
  struct Seen {
    std::vector<int32_t> status;
    std::vector<PolarTiming> timing;
    std::map<std::string, double> parts;  // of the last candidate
    std::vector<double> samples;
    std::vector<std::string> warnings;
    std::map<std::string, double> facts;
  } seen;
  PolarSink sink = silent_sink();
  sink.context = &seen;
  sink.number = [](void* c, const char* name, double value) { static_cast<Seen*>(c)->facts[name] = value; };
  sink.verified = [](void*, int32_t, const PolarVerification*) {};
  sink.sample = [](void* c, int32_t i, int32_t, double ns, double) {
    if (i == 1) static_cast<Seen*>(c)->samples.push_back(ns);
  };
  sink.timed = [](void* c, int32_t, const PolarTiming* t) { static_cast<Seen*>(c)->timing.push_back(*t); };
  sink.part = [](void* c, int32_t i, const char* name, double ns) {
    if (i == 1) static_cast<Seen*>(c)->parts[name] = ns;
  };
  sink.warning = [](void* c, int32_t, const char* message) { static_cast<Seen*>(c)->warnings.push_back(message); };
  sink.finished = [](void* c, int32_t, int32_t status, const char*, const char*) {
    static_cast<Seen*>(c)->status.push_back(status);
  };
  PolarOptions options{};
  options.threads = 2;
  options.min_samples = options.max_samples = 11;
  options.warmup = 2;
  options.repeats = 2;
  options.max_noise = 0.5;
  options.max_time_s = 5;
  options.breakdown = 1;
  options.verify_rows = 1;
  const PolarProblem p = opt(POLAR_SCOPE_STEP, 3, 200, 4, 32, 128, 512, POLAR_BF16);
  const std::vector<PolarCandidate> candidates{candidate("step/dense", 0, 0), candidate("step/polar", 2, 100)};
  measure_cell(backend(), p, candidates, options, Reporter(sink));
  CHECK(seen.status == std::vector<int32_t>({POLAR_OK, POLAR_OK}));
  CHECK_EQ(seen.timing.size(), size_t{2});
  CHECK_EQ(seen.timing[0].resident_layers, int64_t{3});  // hot: one per layer of the model
  CHECK(seen.facts["required_bytes"] > 0);
  CHECK(seen.warnings.empty());
  CHECK_EQ(seen.parts.size(), size_t{6});
  double sum = 0;
  for (const auto& [name, ns] : seen.parts) sum += ns;
  // 11 samples: the sixth is the median. What lies between the last lap and the end of the sample is one clock read.
  std::sort(seen.samples.begin(), seen.samples.end());
  CHECK_NEAR(sum, seen.samples[5], 0.01 * seen.samples[5]);
  for (const char* name : {"attention", "qkv", "out-proj", "mlp", "routers"}) CHECK(seen.parts[name] > 0);
}

#ifdef POLAR_FAULTS
TEST("cpu blocks faults: a skipped tile turns every kernel incorrect") {
  static const PolarSink sink = silent_sink();
  const Reporter reporter(sink);
  for (int32_t scope : kScopes) {
    const PolarProblem p = llama(scope, 3, 150, 3, 32, 96, 300, POLAR_BF16);
    for (const PolarCandidate& c : candidates_of(p)) {
      for (bool planted : {false, true}) {
        setenv("POLAR_BENCH_FAULT", planted ? (std::string("skip-tile:") + c.kernel).c_str() : "", 1);
        ThreadPool pool(2);
        InputStore store;
        const auto session = open_any(p, {c}, PolarOptions{}, supported_isa(), pool, store);
        session->prepare(reporter);
        const PolarVerification v = session->make(c)->verify(1, 2);
        if ((v.passed != 0) != planted) continue;
        const std::string message = describe(p, c, supported_isa(), 2) + (planted ? ": fault not found" : ": failed");
        polar::test::check_true(false, message.c_str(), __FILE__, __LINE__);
      }
    }
  }
  unsetenv("POLAR_BENCH_FAULT");
}
#endif
