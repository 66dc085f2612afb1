// Drives a backend library through its C interface without Node: what a GPU host without Node can run, and what a
// kernel engineer runs between two edits.
//
//   cuda_smoke LIBRARY describe
//   cuda_smoke LIBRARY ceilings [bf16|fp16]
//   cuda_smoke LIBRARY verify [attention|mlp] [quick]   every kernel on the edge shapes; exit 1 if one is not right
//   cuda_smoke LIBRARY measure [attention|mlp]   cells of the paper's models, cold cache
//   cuda_smoke LIBRARY fault KERNEL              a verification that must come out incorrect (test build, skip-tile)
//   cuda_smoke LIBRARY cell verify|measure SCOPE B d D COUNT [bf16|fp16]     one ReLU MLP cell with biases; SCOPE
//                                                attention: B N H H_kv instead of B d D, head_dim 128
//   cuda_smoke LIBRARY instrument                the spin kernel through the timed path (test build)
#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "../../src/native/abi.h"

namespace {

struct Outcome {
  int32_t status = -1;
  std::string code, reason;
  PolarVerification verification{};
  PolarTiming timing{};
  std::vector<double> samples;
  double clock_mhz = NAN;
};

struct Cell {
  std::map<int32_t, Outcome> outcomes;
  bool print_facts = false;
};

PolarSink sink_for(Cell& cell) {
  PolarSink sink{};
  sink.context = &cell;
  sink.text = [](void* c, const char* name, const char* value) {
    if (static_cast<Cell*>(c)->print_facts) std::printf("  %-44s %s\n", name, value);
  };
  sink.number = [](void* c, const char* name, double value) {
    if (static_cast<Cell*>(c)->print_facts) std::printf("  %-44s %.10g\n", name, value);
  };
  sink.heartbeat = [](void*, const char*, double) -> int32_t { return 0; };
  sink.verified = [](void* c, int32_t i, const PolarVerification* v) {
    static_cast<Cell*>(c)->outcomes[i].verification = *v;
  };
  sink.sample = [](void* c, int32_t i, int32_t, double ns, double mhz) {
    static_cast<Cell*>(c)->outcomes[i].samples.push_back(ns);
    static_cast<Cell*>(c)->outcomes[i].clock_mhz = mhz;
  };
  sink.timed = [](void* c, int32_t i, const PolarTiming* t) { static_cast<Cell*>(c)->outcomes[i].timing = *t; };
  sink.warning = [](void*, int32_t i, const char* message) { std::printf("  warning (%d): %s\n", i, message); };
  sink.finished = [](void* c, int32_t i, int32_t status, const char* code, const char* reason) {
    Outcome& o = static_cast<Cell*>(c)->outcomes[i];
    o.status = status, o.code = code, o.reason = reason;
  };
  return sink;
}

PolarOptions options_for(int32_t mode) {
  PolarOptions o{};
  o.mode = mode;
  o.cold_cache = 1;
  o.min_samples = 10;
  o.max_samples = 400;
  o.warmup = 3;
  o.repeats = mode == POLAR_MODE_VERIFY ? 10 : 2;
  o.max_noise = 0.005;
  o.max_time_s = 2;
  o.min_sample_us = 100;
  return o;
}

PolarProblem attention(int64_t b, int64_t n, int64_t h, int64_t h_kv, int64_t d, int32_t dtype, int64_t slack = 0) {
  PolarProblem p{};
  p.scope = POLAR_SCOPE_ATTENTION, p.dtype = dtype, p.seed = 7;
  p.batch_size = b, p.kv_len = n, p.kv_capacity = n + slack;
  p.num_qo_heads = h, p.num_kv_heads = h_kv, p.head_dim = d;
  return p;
}

PolarProblem mlp(int32_t scope, int64_t b, int64_t d, int64_t big_d, int32_t activation, bool gated, bool bias,
                 int32_t dtype) {
  PolarProblem p{};
  p.scope = scope, p.dtype = dtype, p.seed = 7;
  p.batch_size = b, p.hidden_size = d, p.intermediate_size = big_d;
  p.activation = activation, p.gated = gated, p.mlp_bias = bias;
  return p;
}

const char* scope_name(int32_t scope) {
  static constexpr const char* kNames[] = {"attention", "mlp", "mlp-up", "mlp-down"};
  return kNames[scope];
}

std::string text_of(const PolarProblem& p) {
  char text[160];
  if (p.scope == POLAR_SCOPE_ATTENTION) {
    std::snprintf(text, sizeof text, "attention B=%lld N=%lld/%lld H=%lld/%lld d=%lld %s", (long long)p.batch_size,
                  (long long)p.kv_len, (long long)p.kv_capacity, (long long)p.num_qo_heads, (long long)p.num_kv_heads,
                  (long long)p.head_dim, p.dtype == POLAR_BF16 ? "bf16" : "fp16");
  } else {
    std::snprintf(text, sizeof text, "%s B=%lld d=%lld D=%lld act=%d gated=%d bias=%d %s", scope_name(p.scope),
                  (long long)p.batch_size, (long long)p.hidden_size, (long long)p.intermediate_size, p.activation,
                  p.gated, p.mlp_bias, p.dtype == POLAR_BF16 ? "bf16" : "fp16");
  }
  return text;
}

bool starts_with(const std::string& text, const std::string& prefix) { return text.rfind(prefix, 0) == 0; }

class Smoke {
 public:
  explicit Smoke(const PolarBackendApi& api) : api_(api) {
    PolarSink sink{};
    sink.context = &kernels_;
    sink.text = [](void* c, const char*, const char* id) { static_cast<std::vector<std::string>*>(c)->push_back(id); };
    PolarResult result{};
    api.list_kernels(&sink, &result);
  }

  // Verifies every kernel of the scope at these counts; counts failures. One line per failure.
  void verify(const PolarProblem& p, const std::vector<int64_t>& counts) {
    static constexpr int32_t kPatterns[] = {POLAR_INDEX_RANDOM, POLAR_INDEX_FIRST, POLAR_INDEX_LAST,
                                            POLAR_INDEX_EVERY_SECOND};
    std::vector<PolarCandidate> candidates;
    int pattern = 0;
    for (const std::string& id : kernels_of(p.scope)) {
      const bool selects = id.find("/selective") != std::string::npos || id.find("/gather") != std::string::npos;
      for (size_t i = 0; i < (selects ? counts.size() : 1); ++i) {
        candidates.push_back(candidate(p, id, selects ? counts[i] : 0, kPatterns[pattern++ % 4]));
      }
    }
    run(p, candidates, options_for(POLAR_MODE_VERIFY), false);
  }

  void measure(const PolarProblem& p, const std::vector<int64_t>& counts) {
    std::vector<PolarCandidate> candidates;
    for (const std::string& id : kernels_of(p.scope)) {
      const bool selects = id.find("/selective") != std::string::npos;
      if (id.find("/gather") != std::string::npos) continue;
      for (size_t i = 0; i < (selects ? counts.size() : 1); ++i) {
        candidates.push_back(candidate(p, id, selects ? counts[i] : 0, POLAR_INDEX_RANDOM));
      }
    }
    run(p, candidates, options_for(POLAR_MODE_MEASURE), true);
  }

  void run(const PolarProblem& p, const std::vector<PolarCandidate>& candidates, const PolarOptions& options,
           bool timed) {
    Cell cell;
    const PolarSink sink = sink_for(cell);
    PolarResult result{};
    api_.measure_cell(&p, candidates.data(), static_cast<int32_t>(candidates.size()), &options, &sink, &result);
    if (timed) std::printf("%s  copies %lld\n", text_of(p).c_str(), (long long)first_timing(cell).rotation_copies);
    if (result.code[0] != 0) {
      std::printf("FAILED %s: %s %s\n", text_of(p).c_str(), result.code, result.message);
      ++failures;
    }
    for (size_t i = 0; i < candidates.size(); ++i) {
      report(p, candidates[i], cell.outcomes[static_cast<int32_t>(i)], timed);
    }
  }

  std::vector<std::string> kernels_of(int32_t scope) const {
    std::vector<std::string> ids;
    for (const std::string& id : kernels_) {
      if (starts_with(id, std::string(scope_name(scope)) + "/")) ids.push_back(id);
    }
    return ids;
  }

  static PolarCandidate candidate(const PolarProblem& p, const std::string& id, int64_t count, int32_t pattern) {
    PolarCandidate c{};
    static std::vector<std::string*> kept;  // the C structure borrows the text
    kept.push_back(new std::string(id));
    c.kernel = kept.back()->c_str();
    c.index_pattern = pattern;
    c.dense = count == 0;
    (p.scope == POLAR_SCOPE_ATTENTION ? c.active_groups : c.active_neurons) = count;
    return c;
  }

  int failures = 0;
  int checked = 0;
  int unsupported = 0;

 private:
  static PolarTiming first_timing(const Cell& cell) {
    for (const auto& [index, outcome] : cell.outcomes) {
      if (!outcome.samples.empty()) return outcome.timing;
    }
    return PolarTiming{};
  }

  static double bytes_of(const PolarProblem& p, const PolarCandidate& c) {
    if (p.scope == POLAR_SCOPE_ATTENTION) {
      const int64_t groups = c.active_groups > 0 ? c.active_groups : p.num_kv_heads;
      return 4.0 * static_cast<double>(p.batch_size * groups * p.kv_len * p.head_dim) +
             4.0 * static_cast<double>(p.batch_size * p.num_qo_heads * p.head_dim);
    }
    const int64_t neurons = c.active_neurons > 0 ? c.active_neurons : p.intermediate_size;
    const int64_t rows = p.scope == POLAR_SCOPE_MLP ? p.gated + 2 : p.scope == POLAR_SCOPE_MLP_UP ? p.gated + 1 : 1;
    return 2.0 * static_cast<double>(neurons * rows * p.hidden_size + p.batch_size * (p.hidden_size + neurons));
  }

  void report(const PolarProblem& p, const PolarCandidate& c, Outcome& o, bool timed) {
    ++checked;
    if (o.status == POLAR_FAILED && o.code == "E_UNSUPPORTED") {
      ++unsupported;
      std::printf("  unsupported %s %s: %s\n", text_of(p).c_str(), c.kernel, o.reason.c_str());
      return;
    }
    if (o.status != POLAR_OK) {
      ++failures;
      std::printf("FAILED %s %s count=%lld pattern=%d status=%d %s %s\n", text_of(p).c_str(), c.kernel,
                  (long long)(c.active_groups + c.active_neurons), c.index_pattern, o.status, o.code.c_str(),
                  o.reason.c_str());
      return;
    }
    if (!timed || o.samples.empty()) return;
    std::sort(o.samples.begin(), o.samples.end());
    const double median = o.samples[o.samples.size() / 2];
    std::printf(
        "  %-32s count %6lld  %9.2f us  [%.2f, %.2f] n=%zu runs=%lld  %7.0f GB/s  tol %.2f  %4.0f MHz  %8.2f mJ  "
        "discarded %lld\n",
        c.kernel, (long long)(c.active_groups + c.active_neurons), median / 1e3, o.samples[o.samples.size() / 4] / 1e3,
        o.samples[o.samples.size() * 3 / 4] / 1e3, o.samples.size(), (long long)o.timing.runs_per_sample,
        bytes_of(p, c) / median, o.verification.tolerance_used, o.clock_mhz, o.timing.energy_mj,
        (long long)o.timing.samples_discarded);
  }

  const PolarBackendApi& api_;
  std::vector<std::string> kernels_;
};

void verify_attention(Smoke& smoke, bool quick) {
  for (const int32_t dtype : {POLAR_BF16, POLAR_FP16}) {
    for (const int64_t ratio : {1, 4, 6, 8}) {
      for (const int64_t d : {64, 128}) {
        for (const int64_t n : {1, 63, 64, 65, 1000})
          smoke.verify(attention(3, n, 5 * ratio, 5, d, dtype, 7), {1, 3, 5});
      }
    }
    for (const int64_t d : {96, 256}) smoke.verify(attention(2, 129, 8, 2, d, dtype, 3), {1, 2});
    smoke.verify(attention(2, 100, 16, 1, 128, dtype), {1});
    if (quick) continue;
    for (const int64_t b : {1, 8, 17, 64, 65, 512}) smoke.verify(attention(b, 65, 8, 2, 128, dtype), {1, 2});
    smoke.verify(attention(1, 131072, 8, 2, 128, dtype), {1, 2});
    smoke.verify(attention(64, 1920, 72, 72, 128, dtype), {22, 71});
  }
}

void verify_mlp(Smoke& smoke, bool quick) {
  for (const int32_t dtype : {POLAR_BF16, POLAR_FP16}) {
    for (const int32_t scope : {POLAR_SCOPE_MLP, POLAR_SCOPE_MLP_UP, POLAR_SCOPE_MLP_DOWN}) {
      for (const int64_t b : {1, 3, 8, 17, 64, 65, 512}) {
        if (quick && b > 65) continue;
        smoke.verify(mlp(scope, b, 256, 640, POLAR_RELU, false, true, dtype), {1, 63, 321, 640});
        smoke.verify(mlp(scope, b, 512, 688, POLAR_SILU, true, false, dtype), {1, 65, 688});
      }
      smoke.verify(mlp(scope, 5, 200, 333, POLAR_GELU_TANH, false, true, dtype), {1, 100, 333});
      smoke.verify(mlp(scope, 5, 264, 331, POLAR_GELU, false, false, dtype), {1, 100, 331});
      if (quick) continue;
      smoke.verify(mlp(scope, 64, 9216, 36864, POLAR_RELU, false, true, dtype), {3687, 18433});
    }
  }
}

void measure_attention(Smoke& smoke) {
  smoke.measure(attention(64, 1920, 72, 72, 128, POLAR_FP16), {7, 22, 36});
  smoke.measure(attention(64, 8192, 32, 8, 128, POLAR_BF16), {5});
  smoke.measure(attention(1, 8192, 32, 8, 128, POLAR_BF16), {5});
  smoke.measure(attention(32, 8192, 64, 8, 128, POLAR_BF16), {5});
}

void measure_mlp(Smoke& smoke) {
  for (const int64_t b : {64, 1, 16, 256}) {
    for (const int32_t scope : {POLAR_SCOPE_MLP_UP, POLAR_SCOPE_MLP_DOWN}) {
      smoke.measure(mlp(scope, b, 9216, 36864, POLAR_RELU, false, true, POLAR_FP16), {3686, 11059, 18432, 36864});
    }
  }
  smoke.measure(mlp(POLAR_SCOPE_MLP, 64, 9216, 36864, POLAR_RELU, false, true, POLAR_FP16), {18432});
  smoke.measure(mlp(POLAR_SCOPE_MLP, 16, 4096, 11008, POLAR_SILU, true, false, POLAR_BF16), {3302});
}

// argv: SCOPE and its counts, the selected count last, then the dtype. False: wrong usage.
bool one_cell(Smoke& smoke, bool timed, int argc, char** argv) {
  if (argc < 5) return false;
  const std::string scope = argv[0];
  const bool heads = scope == "attention";
  const int numbers = heads ? 5 : 4;
  if (argc < 1 + numbers) return false;
  int64_t n[5] = {};
  for (int i = 0; i < numbers; ++i) n[i] = std::atoll(argv[1 + i]);
  const int32_t dtype = argc > 1 + numbers && std::strcmp(argv[1 + numbers], "bf16") == 0 ? POLAR_BF16 : POLAR_FP16;
  const int32_t which = scope == "mlp-up"     ? POLAR_SCOPE_MLP_UP
                        : scope == "mlp-down" ? POLAR_SCOPE_MLP_DOWN
                                              : POLAR_SCOPE_MLP;
  const PolarProblem p = heads ? attention(n[0], n[1], n[2], n[3], 128, dtype)
                               : mlp(which, n[0], n[1], n[2], POLAR_RELU, false, true, dtype);
  const std::vector<int64_t> counts = {n[numbers - 1]};
  if (timed) {
    smoke.measure(p, counts);
  } else {
    smoke.verify(p, counts);
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::printf("usage: cuda_smoke LIBRARY describe|ceilings|verify|measure|cell|fault|instrument [...]\n");
    return 2;
  }
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return std::printf("%s\n", dlerror()), 3;
  const auto entry = reinterpret_cast<PolarBackendApiFn>(dlsym(library, POLAR_BACKEND_SYMBOL));
  if (entry == nullptr) return std::printf("no symbol " POLAR_BACKEND_SYMBOL "\n"), 3;
  const PolarBackendApi& api = *entry();
  const std::string command = argv[2];
  const std::string part = argc > 3 ? argv[3] : "";
  Smoke smoke(api);
  Cell facts;
  facts.print_facts = true;
  const PolarSink sink = sink_for(facts);
  PolarResult result{};
  if (command == "describe") {
    api.describe(0, &sink, &result);
    if (result.code[0] != 0) return std::printf("%s: %s\n", result.code, result.message), 3;
  } else if (command == "ceilings") {
    const PolarOptions options = options_for(POLAR_MODE_MEASURE);
    api.measure_ceilings(part == "fp16" ? POLAR_FP16 : POLAR_BF16, &options, &sink, &result);
    if (result.code[0] != 0) return std::printf("%s: %s\n", result.code, result.message), 3;
  } else if (command == "verify") {
    const bool quick = argc > 4 && std::strcmp(argv[4], "quick") == 0;
    if (part != "mlp") verify_attention(smoke, quick);
    if (part != "attention") verify_mlp(smoke, quick);
  } else if (command == "measure") {
    if (part != "mlp") measure_attention(smoke);
    if (part != "attention") measure_mlp(smoke);
  } else if (command == "cell") {
    if (!one_cell(smoke, part == "measure", argc - 4, argv + 4)) return std::printf("see the usage\n"), 2;
  } else if (command == "fault") {
    const bool is_attention = starts_with(part, "attention/");
    const PolarProblem p = is_attention ? attention(4, 1000, 8, 8, 128, POLAR_BF16)
                                        : mlp(starts_with(part, "mlp-up/")     ? POLAR_SCOPE_MLP_UP
                                              : starts_with(part, "mlp-down/") ? POLAR_SCOPE_MLP_DOWN
                                                                               : POLAR_SCOPE_MLP,
                                              8, 512, 1024, POLAR_RELU, false, true, POLAR_BF16);
    smoke.run(p, {Smoke::candidate(p, part, is_attention ? 4 : 300, POLAR_INDEX_RANDOM)},
              options_for(POLAR_MODE_VERIFY), false);
  } else if (command == "instrument") {
    const PolarProblem p = attention(1, 64, 1, 1, 64, POLAR_BF16);
    for (const int64_t ns : {20000, 100000}) {
      PolarCandidate c = Smoke::candidate(p, "instrument/spin", 0, POLAR_INDEX_RANDOM);
      c.active_neurons = ns;
      smoke.run(p, {c, c}, options_for(POLAR_MODE_MEASURE), true);
    }
  }
  std::printf("%s %s: %d checked, %d failed, %d unsupported\n", command.c_str(), part.c_str(), smoke.checked,
              smoke.failures, smoke.unsupported);
  return smoke.failures == 0 ? 0 : 1;
}
