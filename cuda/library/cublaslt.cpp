#include "cublaslt.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "../common/check.h"
#include "cublaslt_epilogue.h"

namespace polar::cuda::lt {
namespace {

constexpr int kRequested = 64;  // heuristic candidates per operand order and workspace limit
constexpr size_t kWorkspaceLimits[] = {0, size_t{4} << 20, kWorkspaceBytes};
constexpr int kFirstRuns = 4;  // runs per candidate in the first round
constexpr int kFinalists = 6, kFinalRuns = 24;

Handle handle() {
  static const Handle created = [] {
    Handle h = nullptr;
    CHECK_CUBLASLT(api().create(&h));
    return h;
  }();
  return created;
}

cudaDataType_t data_type(int32_t dtype) { return dtype == POLAR_BF16 ? CUDA_R_16BF : CUDA_R_16F; }

// The part of bias and activation that the library fuses. Its bias runs along the rows of a column-major result, which
// are our columns only where the weights come first; its GELU is the tanh approximation.
Epilogue fused_epilogue(const GemmKey& key, bool weights_first) {
  if (key.gated || (key.bias && !weights_first)) return Epilogue::kNone;
  if (key.activation == -1) return key.bias ? Epilogue::kBias : Epilogue::kNone;
  if (key.activation == POLAR_RELU) return key.bias ? Epilogue::kReluBias : Epilogue::kRelu;
  if (key.activation == POLAR_GELU_TANH) return key.bias ? Epilogue::kGeluBias : Epilogue::kGelu;
  return Epilogue::kNone;
}

bool needs_own_step(const GemmPlan& plan) { return plan.epilogue == Epilogue::kNone && has_epilogue(plan.key); }

MatrixLayout make_layout(cudaDataType_t type, int64_t rows, int64_t columns, int64_t ld, bool row_major) {
  MatrixLayout layout = nullptr;
  CHECK_CUBLASLT(api().layout_create(&layout, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), ld));
  const int32_t order = row_major ? 1 : 0;
  CHECK_CUBLASLT(api().layout_set(layout, kLayoutOrder, &order, sizeof order));
  return layout;
}

// Weights first: out^T = op(W) input^T in the library's column-major view. Otherwise out = input op(W), row-major.
GemmPlan describe(const GemmKey& key, bool weights_first, Epilogue epilogue) {
  GemmPlan plan;
  plan.key = key;
  plan.weights_first = weights_first;
  plan.epilogue = epilogue;
  CHECK_CUBLASLT(api().matmul_desc_create(&plan.desc, kCompute32F, CUDA_R_32F));
  const Op weights_op = key.transposed ? Op::kT : Op::kN, input_op = Op::kN;
  const int64_t n = key.columns, k = key.k, batch = key.batch_size;
  const cudaDataType_t type = data_type(key.dtype), product_type = needs_own_step(plan) ? CUDA_R_32F : type;
  if (weights_first) {
    CHECK_CUBLASLT(api().matmul_desc_set(plan.desc, kDescTransA, &weights_op, sizeof weights_op));
    CHECK_CUBLASLT(api().matmul_desc_set(plan.desc, kDescTransB, &input_op, sizeof input_op));
    plan.a = key.transposed ? make_layout(type, k, n, k, false) : make_layout(type, n, k, n, false);
    plan.b = make_layout(type, k, batch, k, false);
    plan.d = make_layout(product_type, n, batch, n, false);
  } else {
    CHECK_CUBLASLT(api().matmul_desc_set(plan.desc, kDescTransA, &input_op, sizeof input_op));
    CHECK_CUBLASLT(api().matmul_desc_set(plan.desc, kDescTransB, &weights_op, sizeof weights_op));
    plan.a = make_layout(type, batch, k, k, true);
    plan.b = key.transposed ? make_layout(type, n, k, k, true) : make_layout(type, k, n, n, true);
    plan.d = make_layout(product_type, batch, n, n, true);
  }
  CHECK_CUBLASLT(api().matmul_desc_set(plan.desc, kDescEpilogue, &epilogue, sizeof epilogue));
  if (key.bias && epilogue != Epilogue::kNone) {
    const int32_t bias_type = type;
    CHECK_CUBLASLT(api().matmul_desc_set(plan.desc, kDescBiasDataType, &bias_type, sizeof bias_type));
  }
  return plan;
}

// Appends the heuristic's candidates for one description; an order or epilogue that the library does not support
// gives none, which is an answer and no error.
void collect(const GemmPlan& plan, std::vector<GemmPlan>& candidates) {
  for (const size_t limit : kWorkspaceLimits) {
    Preference preference = nullptr;
    CHECK_CUBLASLT(api().preference_create(&preference));
    const uint64_t bytes = limit;
    // Partial sums rounded to 16 bits miss the tolerance now and then: 1.08 times of it in one case of some hundred.
    const uint32_t reductions = kReductionInComputeType;
    Status set = api().preference_set(preference, kPreferenceMaxWorkspaceBytes, &bytes, sizeof bytes);
    if (set == kSuccess) {
      set = api().preference_set(preference, kPreferenceReductionMask, &reductions, sizeof reductions);
    }
    HeuristicResult results[kRequested] = {};
    int returned = 0;
    const Status status = set != kSuccess ? set
                                          : api().heuristic(handle(), plan.desc, plan.a, plan.b, plan.d, plan.d,
                                                            preference, kRequested, results, &returned);
    api().preference_destroy(preference);
    if (status != kSuccess) continue;
    for (int i = 0; i < returned; ++i) {
      if (results[i].state != kSuccess || results[i].workspace_bytes > kWorkspaceBytes) continue;
      GemmPlan candidate = plan;
      candidate.algo = results[i].algo;
      candidate.workspace_bytes = results[i].workspace_bytes;
      const auto same = [&](const GemmPlan& other) {
        return other.desc == candidate.desc &&
               std::equal(std::begin(other.algo.data), std::end(other.algo.data), std::begin(candidate.algo.data));
      };
      if (std::none_of(candidates.begin(), candidates.end(), same)) candidates.push_back(candidate);
    }
  }
}

// Device memory for timing: enough copies of the weights that none is in the L2 cache when its turn comes.
class Scratch {
 public:
  Scratch(const GemmKey& key, const DeviceInfo& device) : key_(key) {
    const int64_t weights = key.columns * key.k * 2;
    weight_bytes_ = align_256(weights);
    copies_ = std::max<int64_t>(2, 5 * static_cast<int64_t>(device.l2_bytes) / weight_bytes_ + 1);
    size_t free_bytes = 0, total_bytes = 0;
    CHECK_CUDA(cudaMemGetInfo(&free_bytes, &total_bytes));
    input_bytes_ = align_256(key.batch_size * key.k * 2);
    out_bytes_ = align_256(key.batch_size * out_columns(key) * 2);
    bias_bytes_ = align_256(key.columns * 2);
    const int64_t rest =
        input_bytes_ + bias_bytes_ + out_bytes_ + product_bytes(key) + static_cast<int64_t>(kWorkspaceBytes);
    while (copies_ > 1 && copies_ * weight_bytes_ + rest > static_cast<int64_t>(free_bytes) * 9 / 10) copies_ /= 2;
    CHECK_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    const cudaError_t allocated = cudaMalloc(&base_, static_cast<size_t>(copies_ * weight_bytes_ + rest));
    if (allocated != cudaSuccess) {
      cudaStreamDestroy(stream_);
      throw_cuda(allocated, "cudaMalloc of the scratch for timing cuBLASLt");
    }
    fill_random(base_, copies_ * weight_bytes_ / 2, key.dtype, 0.05f, 1, stream_);
    fill_random(base_ + copies_ * weight_bytes_, (input_bytes_ + bias_bytes_) / 2, key.dtype, 1.0f, 2, stream_);
  }
  ~Scratch() {
    cudaFree(base_);
    cudaStreamDestroy(stream_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  cudaStream_t stream() const { return stream_; }
  GemmBuffers buffers(int64_t copy) const {
    char* rest = base_ + copies_ * weight_bytes_;
    char* out = rest + input_bytes_ + bias_bytes_;
    char* product = out + out_bytes_;
    return {base_ + copy % copies_ * weight_bytes_, rest, key_.bias ? rest + input_bytes_ : nullptr,
            reinterpret_cast<float*>(product),      out,  product + product_bytes(key_)};
  }

 private:
  GemmKey key_;
  char* base_ = nullptr;
  cudaStream_t stream_ = nullptr;
  int64_t weight_bytes_ = 0, input_bytes_ = 0, out_bytes_ = 0, bias_bytes_ = 0, copies_ = 0;
};

// Microseconds per run of `runs` runs in one graph; negative where the library refuses the candidate.
double time_candidate(const GemmPlan& plan, const Scratch& scratch, int runs) {
  try {  // once outside the capture: modules load lazily, and some proposed algorithms are rejected only at launch
    run_gemm(plan, scratch.buffers(0), scratch.stream());
  } catch (const NativeError& error) {
    if (error.sticky()) throw;
    return -1;
  }
  CHECK_CUDA(cudaStreamSynchronize(scratch.stream()));
  cudaGraph_t graph = nullptr;
  CHECK_CUDA(cudaStreamBeginCapture(scratch.stream(), cudaStreamCaptureModeThreadLocal));
  bool captured = true;
  try {
    for (int i = 0; i < runs; ++i) run_gemm(plan, scratch.buffers(i), scratch.stream());
  } catch (const NativeError& error) {
    if (error.sticky()) throw;
    captured = false;  // an algorithm that cannot be captured cannot be measured either
  }
  if (cudaStreamEndCapture(scratch.stream(), &graph) != cudaSuccess || !captured) {
    cudaGetLastError();
    if (graph != nullptr) cudaGraphDestroy(graph);
    return -1;
  }
  cudaGraphExec_t exec = nullptr;
  const cudaError_t instantiated = cudaGraphInstantiate(&exec, graph, 0);
  cudaGraphDestroy(graph);
  CHECK_CUDA(instantiated);
  cudaEvent_t start = nullptr, stop = nullptr;
  CHECK_CUDA(cudaEventCreate(&start));
  CHECK_CUDA(cudaEventCreate(&stop));
  CHECK_CUDA(cudaGraphLaunch(exec, scratch.stream()));
  CHECK_CUDA(cudaEventRecord(start, scratch.stream()));
  CHECK_CUDA(cudaGraphLaunch(exec, scratch.stream()));
  CHECK_CUDA(cudaEventRecord(stop, scratch.stream()));
  CHECK_CUDA(cudaEventSynchronize(stop));
  float ms = 0;
  CHECK_CUDA(cudaEventElapsedTime(&ms, start, stop));
  cudaEventDestroy(start);
  cudaEventDestroy(stop);
  cudaGraphExecDestroy(exec);
  return static_cast<double>(ms) * 1000.0 / runs;
}

GemmPlan choose(const GemmKey& key, const DeviceInfo& device) {
  std::vector<GemmPlan> candidates;
  for (const bool weights_first : {true, false}) {
    const Epilogue fused = fused_epilogue(key, weights_first);
    collect(describe(key, weights_first, fused), candidates);
    if (fused != Epilogue::kNone) collect(describe(key, weights_first, Epilogue::kNone), candidates);
  }
  if (candidates.empty()) throw NativeError("E_CUBLAS", "Expected a cuBLASLt algorithm for this shape, got none");
  const Scratch scratch(key, device);
  const int timed = static_cast<int>(candidates.size());
  const auto rank = [&](int runs) {
    for (GemmPlan& c : candidates) c.best_us = time_candidate(c, scratch, runs);
    std::erase_if(candidates, [](const GemmPlan& c) { return c.best_us < 0; });
    std::sort(candidates.begin(), candidates.end(),
              [](const GemmPlan& a, const GemmPlan& b) { return a.best_us < b.best_us; });
    if (candidates.empty()) throw NativeError("E_CUBLAS", "Expected a cuBLASLt algorithm that runs, got none");
  };
  rank(kFirstRuns);
  if (candidates.size() > kFinalists) candidates.resize(kFinalists);
  rank(kFinalRuns);
  GemmPlan best = candidates.front();
  best.candidates = timed;
  return best;
}

}  // namespace

const GemmPlan& plan_gemm(const GemmKey& key, const DeviceInfo& device) {
  static std::mutex mutex;
  static std::map<GemmKey, GemmPlan> plans;
  const std::lock_guard<std::mutex> lock(mutex);
  auto found = plans.find(key);
  if (found == plans.end()) found = plans.emplace(key, choose(key, device)).first;
  return found->second;
}

void run_gemm(const GemmPlan& plan, const GemmBuffers& buffers, cudaStream_t stream) {
  if (plan.key.bias && plan.epilogue != Epilogue::kNone) {
    CHECK_CUBLASLT(api().matmul_desc_set(plan.desc, kDescBiasPointer, &buffers.bias, sizeof buffers.bias));
  }
  const float one = 1.0f, zero = 0.0f;
  const void* a = plan.weights_first ? buffers.weights : buffers.input;
  const void* b = plan.weights_first ? buffers.input : buffers.weights;
  const bool own_step = needs_own_step(plan);
  void* d = own_step ? buffers.product : buffers.out;
  CHECK_CUBLASLT(api().matmul(handle(), plan.desc, &one, a, plan.a, b, plan.b, &zero, d, plan.d, d, plan.d, &plan.algo,
                              buffers.workspace, plan.workspace_bytes, stream));
  if (!own_step) return;
  launch_epilogue({buffers.product, buffers.bias, buffers.out, plan.key.batch_size, plan.key.columns, plan.key.dtype,
                   plan.key.activation, plan.key.gated},
                  stream);
}

}  // namespace polar::cuda::lt
