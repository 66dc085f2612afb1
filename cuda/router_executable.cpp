#include "router_executable.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "../src/native/common/error.h"
#include "../src/native/common/faults.h"
#include "../src/native/common/half.h"
#include "../src/native/reference/decoder.h"
#include "device/fill.h"
#include "kernels/reference.h"
#include "kernels/router.h"

namespace polar::cuda {
namespace {

constexpr std::array kAttentionTensors = {Tensor::kInput, Tensor::kAttentionRouter};
constexpr std::array kMlpTensors = {Tensor::kInput, Tensor::kMlpRouterDown, Tensor::kMlpRouterUp};

std::vector<Tensor> tensors_of(bool attention) {
  return attention ? std::vector<Tensor>(kAttentionTensors.begin(), kAttentionTensors.end())
                   : std::vector<Tensor>(kMlpTensors.begin(), kMlpTensors.end());
}

// Work and inputs of a host reference that takes about a second.
constexpr double kMaxHostWork = 2e8;

// Scores by rows that are judged, and selected from, on their own: a sequence, or all neurons.
struct Layout {
  int64_t rows, columns, top_k;
  size_t scores() const { return static_cast<size_t>(rows * columns); }
  size_t indices() const { return static_cast<size_t>(rows * top_k); }
};

Layout layout_of(const PolarProblem& p, const PolarCandidate& candidate) {
  if (selects_groups(p, candidate)) return {p.batch_size, p.num_kv_heads, candidate.active_groups};
  return {1, p.intermediate_size, candidate.active_neurons};
}

AttentionRouterArgs attention_args(const PolarProblem& p, const PolarCandidate& c) {
  AttentionRouterArgs a{};
  a.batch_size = p.batch_size;
  a.hidden_size = p.hidden_size;
  a.num_groups = p.num_kv_heads;
  a.top_k = c.active_groups;
  return a;
}

MlpRouterArgs mlp_args(const PolarProblem& p, const PolarCandidate& c) {
  MlpRouterArgs a{};
  a.batch_size = p.batch_size;
  a.hidden_size = p.hidden_size;
  a.rank = p.mlp_router_rank;
  a.num_neurons = p.intermediate_size;
  a.top_k = c.active_neurons;
  return a;
}

size_t workspace_bytes(const PolarProblem& p, const PolarCandidate& c, const DeviceInfo& device) {
  return selects_groups(p, c) ? attention_router_workspace_bytes(attention_args(p, c), device)
                              : mlp_router_workspace_bytes(mlp_args(p, c), device);
}

class RouterExecutable final : public CudaExecutable {
 public:
  RouterExecutable(SessionState& session, const PolarCandidate& candidate, const RouterInputs& inputs)
      : CudaExecutable(session, candidate, workspace_bytes(session.problem, candidate, session.device.info)),
        inputs_(inputs),
        layout_(layout_of(session.problem, candidate)),
        scores_(layout_.scores() * sizeof(float)),
        index_(layout_.indices() * sizeof(int32_t)) {
    prepare_routers(session.problem.dtype, session.device.info);
  }

  PolarVerification verify(int64_t /*rows*/, int32_t repeats) override {
    const ProfilerRange range(range_name("verify"));
    run_poisoned();
    const std::vector<float> scores = to_host<float>(scores_.as(), layout_.scores());
    const std::vector<int32_t> index = to_host<int32_t>(index_.as(), layout_.indices());
    const DeviceBuffer first_scores = to_device(scores), first_index = to_device(index);
    DeviceBuffer differences(sizeof(unsigned long long));
    CHECK_CUDA(cudaMemsetAsync(differences.as(), 0, differences.bytes(), session_.stream));
    for (int32_t i = 1; i < repeats; ++i) {
      run_poisoned();
      for (const auto& [first, now] : {std::pair{&first_scores, &scores_}, {&first_index, &index_}}) {
        count_differences(first->as(), now->as(), static_cast<int64_t>(now->bytes() / 2),
                          differences.as<unsigned long long>(), session_.stream);
      }
    }
    session_.stream.synchronize("repeating a router");
    const bool equal = to_host<unsigned long long>(differences.as(), 1)[0] == 0;
    return judge(scores, index, equal);
  }

 protected:
  int64_t copies() const override { return inputs_.copies(); }

  void launch(int64_t copy) override {
    const PolarProblem& p = session_.problem;
    if (selects_groups(p, candidate_)) {
      AttentionRouterArgs a = attention_args(p, candidate_);
      a.x = inputs_.at(0, copy);
      a.weight = inputs_.at(1, copy);
      a.scores = scores_.as<float>();
      a.index = index_.as<int32_t>();
      a.workspace = workspace_.as();
      launch_attention_router(p.dtype, session_.device.info, a, session_.stream);
    } else {
      MlpRouterArgs a = mlp_args(p, candidate_);
      a.x = inputs_.at(0, copy);
      a.down = inputs_.at(1, copy);
      a.up = inputs_.at(2, copy);
      a.scores = scores_.as<float>();
      a.index = index_.as<int32_t>();
      a.workspace = workspace_.as();
      launch_mlp_router(p.dtype, session_.device.info, a, session_.stream);
    }
    if (kFaultBuild && fault_active("skip-tile", candidate_.kernel)) {  // the first scores are never written
      fill_nan(scores_.as(), std::min<int64_t>(32, static_cast<int64_t>(layout_.scores()) * 2), session_.stream);
    }
  }

  void compare(RowError* /*errors*/) override {}  // verify() judges scores and indices itself

 private:
  struct Reference {
    std::vector<double> exact;
    std::vector<float> naive;
  };

  void run_poisoned() {
    fill_nan(scores_.as(), static_cast<int64_t>(scores_.bytes() / 2), session_.stream);
    CHECK_CUDA(cudaMemsetAsync(index_.as(), 0xff, index_.bytes(), session_.stream));
    launch(0);
    session_.stream.synchronize("the run that is verified");
  }

  Reference device_reference() const {
    const PolarProblem& p = session_.problem;
    const DeviceBuffer exact(layout_.scores() * sizeof(double)), naive(layout_.scores() * sizeof(float));
    if (selects_groups(p, candidate_)) {
      launch_reference_attention_router(p, inputs_.at(0, 0), inputs_.at(1, 0), exact.as<double>(), naive.as<float>(),
                                        session_.stream);
      session_.stream.synchronize("the reference of a router");
    } else {
      const DeviceBuffer scratch(reference_mlp_router_scratch_bytes(p));
      launch_reference_mlp_router(p, inputs_.at(0, 0), inputs_.at(1, 0), inputs_.at(2, 0), exact.as<double>(),
                                  naive.as<float>(), scratch.as(), session_.stream);
      session_.stream.synchronize("the reference of a router");
    }
    return {to_host<double>(exact.as(), layout_.scores()), to_host<float>(naive.as(), layout_.scores())};
  }

  // Scores against the reference; the index against the scores, where one wrong entry fails the whole row.
  PolarVerification judge(const std::vector<float>& scores, const std::vector<int32_t>& index, bool equal) {
    const Reference reference = device_reference();
    if (session_.options.mode == POLAR_MODE_VERIFY) check_against_host(reference);
    Verdict verdict(session_.problem.dtype);
    for (int64_t row = 0; row < layout_.rows; ++row) {
      RowError error;
      const auto base = static_cast<size_t>(row * layout_.columns);
      for (size_t i = base; i < base + static_cast<size_t>(layout_.columns); ++i) {
        const double gap = std::fabs(static_cast<double>(scores[i]) - reference.exact[i]);
        error.error = std::isfinite(gap) ? std::max(error.error, gap) : std::numeric_limits<double>::infinity();
        error.naive = std::max(error.naive, std::fabs(static_cast<double>(reference.naive[i]) - reference.exact[i]));
        error.reference = std::max(error.reference, std::fabs(reference.exact[i]));
      }
      const std::vector<int32_t> want = top_k_reference(scores.data() + base, layout_.columns, layout_.top_k);
      if (!std::equal(want.begin(), want.end(), index.begin() + row * layout_.top_k)) {
        error.error = std::numeric_limits<double>::infinity();
        session_.reporter->warn(-1, std::string(candidate_.kernel) + ": the index of row " + std::to_string(row) +
                                        " is not the ascending top " + std::to_string(layout_.top_k) +
                                        " of its own scores");
      }
      verdict.add(row, error);
    }
    return verdict.result(equal);
  }

  std::vector<uint16_t> generate(Tensor tensor) const {
    const PolarProblem& p = session_.problem;
    std::vector<uint16_t> values(static_cast<size_t>(tensor_elements(p, tensor)));
    const uint64_t key = stream_key(p.seed, tensor, 0);
    const float scale = tensor_scale(p, tensor);
    for (size_t i = 0; i < values.size(); ++i) values[i] = float_to_half(random_value(key, i, scale), p.dtype);
    return values;
  }

  // The device reference and the generated inputs, computed a second time on the host where that is quick.
  void check_against_host(const Reference& device) const {
    const PolarProblem& p = session_.problem;
    const bool groups = selects_groups(p, candidate_);
    const double per_sequence = groups ? static_cast<double>(p.num_kv_heads * p.hidden_size)
                                       : static_cast<double>(p.mlp_router_rank * (p.hidden_size + p.intermediate_size));
    if (per_sequence * static_cast<double>(p.batch_size) > kMaxHostWork) return;
    const std::vector<uint16_t> x = generate(Tensor::kInput);
    const std::vector<uint16_t> first = generate(groups ? Tensor::kAttentionRouter : Tensor::kMlpRouterDown);
    const std::vector<uint16_t> second = groups ? std::vector<uint16_t>() : generate(Tensor::kMlpRouterUp);
    std::vector<int64_t> neurons;
    for (int64_t n = 0; !groups && n < p.intermediate_size; ++n) neurons.push_back(n);
    Row sums{std::vector<double>(neurons.size()), std::vector<float>(neurons.size())};
    for (int64_t b = 0; b < p.batch_size; ++b) {
      const Row input = stored_row(p, x.data() + b * p.hidden_size, p.hidden_size);
      if (groups) {
        compare_row(b, attention_router_reference(p, first.data(), input, serial_for), device);
      } else {
        add_mlp_router_reference(p, first.data(), second.data(), input, neurons, serial_for, sums);
      }
    }
    if (!groups) compare_row(0, sums, device);
  }

  // float64 may differ by summation order, naive by the float32 order and then by a rounding step.
  void compare_row(int64_t row, const Row& host, const Reference& device) const {
    double largest = 0, exact_gap = 0, naive_gap = 0;
    for (size_t i = 0; i < host.exact.size(); ++i) {
      const size_t at = static_cast<size_t>(row * layout_.columns) + i;
      const double gap = std::fabs(device.exact[at] - host.exact[i]);
      const double other = std::fabs(static_cast<double>(device.naive[at]) - static_cast<double>(host.naive[i]));
      largest = std::max(largest, std::fabs(host.exact[i]));
      exact_gap = gap <= exact_gap ? exact_gap : gap;  // a NaN must not slip through the maximum
      naive_gap = other <= naive_gap ? naive_gap : other;
    }
    if (exact_gap <= 1e-10 * largest && naive_gap <= 4 * tolerance_epsilon(session_.problem.dtype) * largest) return;
    throw NativeError("E_NATIVE", "Expected the device reference of a router to equal the host reference in row " +
                                      std::to_string(row) + ", got differences of " + std::to_string(exact_gap) +
                                      " (float64) and " + std::to_string(naive_gap) + " (naive), largest value " +
                                      std::to_string(largest));
  }

  const RouterInputs& inputs_;
  const Layout layout_;
  DeviceBuffer scores_;  // [rows, columns]
  DeviceBuffer index_;   // [rows, top_k]
};

}  // namespace

RouterInputs::RouterInputs(const PolarProblem& p, bool attention, int64_t copies, cudaStream_t stream)
    : copies_(copies) {
  const std::vector<Tensor> tensors = tensors_of(attention);
  for (size_t t = 0; t < tensors.size(); ++t) {
    arenas_[t].stride = tensor_bytes(p, tensors[t]);
    arenas_[t].memory = DeviceBuffer(arenas_[t].stride * static_cast<size_t>(copies));
    for (int64_t copy = 0; copy < copies; ++copy) {
      fill_random(arenas_[t].memory.at(arenas_[t].stride * static_cast<size_t>(copy)), tensor_elements(p, tensors[t]),
                  p.dtype, stream_key(p.seed, tensors[t], static_cast<uint64_t>(copy)), tensor_scale(p, tensors[t]),
                  stream);
    }
  }
}

size_t RouterInputs::copy_bytes(const PolarProblem& p, bool attention) {
  size_t bytes = 0;
  for (const Tensor tensor : tensors_of(attention)) bytes += tensor_bytes(p, tensor);
  return bytes;
}

std::unique_ptr<Executable> make_router_executable(SessionState& session, const PolarCandidate& candidate,
                                                   const RouterInputs& inputs) {
  return std::make_unique<RouterExecutable>(session, candidate, inputs);
}

size_t router_executable_bytes(const PolarProblem& p, const PolarCandidate& candidate, const DeviceInfo& device) {
  const Layout layout = layout_of(p, candidate);
  size_t bytes = 2 * (align_up(layout.scores() * sizeof(float)) + align_up(layout.indices() * sizeof(int32_t)));
  bytes += align_up(layout.scores() * sizeof(double)) + align_up(layout.scores() * sizeof(float));
  if (!selects_groups(p, candidate)) bytes += align_up(reference_mlp_router_scratch_bytes(p));
  return bytes + align_up(workspace_bytes(p, candidate, device));
}

}  // namespace polar::cuda
