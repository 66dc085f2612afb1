#include "executable.h"

#include <chrono>
#include <cstring>
#include <string>

#include "../common/error.h"
#include "../common/faults.h"
#include "../common/problem.h"
#include "../common/tolerance.h"

namespace polar::cpu {

const Kernel& find_kernel(const PolarProblem& p, const std::string& id) {
  for (const Kernel& kernel : kernel_registry()) {
    if (id == kernel.id && kernel.scope == p.scope) return kernel;
  }
  throw NativeError("E_UNSUPPORTED", "Expected a kernel of the CPU backend in the problem's scope, got " + id);
}

int64_t active_count(const PolarProblem& p, const PolarCandidate& c) {
  if (is_attention(p)) return selects_groups(p, c) ? c.active_groups : p.num_kv_heads;
  return selects_neurons(p, c) ? c.active_neurons : p.intermediate_size;
}

size_t output_bytes(const PolarProblem& p, const PolarCandidate& c) {
  const OutputShape shape = output_shape(p, c);
  return static_cast<size_t>(shape.rows * shape.columns) * sizeof(uint16_t);
}

namespace {

using Clock = std::chrono::steady_clock;

class CpuExecutable final : public Executable {
 public:
  CpuExecutable(Shared& shared, const PolarCandidate& candidate)
      : shared_(shared), kernel_(find_kernel(shared.p, candidate.kernel)), active_(active_count(shared.p, candidate)) {
    const PolarProblem& p = shared.p;
    skip_tile_ = fault_active("skip-tile", kernel_.id);
    workspace_bytes_ = kernel_.workspace_bytes(p, active_, shared.pool.size());
    out_bytes_ = output_bytes(p, candidate);
    const bool selective = selects_groups(p, candidate) || selects_neurons(p, candidate);
    auto& known = shared.selections[{active_, selective}];
    if (!known) known = select(candidate);
    selection_ = known;
    dense_ = is_attention(p) || !selects_neurons(p, candidate);
  }

  PolarVerification verify(int64_t rows, int32_t repeats) override {
    poisoned_run();
    const Buffer& out = shared_.out;
    std::vector<std::byte> first(out.data(), out.data() + out_bytes_);
    bool equal = true;
    for (int32_t i = 1; i < repeats; ++i) {
      shared_.reporter->alive("verify", static_cast<double>(i) / repeats);
      poisoned_run();
      equal = equal && std::memcmp(first.data(), out.data(), first.size()) == 0;
    }
    Verdict verdict(shared_.p.dtype);
    const auto* rows_out = reinterpret_cast<const uint16_t*>(first.data());
    const std::vector<int32_t>& index = selection_->index[0];
    if (is_attention(shared_.p)) {
      shared_.reference->attention(rows_out, index, active_, rows, *shared_.reporter, verdict);
    } else {
      shared_.reference->mlp(rows_out, index, rows, *shared_.reporter, verdict);
    }
    return verdict.result(equal);
  }

  int64_t plan_sample(int64_t wanted) override { return runs_ = std::max<int64_t>(1, wanted); }

  Sample sample() override {
    const auto start = Clock::now();
    for (int64_t r = 0; r < runs_; ++r) {
      run(shared_.next_copy);
      if (++shared_.next_copy == shared_.copies) shared_.next_copy = 0;
    }
    Sample sample;
    sample.ns = std::chrono::duration<double, std::nano>(Clock::now() - start).count() / static_cast<double>(runs_);
    return sample;
  }

 private:
  std::shared_ptr<const Selection> select(const PolarCandidate& candidate) const {
    const PolarProblem& p = shared_.p;
    auto selection = std::make_shared<Selection>();
    for (int64_t c = 0; c < shared_.copies; ++c) {
      selection->index.push_back(is_attention(p) ? group_index(p, candidate, c) : neuron_index(p, candidate, c));
      if (p.scope == POLAR_SCOPE_MLP_DOWN && selects_neurons(p, candidate)) {
        selection->hidden.push_back(compact_hidden(selection->index.back()));
      }
    }
    return selection;
  }

  // The hidden activations of the active neurons side by side, as a selective up projection would have left them.
  std::vector<uint16_t> compact_hidden(const std::vector<int32_t>& neurons) const {
    std::vector<uint16_t> compact;
    compact.reserve(static_cast<size_t>(shared_.p.batch_size) * neurons.size());
    for (int64_t m = 0; m < shared_.p.batch_size; ++m) {
      for (int32_t n : neurons) compact.push_back(shared_.first.hidden[m * shared_.p.intermediate_size + n]);
    }
    return compact;
  }

  void poisoned_run() {
    // All ones is a NaN in bf16, fp16 and float32.
    if (out_bytes_ > 0) std::memset(shared_.out.data(), 0xff, out_bytes_);
    if (workspace_bytes_ > 0) std::memset(shared_.workspace.data(), 0xff, workspace_bytes_);
    run(0);
  }

  void run(int64_t copy) {
    const auto c = static_cast<size_t>(copy);
    const ReferenceInputs& in = shared_.first;
    const Launch launch{shared_.p, inner(shared_.isa, shared_.p.dtype), shared_.pool, shared_.workspace.data(),
                        skip_tile_};
    if (kernel_.attention != nullptr) {
      kernel_.attention(launch,
                        {in.q, shared_.k[c], shared_.v[c], shared_.out.half(), selection_->index[c].data(), active_});
      return;
    }
    MlpArgs args{};
    args.x = in.x;
    args.w1 = shared_.w1.empty() ? nullptr : shared_.w1[c];
    args.b1 = in.b1;
    args.w2 = shared_.w2.empty() ? nullptr : shared_.w2[c];
    args.b2 = in.b2;
    args.hidden_in = selection_->hidden.empty() ? in.hidden : selection_->hidden[c].data();
    args.out = shared_.out.half();
    args.neuron_index = dense_ ? nullptr : selection_->index[c].data();
    args.active_neurons = active_;
    kernel_.mlp(launch, args);
  }

  Shared& shared_;
  const Kernel& kernel_;
  int64_t active_;
  bool dense_ = false;
  bool skip_tile_ = false;
  int64_t runs_ = 1;
  size_t workspace_bytes_ = 0;
  size_t out_bytes_ = 0;
  std::shared_ptr<const Selection> selection_;
};

}  // namespace

std::unique_ptr<Executable> make_executable(Shared& shared, const PolarCandidate& candidate) {
  return std::make_unique<CpuExecutable>(shared, candidate);
}

}  // namespace polar::cpu
