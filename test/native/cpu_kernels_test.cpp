// Every CPU kernel at every instruction set of this machine against the float64 references, on edge shapes.
#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "../../src/native/common/error.h"
#include "../../src/native/cpu/session.h"
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

std::string describe(const PolarProblem& p, const PolarCandidate& c, Isa isa, int threads) {
  return std::string(c.kernel) + " " + isa_name(isa) + (p.dtype == POLAR_BF16 ? " bf16" : " fp16") +
         " B=" + std::to_string(p.batch_size) + " N=" + std::to_string(p.kv_len) +
         " H=" + std::to_string(p.num_qo_heads) + "/" + std::to_string(p.num_kv_heads) +
         " d_h=" + std::to_string(p.head_dim) + " d=" + std::to_string(p.hidden_size) +
         " D=" + std::to_string(p.intermediate_size) + " act=" + std::to_string(p.activation) +
         (p.gated ? " gated" : "") + " active=" + std::to_string(c.active_groups + c.active_neurons) +
         " pattern=" + std::to_string(c.index_pattern) + " threads=" + std::to_string(threads);
}

// Verifies the whole output, three runs compared bit by bit.
void expect_right(const PolarProblem& p, const std::vector<PolarCandidate>& candidates, int threads = 2) {
  static const PolarSink sink = silent_sink();
  const Reporter reporter(sink);
  PolarOptions options{};
  for (Isa isa : all_isas()) {
    ThreadPool pool(threads);
    InputStore store;
    const auto session = open_session(p, candidates, options, isa, pool, store);
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

PolarProblem attention(int64_t batch, int64_t kv_len, int64_t capacity, int64_t heads, int64_t kv_heads,
                       int64_t head_dim, int32_t dtype) {
  PolarProblem p{};
  p.scope = POLAR_SCOPE_ATTENTION;
  p.dtype = dtype;
  p.batch_size = batch;
  p.kv_len = kv_len;
  p.kv_capacity = capacity;
  p.num_qo_heads = heads;
  p.num_kv_heads = kv_heads;
  p.head_dim = head_dim;
  p.seed = 42;
  return p;
}

std::vector<PolarCandidate> attention_candidates(const PolarProblem& p) {
  std::vector<PolarCandidate> list;
  for (const char* id : {"attention/dense", "attention/dense-per-query-head"}) {
    PolarCandidate c{};
    c.kernel = id;
    c.dense = 1;
    list.push_back(c);
  }
  for (int64_t active : {int64_t{1}, (p.num_kv_heads + 1) / 2, p.num_kv_heads}) {
    for (int32_t pattern = POLAR_INDEX_RANDOM; pattern <= POLAR_INDEX_EVERY_SECOND; ++pattern) {
      for (const char* id : {"attention/selective-head", "attention/gather-dense"}) {
        PolarCandidate c{};
        c.kernel = id;
        c.active_groups = active;
        c.index_pattern = pattern;
        list.push_back(c);
      }
    }
  }
  return list;
}

PolarProblem mlp(int32_t scope, int64_t batch, int64_t d, int64_t neurons, int32_t activation, bool gated, bool bias,
                 int32_t dtype) {
  PolarProblem p{};
  p.scope = scope;
  p.dtype = dtype;
  p.batch_size = batch;
  p.hidden_size = d;
  p.intermediate_size = neurons;
  p.activation = activation;
  p.gated = gated;
  p.mlp_bias = bias;
  p.seed = 42;
  return p;
}

std::vector<PolarCandidate> mlp_candidates(const PolarProblem& p) {
  static const std::string scopes[] = {"", "mlp", "mlp-up", "mlp-down"};
  static std::vector<std::string> ids;  // owns the names
  if (ids.empty()) {
    for (const auto& s : scopes) {
      for (const char* v : {"/dense", "/selective", "/gather-dense"}) ids.push_back(s + v);
    }
  }
  const size_t base = static_cast<size_t>(p.scope) * 3;
  std::vector<PolarCandidate> list;
  PolarCandidate dense{};
  dense.kernel = ids[base].c_str();
  dense.dense = 1;
  list.push_back(dense);
  for (int64_t active : {int64_t{1}, p.intermediate_size / 2 | 1, p.intermediate_size}) {
    if (active > p.intermediate_size) continue;
    for (int32_t pattern = POLAR_INDEX_RANDOM; pattern <= POLAR_INDEX_EVERY_SECOND; ++pattern) {
      for (size_t variant : {base + 1, base + 2}) {
        PolarCandidate c{};
        c.kernel = ids[variant].c_str();
        c.active_neurons = active;
        c.index_pattern = pattern;
        list.push_back(c);
      }
    }
  }
  return list;
}

constexpr int32_t kDtypes[] = {POLAR_BF16, POLAR_FP16};

}  // namespace

TEST("cpu attention: key counts around the tile, cache tails of NaN") {
  for (int32_t dtype : kDtypes) {
    for (int64_t kv_len : {1, 2, 63, 64, 65, 127, 1000}) {
      const auto p = attention(3, kv_len, kv_len + 7, 8, 2, 128, dtype);
      expect_right(p, attention_candidates(p));
    }
  }
}

TEST("cpu attention: group sizes") {
  for (int32_t dtype : kDtypes) {
    for (int64_t group : {1, 2, 3, 4, 5, 6, 7, 8}) {
      const auto p = attention(2, 130, 130, 3 * group, 3, 64, dtype);
      expect_right(p, attention_candidates(p));
    }
  }
}

TEST("cpu attention: head dimensions") {
  for (int32_t dtype : kDtypes) {
    for (int64_t head_dim : {8, 16, 24, 40, 64, 72, 80, 96, 128, 256}) {
      const auto p = attention(2, 77, 80, 8, 2, head_dim, dtype);
      expect_right(p, attention_candidates(p));
    }
  }
}

TEST("cpu attention: one sequence shared by many threads, many sequences by one") {
  for (int threads : {1, 2, 7}) {
    const auto one = attention(1, 1000, 1024, 4, 1, 128, POLAR_BF16);
    expect_right(one, attention_candidates(one), threads);
    const auto many = attention(17, 65, 65, 8, 4, 64, POLAR_BF16);
    expect_right(many, attention_candidates(many), threads);
  }
}

TEST("cpu mlp: batch sizes around the register blocks") {
  for (int32_t dtype : kDtypes) {
    for (int64_t batch : {1, 2, 3, 5, 8, 13, 17, 64, 65}) {
      const auto p = mlp(POLAR_SCOPE_MLP, batch, 136, 101, POLAR_SILU, true, false, dtype);
      expect_right(p, mlp_candidates(p));
    }
  }
}

TEST("cpu mlp: every activation, gated or not, with bias or not, every scope") {
  for (int32_t dtype : kDtypes) {
    for (int32_t scope : {POLAR_SCOPE_MLP, POLAR_SCOPE_MLP_UP, POLAR_SCOPE_MLP_DOWN}) {
      for (int32_t activation = POLAR_RELU; activation <= POLAR_SILU; ++activation) {
        for (int variant = 0; variant < 4; ++variant) {
          const auto p = mlp(scope, 3, 72, 67, activation, variant & 1, variant & 2, dtype);
          expect_right(p, mlp_candidates(p));
        }
      }
    }
  }
}

TEST("cpu mlp: hidden sizes from 8 up, past one block of the reduction, and one neuron") {
  for (int32_t dtype : kDtypes) {
    for (int64_t d : {8, 16, 24, 32, 40, 1000, 1032, 4104}) {
      const auto p = mlp(POLAR_SCOPE_MLP, 9, d, 70, POLAR_GELU, true, true, dtype);
      expect_right(p, mlp_candidates(p));
    }
    const auto one = mlp(POLAR_SCOPE_MLP, 2, 64, 1, POLAR_RELU, false, true, dtype);
    expect_right(one, mlp_candidates(one));
  }
}

TEST("cpu: a batch larger than the down projection's block") {
  const auto p = mlp(POLAR_SCOPE_MLP_DOWN, 40, 32768, 33, POLAR_RELU, false, true, POLAR_BF16);
  expect_right(p, mlp_candidates(p));
}

TEST("cpu: instruction sets agree within the storage type's rounding") {
  // The outputs differ by the order of the sums only; each is compared with the first, element by element.
  const auto p = mlp(POLAR_SCOPE_MLP_UP, 4, 256, 64, POLAR_SILU, true, false, POLAR_BF16);
  static const PolarSink sink = silent_sink();
  const Reporter reporter(sink);
  ThreadPool pool(2);
  std::vector<std::vector<uint16_t>> outputs;
  for (Isa isa : all_isas()) {
    InputStore store;
    std::vector<uint16_t> x(4 * 256), w(64 * 2 * 256), out(4 * 64, 0xffff);
    inner(isa, p.dtype).fill(1, 0, static_cast<int64_t>(x.size()), 1.0f, x.data());
    inner(isa, p.dtype).fill(2, 0, static_cast<int64_t>(w.size()), 0.06f, w.data());
    std::vector<std::byte> workspace(mlp_up_dense_workspace_bytes(p, 64, 2) + 64);
    auto* aligned = reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(workspace.data()) + 63) / 64 * 64);
    launch_mlp_up_dense({p, inner(isa, p.dtype), pool, aligned, false},
                        {x.data(), w.data(), nullptr, nullptr, nullptr, nullptr, out.data(), nullptr, 64, nullptr});
    outputs.push_back(out);
  }
  for (const auto& out : outputs) {
    for (size_t i = 0; i < out.size(); ++i) {
      const int distance = std::abs(static_cast<int>(out[i]) - static_cast<int>(outputs[0][i]));
      if (distance > 1) CHECK_EQ(distance, 0);
    }
  }
  CHECK_EQ(outputs.size(), all_isas().size());
}

#ifdef POLAR_FAULTS
// In the fault build a kernel that leaves out a tile must fail its verification, and only that kernel.
TEST("cpu faults: a skipped tile turns every kernel incorrect") {
  static const PolarSink sink = silent_sink();
  const Reporter reporter(sink);
  const PolarProblem problems[] = {attention(2, 300, 300, 8, 2, 64, POLAR_BF16),
                                   attention(2, 40, 40, 8, 2, 64, POLAR_FP16),
                                   mlp(POLAR_SCOPE_MLP, 3, 128, 400, POLAR_SILU, true, false, POLAR_BF16),
                                   mlp(POLAR_SCOPE_MLP_UP, 3, 128, 400, POLAR_RELU, false, true, POLAR_BF16),
                                   mlp(POLAR_SCOPE_MLP_DOWN, 3, 128, 400, POLAR_RELU, false, true, POLAR_FP16)};
  for (const PolarProblem& p : problems) {
    const auto candidates = p.scope == POLAR_SCOPE_ATTENTION ? attention_candidates(p) : mlp_candidates(p);
    for (bool planted : {false, true}) {
      for (const PolarCandidate& c : candidates) {
        setenv("POLAR_BENCH_FAULT", planted ? (std::string("skip-tile:") + c.kernel).c_str() : "", 1);
        ThreadPool pool(2);
        InputStore store;
        PolarOptions options{};
        const auto session = open_session(p, {c}, options, supported_isa(), pool, store);
        session->prepare(reporter);
        const PolarVerification v = session->make(c)->verify(0, 2);
        if ((v.passed != 0) == planted) {
          const std::string message = describe(p, c, supported_isa(), 2) + (planted ? ": fault not found" : ": failed");
          polar::test::check_true(false, message.c_str(), __FILE__, __LINE__);
        }
      }
    }
  }
  unsetenv("POLAR_BENCH_FAULT");
}

TEST("cpu faults: the spin kernel waits as long as it says") {
  const PolarProblem p = mlp(POLAR_SCOPE_MLP, 1, 8, 8, POLAR_RELU, false, false, POLAR_BF16);
  PolarCandidate c{};
  c.kernel = kSpinKernel;
  c.active_neurons = 200000;
  static const PolarSink sink = silent_sink();
  const Reporter reporter(sink);
  ThreadPool pool(1);
  InputStore store;
  PolarOptions options{};
  const auto session = open_session(p, {c}, options, supported_isa(), pool, store);
  session->prepare(reporter);
  const auto spin = session->make(c);
  CHECK_EQ(spin->verify(0, 1).passed, 1);
  CHECK_EQ(spin->plan_sample(5), int64_t{5});
  std::vector<double> times;
  for (int i = 0; i < 31; ++i) times.push_back(spin->sample().ns);
  std::sort(times.begin(), times.end());
  CHECK_NEAR(times[10], 200000.0, 1000.0);  // below the median: other work on the machine only adds
}
#endif
