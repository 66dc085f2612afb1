// Drives the layer and step scopes of a backend library through its C interface, without Node.
//
//   cuda_step LIBRARY verify [all|quick [MODEL]]      tiny models of both families: all variants, stage by stage, and
//                                                     evaluate() with everything selected against dense
//   cuda_step LIBRARY measure MODEL B N [GROUPS NEURONS [layer]]   all variants of a real model: verified, timed, taken
//                                                     apart; GROUPS active KV groups, NEURONS mean density of the MLP
//                                                     (0: no MLP selection)
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
  std::vector<std::pair<std::string, double>> parts;
};

struct Cell {
  std::map<int32_t, Outcome> outcomes;
  bool print_facts = false;
};

PolarSink sink_for(Cell& cell) {
  PolarSink sink{};
  sink.context = &cell;
  sink.text = [](void* c, const char* name, const char* value) {
    if (static_cast<Cell*>(c)->print_facts) std::printf("  %s=%s", name, value);
  };
  sink.number = [](void* c, const char* name, double value) {
    if (static_cast<Cell*>(c)->print_facts) std::printf("  %s=%.6g", name, value);
  };
  sink.heartbeat = [](void*, const char*, double) -> int32_t { return 0; };
  sink.verified = [](void* c, int32_t i, const PolarVerification* v) {
    static_cast<Cell*>(c)->outcomes[i].verification = *v;
  };
  sink.sample = [](void* c, int32_t i, int32_t, double ns, double) {
    static_cast<Cell*>(c)->outcomes[i].samples.push_back(ns);
  };
  sink.timed = [](void* c, int32_t i, const PolarTiming* t) { static_cast<Cell*>(c)->outcomes[i].timing = *t; };
  sink.part = [](void* c, int32_t i, const char* name, double ns) {
    static_cast<Cell*>(c)->outcomes[i].parts.emplace_back(name, ns);
  };
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
  o.min_samples = 7;
  o.max_samples = 100;
  o.warmup = 1;
  o.repeats = mode == POLAR_MODE_VERIFY ? 4 : 2;
  o.max_noise = 0.003;
  o.max_time_s = 2;
  o.min_sample_us = 100;
  o.breakdown = mode == POLAR_MODE_MEASURE;
  return o;
}

struct Model {
  const char* name;
  int64_t layers, hidden_size, num_qo_heads, num_kv_heads, head_dim, intermediate_size, vocab_size, rank;
  bool opt;  // LayerNorm, biases, ReLU; else RMSNorm, RoPE, SwiGLU
};

constexpr Model kModels[] = {
    {"opt-66b", 64, 9216, 72, 72, 128, 36864, 50272, 1024, true},
    {"opt-6.7b", 32, 4096, 32, 32, 128, 16384, 50272, 1024, true},
    {"llama-2-7b", 32, 4096, 32, 32, 128, 11008, 32000, 1024, false},
    {"llama-3-8b", 32, 4096, 32, 8, 128, 14336, 128256, 1024, false},
    {"llama-3.1-70b", 80, 8192, 64, 8, 128, 28672, 128256, 1024, false},
};

PolarProblem problem_of(const Model& m, int32_t scope, int32_t dtype, int64_t batch, int64_t kv_len, int64_t slack) {
  PolarProblem p{};
  p.scope = scope, p.dtype = dtype, p.seed = 7;
  p.batch_size = batch, p.kv_len = kv_len, p.kv_capacity = kv_len + slack;
  p.num_qo_heads = m.num_qo_heads, p.num_kv_heads = m.num_kv_heads, p.head_dim = m.head_dim;
  p.hidden_size = m.hidden_size, p.intermediate_size = m.intermediate_size;
  p.activation = m.opt ? POLAR_RELU : POLAR_SILU;
  p.gated = !m.opt, p.mlp_bias = m.opt, p.qkv_bias = m.opt, p.out_bias = m.opt, p.rope = !m.opt;
  p.norm = m.opt ? POLAR_NORM_LAYER : POLAR_NORM_RMS;
  p.rope_theta = m.opt ? 0 : 10000, p.norm_epsilon = 1e-5;
  p.num_layers = scope == POLAR_SCOPE_STEP ? m.layers : 1;
  p.vocab_size = scope == POLAR_SCOPE_STEP ? m.vocab_size : 0;
  p.mlp_router_rank = m.rank;
  return p;
}

std::string text_of(const Model& m, const PolarProblem& p) {
  char text[160];
  std::snprintf(text, sizeof text, "%s %s B=%lld N=%lld/%lld %s", p.scope == POLAR_SCOPE_STEP ? "step" : "layer",
                m.name, (long long)p.batch_size, (long long)p.kv_len, (long long)p.kv_capacity,
                p.dtype == POLAR_BF16 ? "bf16" : "fp16");
  return text;
}

constexpr const char* kVariants[] = {"dense", "mlp-sparse", "head-sparse", "polar"};

// The four variants (without MLP selection where `neurons` is empty); texts live as long as this does.
struct Candidates {
  std::vector<std::string> ids;
  std::vector<int64_t> neurons;  // of each layer
  std::vector<PolarCandidate> list;

  Candidates(const PolarProblem& p, int64_t groups, const std::vector<int64_t>& neurons_of_layers)
      : neurons(neurons_of_layers) {
    for (const char* variant : kVariants) {
      ids.push_back(std::string(p.scope == POLAR_SCOPE_STEP ? "step/" : "layer/") + variant);
    }
    for (size_t i = 0; i < ids.size(); ++i) {
      const bool selects_neurons = i == 1 || i == 3;
      if (selects_neurons && neurons.empty()) continue;
      PolarCandidate c{};
      c.kernel = ids[i].c_str();
      c.dense = i == 0;
      if (i >= 2) c.active_groups = groups;
      if (selects_neurons) {
        c.active_neurons = neurons[0];
        c.layer_active_neurons = neurons.data();
      }
      list.push_back(c);
    }
  }
};

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

class Driver {
 public:
  explicit Driver(const PolarBackendApi& api) : api_(api) {}
  int failures = 0, checked = 0;

  void run(const Model& m, const PolarProblem& p, const Candidates& candidates, int32_t mode) {
    Cell cell;
    cell.print_facts = mode == POLAR_MODE_MEASURE;
    if (cell.print_facts) std::printf("%s:", text_of(m, p).c_str());
    const PolarSink sink = sink_for(cell);
    PolarResult result{};
    const PolarOptions options = options_for(mode);
    api_.measure_cell(&p, candidates.list.data(), static_cast<int32_t>(candidates.list.size()), &options, &sink,
                      &result);
    if (cell.print_facts) std::printf("\n");
    if (result.code[0] != 0) {
      std::printf("FAILED %s: %s %s\n", text_of(m, p).c_str(), result.code, result.message);
      ++failures;
    }
    const double dense = cell.outcomes[0].samples.empty() ? NAN : median_of(cell.outcomes[0].samples);
    for (size_t i = 0; i < candidates.list.size(); ++i) {
      report(m, p, candidates.list[i], cell.outcomes[static_cast<int32_t>(i)], dense);
    }
  }

  // evaluate() on random tensors: polar with all groups and neurons selected computes what dense computes.
  void compare_with_dense(const Model& m, const PolarProblem& p) {
    const std::vector<int64_t> all(static_cast<size_t>(p.num_layers), p.intermediate_size);
    const Candidates candidates(p, p.num_kv_heads, all);
    std::map<std::string, std::vector<float>> dense = evaluate(p, candidates.list[0]), polar;
    for (size_t i = 1; i < candidates.list.size(); ++i) {
      polar = evaluate(p, candidates.list[i]);
      ++checked;
      double worst = 0;
      for (const auto& [name, values] : dense) {
        if (name.rfind("token", 0) == 0) continue;  // equal logits may tie
        double error = 0, size = 0;
        for (size_t k = 0; k < values.size(); ++k) {
          error = std::max(error, std::fabs(static_cast<double>(values[k]) - polar[name][k]));
          size = std::max(size, std::fabs(static_cast<double>(values[k])));
        }
        if (!(error / size <= worst)) worst = error / size;
      }
      // Sums in another order, rounded in between over three layers: some units in the last place of the largest value.
      const double limit = p.dtype == POLAR_BF16 ? 0x1.0p-5 : 0x1.0p-8;
      if (worst <= limit && !dense.empty() && polar.size() == dense.size()) continue;
      ++failures;
      std::printf("FAILED evaluate %s %s: differs from dense by %.3g of the largest value, limit %.3g\n",
                  text_of(m, p).c_str(), candidates.list[i].kernel, worst, limit);
    }
  }

 private:
  std::map<std::string, std::vector<float>> evaluate(const PolarProblem& p, const PolarCandidate& c) {
    std::map<std::string, std::vector<float>> outputs;
    PolarTensors tensors{};
    tensors.context = &outputs;
    tensors.read = [](void*, const char*, int64_t, uint16_t*, int64_t) -> int32_t { return 0; };
    tensors.write = [](void* context, const char* name, int64_t layer, const float* values, int64_t count) {
      (*static_cast<std::map<std::string, std::vector<float>>*>(context))[name + std::to_string(layer)] =
          std::vector<float>(values, values + count);
    };
    Cell cell;
    const PolarSink sink = sink_for(cell);
    const PolarOptions options = options_for(POLAR_MODE_VERIFY);
    PolarResult result{};
    api_.evaluate(&p, &c, &options, &tensors, &sink, &result);
    if (result.code[0] != 0) {
      ++failures;
      std::printf("FAILED evaluate %s: %s %s\n", c.kernel, result.code, result.message);
    }
    return outputs;
  }

  void report(const Model& m, const PolarProblem& p, const PolarCandidate& c, const Outcome& o, double dense) {
    ++checked;
    if (o.status != POLAR_OK) {
      ++failures;
      std::printf("FAILED %s %s groups=%lld neurons=%lld status=%d %s %s\n", text_of(m, p).c_str(), c.kernel,
                  (long long)c.active_groups, (long long)c.active_neurons, o.status, o.code.c_str(), o.reason.c_str());
      return;
    }
    if (o.samples.empty()) return;
    std::vector<double> samples = o.samples;
    std::sort(samples.begin(), samples.end());
    const double median = samples[samples.size() / 2];
    std::printf(
        "  %-18s %10.2f us [%.2f, %.2f] n=%zu runs=%lld resident=%lld x%.3f tol %.2f rows %lld %.1f mJ setup %.2f s\n",
        c.kernel, median / 1e3, samples[samples.size() / 4] / 1e3, samples[samples.size() * 3 / 4] / 1e3,
        samples.size(), (long long)o.timing.runs_per_sample, (long long)o.timing.resident_layers, dense / median,
        o.verification.tolerance_used, (long long)o.verification.rows_checked, o.timing.energy_mj, o.timing.setup_s);
    double sum = 0;
    std::printf("      ");
    for (const auto& [name, ns] : o.parts) {
      sum += ns;
      std::printf(" %s %.2f", name.c_str(), ns / 1e3 / static_cast<double>(p.num_layers));
    }
    if (!o.parts.empty()) std::printf("  us per layer; sum %.2f %%\n", 100 * sum / median);
  }

  const PolarBackendApi& api_;
};

// Tiny models of both families; odd counts, tails of tiles, an odd vocabulary.
void verify(Driver& driver, bool quick, const std::string& only) {
  constexpr Model kTiny[] = {{"tiny-opt", 3, 256, 4, 4, 64, 1024, 1000, 256, true},
                             {"tiny-llama", 3, 512, 8, 2, 64, 1408, 1003, 512, false},
                             {"tiny-wide", 3, 512, 12, 2, 128, 1536, 512, 512, false},
                             {"tiny-odd", 2, 200, 5, 5, 64, 616, 331, 200, true}};
  for (const int32_t dtype : {POLAR_BF16, POLAR_FP16}) {
    for (const Model& m : kTiny) {
      if (!only.empty() && only != m.name) continue;
      for (const int64_t batch : {1, 3, 64}) {
        if (quick && batch == 64) continue;
        for (const int32_t scope : {POLAR_SCOPE_STEP, POLAR_SCOPE_LAYER}) {
          const PolarProblem p = problem_of(m, scope, dtype, batch, batch == 3 ? 65 : 200, 7);
          const std::vector<int64_t> neurons = {m.intermediate_size / 3 + 1, 1, m.intermediate_size};
          driver.run(m, p, Candidates(p, m.num_kv_heads / 2 + m.num_kv_heads % 2, neurons), POLAR_MODE_VERIFY);
        }
      }
      driver.compare_with_dense(m, problem_of(m, POLAR_SCOPE_STEP, dtype, 3, 130, 0));
    }
  }
}

bool measure(Driver& driver, int argc, char** argv) {
  if (argc < 3) return false;
  const auto* model = std::find_if(std::begin(kModels), std::end(kModels),
                                   [&](const Model& m) { return std::strcmp(m.name, argv[0]) == 0; });
  if (model == std::end(kModels)) return false;
  const bool layer = argc > 5 && std::strcmp(argv[5], "layer") == 0;
  const PolarProblem p = problem_of(*model, layer ? POLAR_SCOPE_LAYER : POLAR_SCOPE_STEP,
                                    model->opt ? POLAR_FP16 : POLAR_BF16, std::atoll(argv[1]), std::atoll(argv[2]), 0);
  const int64_t groups = argc > 3 ? std::atoll(argv[3]) : p.num_kv_heads;
  const double density = argc > 4 ? std::atof(argv[4]) : 0;
  // Published curves rise with the layer; a straight line with the same mean stands in for them.
  std::vector<int64_t> neurons;
  for (int64_t l = 0; density > 0 && l < p.num_layers; ++l) {
    const double share = p.num_layers > 1 ? static_cast<double>(l) / static_cast<double>(p.num_layers - 1) : 0.5;
    neurons.push_back(static_cast<int64_t>(density * (0.4 + 1.2 * share) * static_cast<double>(p.intermediate_size)));
  }
  driver.run(*model, p, Candidates(p, groups, neurons), POLAR_MODE_MEASURE);
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3)
    return std::printf("usage: cuda_step LIBRARY verify [all|quick [MODEL]] | measure MODEL B N [...]\n"), 2;
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return std::printf("%s\n", dlerror()), 3;
  const auto entry = reinterpret_cast<PolarBackendApiFn>(dlsym(library, POLAR_BACKEND_SYMBOL));
  if (entry == nullptr) return std::printf("no symbol " POLAR_BACKEND_SYMBOL "\n"), 3;
  Driver driver(*entry());
  const std::string command = argv[2];
  if (command == "verify") {
    verify(driver, argc > 3 && std::strcmp(argv[3], "quick") == 0, argc > 4 ? argv[4] : "");
  } else if (command != "measure" || !measure(driver, argc - 3, argv + 3)) {
    return std::printf("see the usage\n"), 2;
  }
  std::printf("%s: %d checked, %d failed\n", command.c_str(), driver.checked, driver.failures);
  return driver.failures == 0 ? 0 : 1;
}
