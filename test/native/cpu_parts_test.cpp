// The CPU backend's parts that are not kernels: threads, inputs, rotation planning, row choice, environment.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <set>
#include <stdexcept>
#include <vector>

#include "../../src/native/common/error.h"
#include "../../src/native/common/half.h"
#include "../../src/native/common/problem.h"
#include "../../src/native/cpu/inner/inner.h"
#include "../../src/native/cpu/inputs.h"
#include "../../src/native/cpu/machine.h"
#include "../../src/native/cpu/session.h"
#include "check.h"

using namespace polar;
using namespace polar::cpu;

namespace {

PolarSink quiet() {
  PolarSink sink{};
  sink.text = [](void*, const char*, const char*) {};
  sink.number = [](void*, const char*, double) {};
  sink.heartbeat = [](void* end, const char*, double) { return end == nullptr ? 0 : 1; };
  sink.warning = [](void*, int32_t, const char*) {};
  return sink;
}

}  // namespace

TEST("threads: every thread works once per run, again and again") {
  for (int size : {1, 2, 5}) {
    ThreadPool pool(size);
    std::vector<int> counts(static_cast<size_t>(size), 0);
    for (int i = 0; i < 2000; ++i) pool.run([&](int t) { ++counts[static_cast<size_t>(t)]; });
    for (int c : counts) CHECK_EQ(c, 2000);
  }
}

TEST("threads: an exception of a worker reaches the caller and the pool lives on") {
  ThreadPool pool(3);
  std::string caught;
  try {
    pool.run([](int t) {
      if (t == 2) throw std::runtime_error("from a worker");
    });
  } catch (const std::runtime_error& error) {
    caught = error.what();
  }
  CHECK_EQ(caught, std::string("from a worker"));
  std::atomic<int> done{0};
  pool.run([&](int) { ++done; });
  CHECK_EQ(done.load(), 3);
}

TEST("threads: shares cover everything once") {
  for (int64_t total : {0, 1, 5, 64, 1001}) {
    int64_t next = 0;
    for (int part = 0; part < 7; ++part) {
      const Span span = share(total, part, 7);
      CHECK_EQ(span.begin, next);
      next = span.end;
    }
    CHECK_EQ(next, total);
  }
}

TEST("fill: every instruction set writes the bits of random_value, at any offset and length") {
  for (int isa = 0; isa <= static_cast<int>(supported_isa()); ++isa) {
    for (int32_t dtype : {POLAR_BF16, POLAR_FP16}) {
      const int64_t first = 1000002;
      std::vector<uint16_t> out(1001);
      inner(static_cast<Isa>(isa), dtype).fill(77, first, 1001, 0.0127f, out.data());
      for (size_t i = 0; i < out.size(); ++i) {
        const uint16_t expected = float_to_half(random_value(77, static_cast<uint64_t>(first) + i, 0.0127f), dtype);
        if (out[i] != expected) CHECK_EQ(out[i], expected);
      }
    }
  }
}

TEST("inputs: copies differ, tails are NaN, a second request fills nothing, release forgets") {
  const PolarSink sink = quiet();
  const Reporter reporter(sink);
  PolarProblem p{};
  p.scope = POLAR_SCOPE_ATTENTION;
  p.batch_size = 2;
  p.kv_len = 5;
  p.kv_capacity = 9;
  p.num_qo_heads = p.num_kv_heads = 3;
  p.head_dim = 16;
  p.seed = 3;
  const TensorSpec spec = tensor_spec(p, Tensor::kKey);
  ThreadPool pool(2);
  InputStore store;
  const auto copies = store.get(spec, 2, supported_isa(), pool, reporter);
  CHECK(copies[0][0] != copies[1][0] || copies[0][1] != copies[1][1]);
  for (int64_t row = 0; row < 2 * 3 * 9; ++row) {
    for (int64_t i = 0; i < 16; ++i) {
      const uint16_t h = copies[1][row * 16 + i];
      const uint16_t expected =
          row % 9 >= 5
              ? kHalfNaN
              : float_to_bf16(random_value(stream_key(3, Tensor::kKey, 1), static_cast<uint64_t>(row * 16 + i), 1.0f));
      if (h != expected) CHECK_EQ(h, expected);
    }
  }
  CHECK(store.get(spec, 1, supported_isa(), pool, reporter)[0] == copies[0]);
  CHECK_EQ(store.held_bytes(), 2.0 * 2 * 2 * 3 * 9 * 16);
  store.release({});
  CHECK_EQ(store.held_bytes(), 0.0);
}

TEST("inputs: a cancelled fill leaves nothing behind") {
  PolarSink sink = quiet();
  int marker = 0;
  sink.context = &marker;  // the heartbeat asks for the end
  const Reporter reporter(sink);
  ThreadPool pool(1);
  InputStore store;
  bool cancelled = false;
  try {
    store.get({Tensor::kUp, 1, POLAR_BF16, 1024, 1.0f, 0, 0, 0, false}, 1, Isa::kPortable, pool, reporter);
  } catch (const Cancelled&) {
    cancelled = true;
  }
  CHECK(cancelled);
  CHECK_EQ(store.held_bytes(), 0.0);
}

TEST("session: touched bytes, counted by hand") {
  PolarProblem p{};
  p.scope = POLAR_SCOPE_ATTENTION;
  p.batch_size = 4;
  p.kv_len = 100;
  p.kv_capacity = 128;
  p.num_qo_heads = 32;
  p.num_kv_heads = 8;
  p.head_dim = 64;
  PolarCandidate c{};
  c.kernel = "attention/selective-head";
  c.active_groups = 3;
  CHECK_EQ(touched_bytes(p, c), 4.0 * 3 * 100 * 64 * 2 * 2);
  c.kernel = "attention/dense";
  CHECK_EQ(touched_bytes(p, c), 4.0 * 8 * 100 * 64 * 2 * 2);
  PolarProblem m{};
  m.scope = POLAR_SCOPE_MLP;
  m.hidden_size = 64;
  m.intermediate_size = 100;
  m.gated = 1;
  c.kernel = "mlp/selective";
  c.active_neurons = 10;
  CHECK_EQ(touched_bytes(m, c), 10.0 * 3 * 64 * 2);
  m.scope = POLAR_SCOPE_MLP_DOWN;
  CHECK_EQ(touched_bytes(m, c), 10.0 * 64 * 2);
}

TEST("session: a kernel of another scope is refused") {
  PolarProblem p{};
  p.scope = POLAR_SCOPE_ATTENTION;
  p.batch_size = p.kv_len = p.kv_capacity = p.num_qo_heads = p.num_kv_heads = 1;
  p.head_dim = 8;
  ThreadPool pool(1);
  InputStore store;
  for (const char* kernel : {"step/dense", "router/mlp-topk", "mlp/dense", "attention/none"}) {
    PolarCandidate c{};
    c.kernel = kernel;
    const auto session = open_session(p, {c}, PolarOptions{}, Isa::kPortable, pool, store);
    CHECK_THROWS(session->memory(), "E_UNSUPPORTED");
  }
}

TEST("session: copies reach five caches for the sparsest candidate, within the memory") {
  CHECK_EQ(plan_copies(100, 100, 50, 1e9), 3);  // 250 distinct bytes wanted
  CHECK_EQ(plan_copies(100, 10, 50, 1e9), 25);  // each copy offers 10
  CHECK_EQ(plan_copies(100, 10, 50, 1000), 6);  // 60 % of 1000 bytes
  CHECK_EQ(plan_copies(100, 10, 50, 10), 1);
  CHECK_EQ(plan_copies(1000, 1000, 50, 1e9), 1);
}

TEST("verify: chosen rows are distinct, ascending and as many as asked for") {
  const auto rows = choose_rows(9, 1000, 16);
  CHECK_EQ(rows.size(), size_t{16});
  CHECK(std::is_sorted(rows.begin(), rows.end()));
  CHECK_EQ(std::set<int64_t>(rows.begin(), rows.end()).size(), size_t{16});
  CHECK(rows.front() >= 0 && rows.back() < 1000);
  CHECK_EQ(choose_rows(9, 10, 0).size(), size_t{10});
  CHECK_EQ(choose_rows(9, 10, 50).size(), size_t{10});
  CHECK(choose_rows(10, 1000, 16) != rows);
}

TEST("machine: facts are plausible") {
  CHECK(!processor_name().empty());
  CHECK(last_level_cache_bytes() >= 65536);
  CHECK(total_memory_bytes() > 1e8);
  CHECK(available_memory_bytes() > 0 && available_memory_bytes() <= total_memory_bytes());
  CHECK(available_processors() >= 1);
}

TEST("isa: the environment lowers it and is checked") {
  setenv("POLAR_BENCH_CPU_ISA", "portable", 1);
  CHECK(active_isa() == Isa::kPortable);
  setenv("POLAR_BENCH_CPU_ISA", "sse9", 1);
  CHECK_THROWS(active_isa(), "E_NATIVE");
  unsetenv("POLAR_BENCH_CPU_ISA");
  CHECK(active_isa() == preferred_isa() && preferred_isa() <= supported_isa());
  setenv("POLAR_BENCH_CPU_ISA", isa_name(supported_isa()), 1);
  CHECK(active_isa() == supported_isa());
  unsetenv("POLAR_BENCH_CPU_ISA");
}

TEST("buffers: a freed one's pages serve the next, neighbours join, contents do not overlap") {
  constexpr size_t kMiB = size_t{1} << 20;
  std::byte* where = nullptr;
  const double before = idle_buffer_bytes();
  {
    Buffer a(6 * kMiB), b(4 * kMiB);
    where = a.data();
    CHECK(b.data() >= a.data() + a.size() || a.data() >= b.data() + b.size());
    CHECK_EQ(reinterpret_cast<uintptr_t>(b.data()) % (2 * kMiB), uintptr_t{0});
  }
  CHECK(idle_buffer_bytes() >= before);
  CHECK(idle_buffer_bytes() >= 10.0 * kMiB);
  const Buffer again(9 * kMiB);  // fits only because the two holes became one
  CHECK(again.data() <= where);
  Buffer moved(3 * kMiB);
  Buffer target = std::move(moved);
  CHECK(moved.data() == nullptr && target.size() == 3 * kMiB);
  CHECK(Buffer(0).data() == nullptr);
}
