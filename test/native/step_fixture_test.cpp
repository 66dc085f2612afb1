// Decode steps of a backend library against those of Hugging Face transformers, through evaluate() of the C interface.
//
//   polar_step_fixtures LIBRARY FIXTURE_FOLDER
//
// Stands alone, so that a machine without Node can compile it with one command:
//   g++ -std=c++20 -O1 test/native/step_fixture_test.cpp -ldl -o polar_step_fixtures
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>

#include "step_fixture.h"

namespace {

using polar::test::StepFixture;

// Limits on |ours - theirs| in a row, in units of eps * max|theirs|; eps = 2^-8 (bf16) or 2^-11 (fp16) is twice the
// most that one rounding changes a value by. A layer rounds eight tensors one after another (normed input, q/k/v,
// probabilities, attention, y, normed y, hidden, output), half an eps each; with products whose gain is about 1 that is
// 4 eps a layer if all errors add, and layers add theirs. Theirs is float32, whose own error is 2^-16 of this.
constexpr double kPerLayer = 4.0;
// The end: normed x rounded once more, and a product.
constexpr double kEnd = 0.5;

int failures = 0;
int checks = 0;

void check(bool right, const std::string& what) {
  ++checks;
  if (right) return;
  ++failures;
  std::printf("not ok - %s\n", what.c_str());
}

struct Outputs {
  std::map<int64_t, std::vector<float>> layers;
  std::vector<float> logits, token;
  bool operator==(const Outputs&) const = default;
};

// What the callbacks see. A layer problem is layer `first_layer` of the fixture with an input of its own.
struct Call {
  const StepFixture& fixture;
  PolarProblem problem;
  int64_t first_layer = 0;
  std::vector<float> x{};
  Outputs out{};
};

int32_t read_tensor(void* context, const char* name, int64_t layer, uint16_t* dst, int64_t count) {
  const Call& call = *static_cast<Call*>(context);
  std::vector<uint16_t> values;
  if (std::strcmp(name, "x") == 0 && !call.x.empty()) {
    for (float v : call.x) values.push_back(polar::float_to_half(v, call.problem.dtype));
  } else {
    values = call.fixture.stored(call.problem, name, call.first_layer + layer);
  }
  if (values.empty()) return 0;  // routers: random
  check(static_cast<int64_t>(values.size()) == count, std::string("size of ") + name);
  if (static_cast<int64_t>(values.size()) != count) return 0;
  std::copy(values.begin(), values.end(), dst);
  return 1;
}

void write_tensor(void* context, const char* name, int64_t layer, const float* values, int64_t count) {
  Outputs& out = static_cast<Call*>(context)->out;
  std::vector<float> copy(values, values + count);
  if (std::strcmp(name, "layer_output") == 0) out.layers[layer] = std::move(copy);
  if (std::strcmp(name, "logits") == 0) out.logits = std::move(copy);
  if (std::strcmp(name, "token") == 0) out.token = std::move(copy);
}

Outputs evaluate(const PolarBackendApi& api, Call call, const char* kernel) {
  PolarSink sink{};
  sink.text = [](void*, const char*, const char*) {};
  sink.number = [](void*, const char*, double) {};
  sink.heartbeat = [](void*, const char*, double) -> int32_t { return 0; };
  sink.warning = [](void*, int32_t, const char*) {};
  PolarCandidate candidate{};
  candidate.kernel = kernel;
  candidate.active_groups = call.problem.num_kv_heads;
  candidate.active_neurons = call.problem.intermediate_size;
  PolarOptions options{};
  options.min_samples = options.max_samples = 3;
  options.warmup = options.repeats = 1;
  options.max_noise = options.max_time_s = 1;
  const PolarTensors tensors{&call, read_tensor, write_tensor};
  PolarResult result{};
  api.evaluate(&call.problem, &candidate, &options, &tensors, &sink, &result);
  check(result.status == POLAR_OK, std::string(kernel) + ": " + result.code + " " + result.message);
  return call.out;
}

// The worst row's |ours - theirs| in units of eps * max|theirs|; infinity if something is missing or not finite.
double distance(const std::vector<float>& ours, const std::vector<float>& theirs, int64_t rows, int32_t dtype) {
  if (ours.size() != theirs.size() || theirs.empty()) return INFINITY;
  const double eps = dtype == POLAR_BF16 ? 0x1.0p-8 : 0x1.0p-11;
  const size_t columns = theirs.size() / static_cast<size_t>(rows);
  double worst = 0;
  for (size_t row = 0; row < theirs.size(); row += columns) {
    double error = 0;
    double largest = 0;
    for (size_t i = row; i < row + columns; ++i) {
      const double difference = std::fabs(static_cast<double>(ours[i]) - theirs[i]);
      error = std::isfinite(difference) ? std::max(error, difference) : INFINITY;
      largest = std::max(largest, std::fabs(static_cast<double>(theirs[i])));
    }
    worst = std::max(worst, error / (eps * largest));
  }
  return worst;
}

// Worst share of its limit that a layer or the logits of a whole step use.
double step_share(const Call& call, const Outputs& out) {
  const int64_t rows = call.problem.batch_size;
  const int32_t dtype = call.problem.dtype;
  double worst = 0;
  const int64_t layers = call.problem.num_layers;
  for (int64_t l = 0; l < layers; ++l) {
    const auto ours = out.layers.find(l);
    const std::vector<float> none;
    const double far =
        distance(ours == out.layers.end() ? none : ours->second, call.fixture.values("layer_output", l), rows, dtype);
    worst = std::max(worst, far / (kPerLayer * static_cast<double>(l + 1)));
  }
  const double far = distance(out.logits, call.fixture.values("logits", 0), rows, dtype);
  return std::max(worst, far / (kPerLayer * static_cast<double>(layers) + kEnd));
}

void check_tokens(const Call& call, const Outputs& out, const std::string& what) {
  const auto rows = static_cast<size_t>(call.problem.batch_size);
  check(out.token.size() == rows, what + ": one token per sequence");
  if (out.token.size() != rows || out.logits.size() % rows != 0) return;
  const auto columns = static_cast<std::ptrdiff_t>(out.logits.size() / rows);
  for (size_t b = 0; b < rows; ++b) {
    const auto row = out.logits.begin() + static_cast<std::ptrdiff_t>(b) * columns;
    check(static_cast<std::ptrdiff_t>(out.token[b]) == std::max_element(row, row + columns) - row,
          what + ": the token is the largest logit");
  }
}

// With every group and neuron selected the sparse variants compute what dense does. On the CPU the same kernels do the
// same sums: equal bits. Other backends may use other kernels for dense products: then within the limits of rounding.
void check_variants(const PolarBackendApi& api, const Call& call, const Outputs& dense, const std::string& what) {
  const bool bitwise = std::strcmp(api.name, "cpu") == 0;
  for (const char* variant : {"mlp-sparse", "head-sparse", "polar"}) {
    const Outputs sparse = evaluate(api, call, (std::string("step/") + variant).c_str());
    const bool equal = sparse == dense;
    double far = 0;
    for (const auto& [layer, values] : dense.layers) {
      const auto ours = sparse.layers.find(layer);
      far = ours == sparse.layers.end()
                ? INFINITY
                : std::max(far, distance(ours->second, values, call.problem.batch_size, call.problem.dtype) /
                                    (kPerLayer * static_cast<double>(layer + 1)));
    }
    std::printf("#   step/%s with everything selected: %s, %.3f of the limit\n", variant,
                equal ? "equal to dense bit by bit" : "not the bits of dense", far);
    check(bitwise ? equal : far <= 1, what + ": " + variant + " with everything selected equals dense");
  }
}

void check_fixture(const PolarBackendApi& api, const StepFixture& fixture, const std::string& name, int32_t dtype) {
  const std::string what = name + (dtype == POLAR_BF16 ? " bf16" : " fp16");
  const Call step{fixture, fixture.problem(POLAR_SCOPE_STEP, dtype)};
  const Outputs dense = evaluate(api, step, "step/dense");
  const double share = step_share(step, dense);
  std::printf("# %s: step uses %.3f of the limit\n", what.c_str(), share);
  check(share <= 1, what + ": the step equals the reference");
  check_tokens(step, dense, what);
  check_variants(api, step, dense, what);
  // Each layer alone, from the reference's own input: nothing accumulates.
  double worst = 0;
  for (int64_t l = 0; l < fixture.num_layers(); ++l) {
    const Call layer{fixture, fixture.problem(POLAR_SCOPE_LAYER, dtype), l,
                     l == 0 ? fixture.values("x", 0) : fixture.values("layer_output", l - 1)};
    const Outputs out = evaluate(api, layer, "layer/dense");
    worst = std::max(worst, distance(out.layers.empty() ? std::vector<float>{} : out.layers.begin()->second,
                                     fixture.values("layer_output", l), step.problem.batch_size, dtype));
  }
  std::printf("# %s: layers use %.3f of the limit\n", what.c_str(), worst / kPerLayer);
  check(worst <= kPerLayer, what + ": every layer equals the reference");
  // The limits must be able to fail: a wrong angle, and a forgotten bias.
  Call wrong = step;
  wrong.problem.rope_theta = 1000;
  wrong.problem.qkv_bias = 0;
  check(step_share(wrong, evaluate(api, wrong, "step/dense")) > 1, what + ": a wrong step is found");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: polar_step_fixtures LIBRARY FIXTURE_FOLDER\n");
    return 2;
  }
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  const auto get =
      library == nullptr ? nullptr : reinterpret_cast<PolarBackendApiFn>(dlsym(library, POLAR_BACKEND_SYMBOL));
  if (get == nullptr) {
    std::fprintf(stderr, "Expected a backend library for LIBRARY, got %s: %s\n", argv[1], dlerror());
    return 2;
  }
  const PolarBackendApi& api = *get();
  if (api.abi_version != POLAR_ABI_VERSION) {
    std::fprintf(stderr, "Expected ABI version %d for LIBRARY, got %u\n", POLAR_ABI_VERSION, api.abi_version);
    return 2;
  }
  try {
    for (const char* name : polar::test::kStepFixtures) {
      const StepFixture fixture(std::string(argv[2]) + "/" + name + ".safetensors");
      for (int32_t dtype : {POLAR_BF16, POLAR_FP16}) check_fixture(api, fixture, name, dtype);
    }
  } catch (const std::exception& error) {
    check(false, error.what());
  }
  std::printf("%s - %d checks, %d failed\n", failures == 0 ? "ok" : "not ok", checks, failures);
  return failures == 0 ? 0 : 1;
}
