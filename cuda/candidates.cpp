// The executables: attention, MLP and, in the test build, an instrument of known duration.
#include <algorithm>
#include <string>

#include "../src/native/common/error.h"
#include "../src/native/common/faults.h"
#include "device/fill.h"
#include "executable.h"
#include "kernels/registry.h"

namespace polar::cuda {
namespace {

// The index sets of all copies, checked on the host: [copies, stride] with rows of `length` entries.
struct IndexSets {
  DeviceBuffer memory;
  size_t stride_bytes = 0;

  const int32_t* at(int64_t copy) const {
    return static_cast<const int32_t*>(memory.at(stride_bytes * static_cast<size_t>(copy)));
  }
};

// A kernel never sees an unchecked index, whoever drew it.
void check_indices(const std::vector<int32_t>& index, int64_t set_length, int64_t total) {
  for (size_t i = 0; i < index.size(); ++i) {
    const bool first = static_cast<int64_t>(i) % set_length == 0;
    if (index[i] < 0 || index[i] >= total || (!first && index[i] <= index[i - 1])) {
      throw NativeError("E_NATIVE", "Expected ascending distinct integers below " + std::to_string(total) +
                                        " for an index set, got " + std::to_string(index[i]));
    }
  }
}

template <typename Draw>
IndexSets upload_indices(int64_t copies, int64_t length, int64_t set_length, int64_t total, Draw draw) {
  IndexSets sets;
  sets.stride_bytes = align_up(static_cast<size_t>(length) * sizeof(int32_t));
  std::vector<char> bytes(sets.stride_bytes * static_cast<size_t>(copies));
  for (int64_t copy = 0; copy < copies; ++copy) {
    const std::vector<int32_t> index = draw(copy);
    check_indices(index, set_length, total);
    std::copy_n(reinterpret_cast<const char*>(index.data()), index.size() * sizeof(int32_t),
                bytes.data() + sets.stride_bytes * static_cast<size_t>(copy));
  }
  sets.memory = to_device(bytes);
  return sets;
}

class AttentionExecutable : public CudaExecutable {
 public:
  AttentionExecutable(SessionState& session, const PolarCandidate& candidate, const AttentionKernel& kernel)
      : CudaExecutable(session, candidate, kernel.workspace_bytes(session.problem, candidate, session.device.info)),
        kernel_(kernel) {
    const PolarProblem& p = session.problem;
    selects_ = selects_groups(p, candidate);
    groups_ = selects_ ? candidate.active_groups : p.num_kv_heads;
    if (selects_) {
      index_ = upload_indices(session.inputs.copies(), p.batch_size * groups_, groups_, p.num_kv_heads,
                              [&](int64_t copy) { return group_index(p, candidate, copy); });
    }
    if (kernel.prepare != nullptr) kernel.prepare(p, candidate, session.device.info);
  }

 protected:
  void launch(int64_t copy) override {
    const Inputs& inputs = session_.inputs;
    const AttentionArgs args{inputs.at(Tensor::kQuery, copy),
                             inputs.at(Tensor::kKey, copy),
                             inputs.at(Tensor::kValue, copy),
                             output(),
                             selects_ ? index_.at(copy) : nullptr,
                             groups_,
                             workspace_.as()};
    kernel_.launch(context(), args);
  }

  void compare(RowError* errors) override {
    const PolarProblem& p = session_.problem;
    const ReferencePair& reference = session_.references->attention();
    DeviceBuffer active;
    if (selects_) active = to_device(active_rows(p));
    launch_compare_rows(p.dtype, output(), shape_.rows, shape_.columns, reference.exact.as<double>(),
                        reference.naive.as<float>(), reference.columns, nullptr, active.as<uint8_t>(), errors,
                        session_.stream);
    session_.stream.synchronize("comparing the output");
    if (session_.options.mode == POLAR_MODE_VERIFY) check_against_host(p, candidate_, *session_.references);
  }

 private:
  std::vector<uint8_t> active_rows(const PolarProblem& p) const {
    std::vector<uint8_t> active(static_cast<size_t>(shape_.rows), 0);
    const std::vector<int32_t> index = group_index(p, candidate_, 0);
    for (size_t i = 0; i < index.size(); ++i) {
      const int64_t batch = static_cast<int64_t>(i) / groups_;
      const int64_t first = batch * p.num_qo_heads + index[i] * group_size(p);
      std::fill_n(active.begin() + first, group_size(p), uint8_t{1});
    }
    return active;
  }

  const AttentionKernel& kernel_;
  bool selects_ = false;
  int64_t groups_ = 0;
  IndexSets index_;
};

class MlpExecutable : public CudaExecutable {
 public:
  MlpExecutable(SessionState& session, const PolarCandidate& candidate, const MlpKernel& kernel)
      : CudaExecutable(session, candidate, kernel.workspace_bytes(session.problem, candidate, session.device.info)),
        kernel_(kernel) {
    const PolarProblem& p = session.problem;
    selects_ = selects_neurons(p, candidate);
    neurons_ = selects_ ? candidate.active_neurons : p.intermediate_size;
    count_ = to_device(std::vector<int32_t>{static_cast<int32_t>(neurons_)});
    if (selects_) {
      index_ = upload_indices(session.inputs.copies(), neurons_, neurons_, p.intermediate_size,
                              [&](int64_t copy) { return neuron_index(p, candidate, copy); });
      if (p.scope == POLAR_SCOPE_MLP_DOWN) gather_hidden();
    }
    if (kernel.prepare != nullptr) kernel.prepare(p, candidate, session.device.info);
  }

 protected:
  void launch(int64_t copy) override {
    const Inputs& inputs = session_.inputs;
    const void* hidden =
        hidden_ ? hidden_.at(hidden_stride_ * static_cast<size_t>(copy)) : inputs.at(Tensor::kHidden, copy);
    const MlpArgs args{inputs.at(Tensor::kInput, copy),
                       inputs.at(Tensor::kUp, copy),
                       inputs.at(Tensor::kUpBias, copy),
                       inputs.at(Tensor::kDown, copy),
                       inputs.at(Tensor::kDownBias, copy),
                       hidden,
                       output(),
                       selects_ ? index_.at(copy) : nullptr,
                       count_.as<int32_t>(),
                       neurons_,
                       workspace_.as()};
    kernel_.launch(context(), args);
  }

  void compare(RowError* errors) override {
    const PolarProblem& p = session_.problem;
    const bool up_only = p.scope == POLAR_SCOPE_MLP_UP;
    const ReferencePair& reference =
        up_only ? session_.references->hidden() : session_.references->down(neuron_index(p, candidate_, 0));
    launch_compare_rows(p.dtype, output(), shape_.rows, shape_.columns, reference.exact.as<double>(),
                        reference.naive.as<float>(), reference.columns, up_only && selects_ ? index_.at(0) : nullptr,
                        nullptr, errors, session_.stream);
    session_.stream.synchronize("comparing the output");
    if (session_.options.mode == POLAR_MODE_VERIFY) check_against_host(p, candidate_, *session_.references);
  }

 private:
  // The compact input of the down projection: the dense hidden values at the active neurons of each copy.
  void gather_hidden() {
    const PolarProblem& p = session_.problem;
    hidden_stride_ = align_up(static_cast<size_t>(p.batch_size * neurons_) * 2);
    hidden_ = DeviceBuffer(hidden_stride_ * static_cast<size_t>(session_.inputs.copies()));
    for (int64_t copy = 0; copy < session_.inputs.copies(); ++copy) {
      gather_columns(hidden_.at(hidden_stride_ * static_cast<size_t>(copy)), session_.inputs.at(Tensor::kHidden, copy),
                     p.batch_size, p.intermediate_size, index_.at(copy), neurons_, session_.stream);
    }
  }

  const MlpKernel& kernel_;
  bool selects_ = false;
  int64_t neurons_ = 0;
  DeviceBuffer count_;
  IndexSets index_;
  DeviceBuffer hidden_;
  size_t hidden_stride_ = 0;
};

// "instrument/spin": busy for `active_neurons` nanoseconds plus uniform noise of up to `active_groups` nanoseconds.
// Computes nothing, so there is nothing to verify; it exists in the test build only.
class SpinExecutable : public CudaExecutable {
 public:
  SpinExecutable(SessionState& session, const PolarCandidate& candidate)
      : CudaExecutable(session, candidate, 0), counter_(sizeof(unsigned long long)) {
    CHECK_CUDA(cudaMemsetAsync(counter_.as(), 0, counter_.bytes(), session.stream));
  }

 protected:
  void launch(int64_t /*copy*/) override {
    launch_spin(candidate_.active_neurons, candidate_.active_groups, counter_.as<unsigned long long>(),
                session_.stream);
  }
  void compare(RowError* errors) override {
    CHECK_CUDA(cudaMemsetAsync(errors, 0, static_cast<size_t>(shape_.rows) * sizeof(RowError), session_.stream));
  }

 private:
  DeviceBuffer counter_;
};

}  // namespace

std::unique_ptr<Executable> make_executable(SessionState& session, const PolarCandidate& candidate) {
  const std::string id = candidate.kernel;
  if (kFaultBuild && id == "instrument/spin") return std::make_unique<SpinExecutable>(session, candidate);
  if (is_attention(session.problem)) {
    if (const AttentionKernel* kernel = find_attention_kernel(id)) {
      return std::make_unique<AttentionExecutable>(session, candidate, *kernel);
    }
  } else {
    static constexpr const char* kPrefixes[] = {"", "mlp/", "mlp-up/", "mlp-down/"};
    const MlpKernel* kernel = id.starts_with(kPrefixes[session.problem.scope]) ? find_mlp_kernel(id) : nullptr;
    if (kernel != nullptr) return std::make_unique<MlpExecutable>(session, candidate, *kernel);
  }
  throw NativeError("E_UNSUPPORTED", "Expected a kernel of the problem's scope, got " + id);
}

namespace {

// A kernel that refuses the problem needs no memory; its own make() says why, and the cell's others go on.
template <typename Kernel>
size_t workspace_need(const Kernel& kernel, const PolarProblem& p, const PolarCandidate& candidate,
                      const DeviceInfo& device) {
  try {
    return align_up(kernel.workspace_bytes(p, candidate, device));
  } catch (const NativeError&) {
    return 0;
  }
}

}  // namespace

size_t largest_output_bytes(const PolarProblem& p, const std::vector<PolarCandidate>& candidates) {
  size_t bytes = 0;
  for (const PolarCandidate& c : candidates) {
    const OutputShape shape = output_shape(p, c);
    bytes = std::max(bytes, align_up(static_cast<size_t>(shape.rows * shape.columns) * 2));
  }
  return bytes;
}

size_t executable_bytes(const PolarProblem& p, const PolarCandidate& candidate, const DeviceInfo& device,
                        int64_t copies) {
  const OutputShape shape = output_shape(p, candidate);
  size_t bytes = align_up(static_cast<size_t>(shape.rows) * sizeof(RowError));
  const std::string id = candidate.kernel;
  if (const AttentionKernel* kernel = find_attention_kernel(id)) {
    bytes += workspace_need(*kernel, p, candidate, device);
    if (selects_groups(p, candidate)) {
      bytes += static_cast<size_t>(copies) * align_up(static_cast<size_t>(p.batch_size * candidate.active_groups) * 4);
    }
  } else if (const MlpKernel* kernel = find_mlp_kernel(id)) {
    bytes += workspace_need(*kernel, p, candidate, device);
    if (selects_neurons(p, candidate)) {
      const size_t count = static_cast<size_t>(candidate.active_neurons);
      bytes += static_cast<size_t>(copies) * align_up(count * 4);
      if (p.scope == POLAR_SCOPE_MLP_DOWN) {
        bytes += static_cast<size_t>(copies) * align_up(static_cast<size_t>(p.batch_size) * count * 2);
      }
    }
  }
  return bytes;
}

}  // namespace polar::cuda
