#include "session.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <string>

#include "../common/error.h"
#include "../common/faults.h"
#include "../common/problem.h"
#include "machine.h"
#include "spin.h"

namespace polar::cpu {
namespace {

using Clock = std::chrono::steady_clock;

const Kernel& find_kernel(const std::string& id) {
  for (const Kernel& kernel : kernel_registry()) {
    if (id == kernel.id) return kernel;
  }
  throw NativeError("E_UNSUPPORTED", "Expected a kernel of the CPU backend, got " + id);
}

int64_t active_count(const PolarProblem& p, const PolarCandidate& c) {
  if (is_attention(p)) return selects_groups(p, c) ? c.active_groups : p.num_kv_heads;
  return selects_neurons(p, c) ? c.active_neurons : p.intermediate_size;
}

bool is_spin(const PolarCandidate& c) { return std::strcmp(c.kernel, kSpinKernel) == 0; }

// Tensors of which every rotation copy has its own.
std::vector<TensorSpec> rotating_tensors(const PolarProblem& p) {
  std::vector<TensorSpec> specs;
  for (Tensor t : {Tensor::kKey, Tensor::kValue, Tensor::kUp, Tensor::kDown}) {
    const TensorSpec spec = tensor_spec(p, t);
    if (spec.elements > 0) specs.push_back(spec);
  }
  return specs;
}

// Small tensors that the previous layer has just written: one copy, warm, as in a real decode step.
std::vector<TensorSpec> resident_tensors(const PolarProblem& p) {
  std::vector<TensorSpec> specs;
  for (Tensor t : {Tensor::kQuery, Tensor::kInput, Tensor::kUpBias, Tensor::kDownBias, Tensor::kHidden}) {
    const TensorSpec spec = tensor_spec(p, t);
    if (spec.elements > 0) specs.push_back(spec);
  }
  return specs;
}

double sum_bytes(const std::vector<TensorSpec>& specs) {
  double bytes = 0;
  for (const TensorSpec& s : specs) bytes += s.bytes();
  return bytes;
}

size_t output_bytes(const PolarProblem& p, const PolarCandidate& c) {
  const OutputShape shape = output_shape(p, c);
  return static_cast<size_t>(shape.rows * shape.columns) * sizeof(uint16_t);
}

double reserve_bytes() { return std::max(kReservedBytes, total_memory_bytes() / 20); }

// Everything that executables share.
struct Shared {
  PolarProblem p;
  Isa isa;
  ThreadPool& pool;
  const Reporter* reporter = nullptr;
  int64_t copies = 1;
  int64_t next_copy = 0;  // all candidates walk through the same copies, so none finds what another has just read
  std::vector<const uint16_t*> k{}, v{}, w1{}, w2{};  // per copy
  ReferenceInputs first{};
  std::unique_ptr<Reference> reference{};
};

class CpuExecutable final : public Executable {
 public:
  CpuExecutable(Shared& shared, const PolarCandidate& candidate)
      : shared_(shared), kernel_(find_kernel(candidate.kernel)), active_(active_count(shared.p, candidate)) {
    const PolarProblem& p = shared.p;
    skip_tile_ = fault_active("skip-tile", kernel_.id);
    workspace_ = Buffer(kernel_.workspace_bytes(p, active_, shared.pool.size()));
    out_ = Buffer(output_bytes(p, candidate));
    for (int64_t c = 0; c < shared.copies; ++c) {
      index_.push_back(is_attention(p) ? group_index(p, candidate, c) : neuron_index(p, candidate, c));
      if (p.scope == POLAR_SCOPE_MLP_DOWN && selects_neurons(p, candidate)) hidden_.push_back(compact_hidden(c));
    }
    dense_ = is_attention(p) || !selects_neurons(p, candidate);
  }

  PolarVerification verify(int64_t rows, int32_t repeats) override {
    poisoned_run();
    std::vector<std::byte> first(out_.data(), out_.data() + out_.size());
    bool equal = true;
    for (int32_t i = 1; i < repeats; ++i) {
      shared_.reporter->alive("verify", static_cast<double>(i) / repeats);
      poisoned_run();
      equal = equal && std::memcmp(first.data(), out_.data(), first.size()) == 0;
    }
    Verdict verdict(shared_.p.dtype);
    const auto* out = reinterpret_cast<const uint16_t*>(first.data());
    if (is_attention(shared_.p)) {
      shared_.reference->attention(out, index_[0], active_, rows, *shared_.reporter, verdict);
    } else {
      shared_.reference->mlp(out, index_[0], rows, *shared_.reporter, verdict);
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
  // The hidden activations of the active neurons side by side, as a selective up projection would have left them.
  std::vector<uint16_t> compact_hidden(int64_t copy) const {
    const std::vector<int32_t>& neurons = index_[static_cast<size_t>(copy)];
    std::vector<uint16_t> compact;
    compact.reserve(static_cast<size_t>(shared_.p.batch_size) * neurons.size());
    for (int64_t m = 0; m < shared_.p.batch_size; ++m) {
      for (int32_t n : neurons) compact.push_back(shared_.first.hidden[m * shared_.p.intermediate_size + n]);
    }
    return compact;
  }

  void poisoned_run() {
    // All ones is a NaN in bf16, fp16 and float32.
    if (out_.size() > 0) std::memset(out_.data(), 0xff, out_.size());
    if (workspace_.size() > 0) std::memset(workspace_.data(), 0xff, workspace_.size());
    run(0);
  }

  void run(int64_t copy) {
    const auto c = static_cast<size_t>(copy);
    const ReferenceInputs& in = shared_.first;
    const Launch launch{shared_.p, inner(shared_.isa, shared_.p.dtype), shared_.pool, workspace_.data(), skip_tile_};
    if (kernel_.attention != nullptr) {
      kernel_.attention(launch, {in.q, shared_.k[c], shared_.v[c], out_.half(), index_[c].data(), active_});
      return;
    }
    MlpArgs args{};
    args.x = in.x;
    args.w1 = shared_.w1.empty() ? nullptr : shared_.w1[c];
    args.b1 = in.b1;
    args.w2 = shared_.w2.empty() ? nullptr : shared_.w2[c];
    args.b2 = in.b2;
    args.hidden_in = hidden_.empty() ? in.hidden : hidden_[c].data();
    args.out = out_.half();
    args.neuron_index = dense_ ? nullptr : index_[c].data();
    args.active_neurons = active_;
    kernel_.mlp(launch, args);
  }

  Shared& shared_;
  const Kernel& kernel_;
  int64_t active_;
  bool dense_ = false;
  bool skip_tile_ = false;
  int64_t runs_ = 1;
  Buffer workspace_;
  Buffer out_;
  std::vector<std::vector<int32_t>> index_;    // per copy
  std::vector<std::vector<uint16_t>> hidden_;  // per copy, sparse mlp-down only
};

class CpuSession final : public Session {
 public:
  CpuSession(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates, const PolarOptions& options,
             Isa isa, ThreadPool& pool, InputStore& store)
      : shared_{problem, isa, pool}, candidates_(candidates), cold_(options.cold_cache != 0), store_(store) {
    needs_inputs_ = std::any_of(candidates.begin(), candidates.end(), [](const auto& c) { return !is_spin(c); });
  }

  MemoryNeed memory() const override {
    MemoryNeed need;
    if (needs_inputs_) {
      need.required_bytes =
          sum_bytes(rotating_tensors(shared_.p)) + sum_bytes(resident_tensors(shared_.p)) + own_bytes();
    }
    // What the store holds is either reused or given back.
    const double free = available_memory_bytes() + idle_buffer_bytes() + store_.held_bytes() - reserve_bytes();
    need.available_bytes = std::isnan(free) ? INFINITY : std::max(0.0, free);
    return need;
  }

  void prepare(const Reporter& reporter) override {
    shared_.reporter = &reporter;
    if (!needs_inputs_) return;
    const auto rotating = rotating_tensors(shared_.p);
    const auto resident = resident_tensors(shared_.p);
    plan(rotating, reporter);
    make_room(rotating, resident);
    const auto get = [&](Tensor tensor, int64_t copies) {
      const TensorSpec spec = tensor_spec(shared_.p, tensor);
      return spec.elements > 0 ? store_.get(spec, copies, shared_.isa, shared_.pool, reporter)
                               : std::vector<const uint16_t*>{};
    };
    const auto one = [&](Tensor tensor) {
      const auto pointers = get(tensor, 1);
      return pointers.empty() ? nullptr : pointers[0];
    };
    const auto front = [](const std::vector<const uint16_t*>& list) { return list.empty() ? nullptr : list[0]; };
    shared_.k = get(Tensor::kKey, shared_.copies);
    shared_.v = get(Tensor::kValue, shared_.copies);
    shared_.w1 = get(Tensor::kUp, shared_.copies);
    shared_.w2 = get(Tensor::kDown, shared_.copies);
    shared_.first = {one(Tensor::kQuery), front(shared_.k),       front(shared_.v),
                     one(Tensor::kInput), front(shared_.w1),      one(Tensor::kUpBias),
                     front(shared_.w2),   one(Tensor::kDownBias), one(Tensor::kHidden)};
    shared_.reference = std::make_unique<Reference>(shared_.p, shared_.first, shared_.pool);
  }

  std::unique_ptr<Executable> make(const PolarCandidate& candidate) override {
    if (is_spin(candidate)) return make_spin(shared_.p.seed, candidate.active_neurons, ++spins_);
    return std::make_unique<CpuExecutable>(shared_, candidate);
  }

  int64_t rotation_copies() const override { return shared_.copies; }
  double rotation_bytes() const override { return rotation_bytes_; }

 private:
  // Outputs and workspaces of all candidates: they are alive together.
  double own_bytes() const {
    double bytes = 0;
    for (const PolarCandidate& c : candidates_) {
      if (is_spin(c)) continue;
      const Kernel& kernel = find_kernel(c.kernel);
      bytes += static_cast<double>(kernel.workspace_bytes(shared_.p, active_count(shared_.p, c), shared_.pool.size()));
      bytes += 2.0 * static_cast<double>(output_bytes(shared_.p, c));
    }
    return bytes;
  }

  void plan(const std::vector<TensorSpec>& rotating, const Reporter& reporter) {
    const double copy = sum_bytes(rotating);
    double least = copy;
    for (const PolarCandidate& c : candidates_) {
      if (!is_spin(c)) least = std::min(least, touched_bytes(shared_.p, c));
    }
    if (cold_) {
      const double cache = last_level_cache_bytes();
      const double free = memory().available_bytes - own_bytes() - sum_bytes(resident_tensors(shared_.p));
      shared_.copies = plan_copies(copy, least, cache, free);
      const double distinct = least * static_cast<double>(shared_.copies);
      if (distinct < kRotationCaches * cache) {
        reporter.warn(-1, "Free memory allows " + std::to_string(shared_.copies) + " rotation copies; the sparsest " +
                              "candidate touches " + std::to_string(static_cast<int64_t>(distinct / 1e6)) +
                              " MB of them, less than 5x the last-level cache of " +
                              std::to_string(static_cast<int64_t>(cache / 1e6)) + " MB");
      }
    }
    rotation_bytes_ = least * static_cast<double>(shared_.copies);
  }

  // Keeps what other cells left behind only while there is room for it.
  void make_room(const std::vector<TensorSpec>& rotating, const std::vector<TensorSpec>& resident) {
    double missing = own_bytes();
    for (const TensorSpec& s : rotating) {
      missing += std::max(0.0, s.bytes() * static_cast<double>(shared_.copies) - store_.held_bytes(s));
    }
    for (const TensorSpec& s : resident) missing += std::max(0.0, s.bytes() - store_.held_bytes(s));
    const double free = available_memory_bytes() + idle_buffer_bytes() - reserve_bytes();
    if (std::isnan(free) || missing <= kRotationShare * free) return;
    std::vector<TensorSpec> keep = rotating;
    keep.insert(keep.end(), resident.begin(), resident.end());
    store_.release(keep);
  }

  Shared shared_;
  std::vector<PolarCandidate> candidates_;
  bool cold_;
  InputStore& store_;
  bool needs_inputs_ = false;
  double rotation_bytes_ = 0;
  int64_t spins_ = 0;
};

}  // namespace

double touched_bytes(const PolarProblem& p, const PolarCandidate& candidate) {
  const auto active = static_cast<double>(active_count(p, candidate));
  if (is_attention(p)) return 4.0 * active * static_cast<double>(p.batch_size * p.kv_len * p.head_dim);
  const double rows = (has_up(p) ? static_cast<double>(up_rows(p)) : 0.0) + (has_down(p) ? 1.0 : 0.0);
  return 2.0 * active * rows * static_cast<double>(p.hidden_size);
}

int64_t plan_copies(double copy_bytes, double least_touched, double cache_bytes, double free_bytes) {
  const double wanted = std::ceil(kRotationCaches * cache_bytes / least_touched);
  const double allowed = std::floor(kRotationShare * free_bytes / copy_bytes);
  return static_cast<int64_t>(std::max(1.0, std::min(wanted, allowed)));
}

std::unique_ptr<Session> open_session(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates,
                                      const PolarOptions& options, Isa isa, ThreadPool& pool, InputStore& store) {
  return std::make_unique<CpuSession>(problem, candidates, options, isa, pool, store);
}

}  // namespace polar::cpu
