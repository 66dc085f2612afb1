// Stand-alone check and timing of the CUDA MLP kernels, for work on them: needs a GPU, no addon.
//
//   cuda_mlp edges [quick|sanitize]  every edge shape, configuration and dtype against a float64 reference; ten
//                                    bitwise-equal repeats of what is chosen, three of the rest; poisoned outputs,
//                                    workspaces, shared memory and padding. Exit 1 on a failure.
//   cuda_mlp time [all]              one table of times per shape (all: and configuration), cold cache, in a graph
//   cuda_mlp whole                   up and down together, and cuBLASLt
//
// Build (-gencode arch=compute_90a,code=sm_90a): every source of cuda/kernels but attention_*, cuda/library,
// cuda/common/check.cpp, cuda/device/{clusters.cu,tensor_map.cpp}, src/native/common/{problem,faults}.cpp and this
// file.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "../../cuda/common/check.h"
#include "../../cuda/device/clusters.h"
#include "../../cuda/device/half.cuh"
#include "../../cuda/kernels/mlp_gemm.h"
#include "../../cuda/kernels/reference.h"
#include "../../cuda/kernels/registry.h"
#include "../../src/native/common/half.h"
#include "../../src/native/common/problem.h"
#include "../../src/native/common/tolerance.h"
#include "cuda_timing.h"

using namespace polar;
using namespace polar::cuda;
using namespace polar::cuda::mlp;

namespace {

// Rows of `row` elements; from element `valid` of a row on: NaN.
__global__ void fill(uint16_t* out, int64_t count, int64_t row, int64_t valid, uint64_t key, float scale, int dtype) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) {
    out[i] = i % row < valid ? float_to_half_bits(random_value(key, i / row * valid + i % row, scale), dtype)
                             : static_cast<uint16_t>(kHalfNaN);
  }
}

// Leaves NaN in the whole shared memory of every SM.
__global__ void poison_shared(int words) {
  extern __shared__ volatile uint32_t memory[];
  for (int i = threadIdx.x; i < words; i += blockDim.x) memory[i] = 0xffffffffu;
}

template <typename T>
struct Buffer {
  T* data = nullptr;
  int64_t count;
  explicit Buffer(int64_t n) : count(std::max<int64_t>(n, 1)) { CHECK_CUDA(cudaMalloc(&data, count * sizeof(T))); }
  ~Buffer() { cudaFree(data); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  void put(const std::vector<T>& h, int64_t at = 0) {
    CHECK_CUDA(cudaMemcpy(data + at, h.data(), h.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  std::vector<T> host() const {
    std::vector<T> h(count);
    CHECK_CUDA(cudaMemcpy(h.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost));
    return h;
  }
};

DeviceInfo device_with_clusters() {
  DeviceInfo info = device_info();
  cudaDeviceProp p{};
  CHECK_CUDA(cudaGetDeviceProperties(&p, 0));
  count_clusters(info);
  std::printf("%s: %d SMs, clusters of 2 to %d:", p.name, info.sm_count, kMostClusterBlocks);
  for (int n = 2; n <= kMostClusterBlocks; ++n) std::printf(" %d", info.clusters[n]);
  std::printf("\n");
  return info;
}

PolarProblem problem_of(PolarScope scope, int64_t batch, int64_t d, int64_t neurons, bool gated, int activation,
                        bool bias, int dtype) {
  PolarProblem p{};
  p.scope = scope;
  p.dtype = dtype;
  p.batch_size = batch;
  p.hidden_size = d;
  p.intermediate_size = neurons;
  p.activation = activation;
  p.gated = gated ? 1 : 0;
  p.mlp_bias = bias ? 1 : 0;
  p.seed = 7;
  return p;
}

std::vector<int32_t> index_of(const PolarProblem& p, int64_t active, int64_t copy) {
  PolarCandidate candidate{};
  candidate.kernel = p.scope == POLAR_SCOPE_MLP_DOWN ? "mlp-down/selective" : "mlp-up/selective";
  candidate.active_neurons = active;
  candidate.index_pattern = POLAR_INDEX_RANDOM;
  return neuron_index(p, candidate, copy);
}

void fill_tensor(Buffer<uint16_t>& b, const PolarProblem& p, Tensor t, int64_t copy = 0, int64_t row = 0,
                 int64_t valid = 0) {
  if (row == 0) row = valid = std::max<int64_t>(b.count, 1);
  fill<<<2048, 256>>>(b.data, b.count, row, valid, stream_key(p.seed, t, copy), tensor_scale(p, t), p.dtype);
  CHECK_LAUNCH("fill");
}

// ---- edges --------------------------------------------------------------------------------------------------------

int failures = 0, checks = 0;
double worst_share = 0;

struct Tested {
  std::string name;
  GemmConfig config;
};

std::vector<Tested> configurations(const GemmShape& shape, const GemmDevice& device) {
  std::vector<Tested> all = {{"chosen", choose_gemm_config(shape, device)}};
  all.push_back({"stream", choose_stream_config(shape, device)});
  if (device.compute_major != 9 || shape.hidden_size % kLineElements != 0) return all;
  const int most = kSplitGroups * split_blocks(split_batch_tile(shape.batch_size));
  for (int split = 1; split <= kMaxSplit; ++split) {
    for (int blocks = shape.op == GemmOp::kUp ? 2 : 1; blocks <= most; blocks += shape.op == GemmOp::kUp ? 2 : 1) {
      if (device.clusters[split] == 0) continue;
      const GemmConfig c = make_split_config(shape, device, split, blocks);
      if (c.weight_slots > 0) all.push_back({"split " + std::to_string(split) + " x " + std::to_string(blocks), c});
    }
  }
  return all;
}

void judge(const std::string& label, const PolarProblem& p, const std::vector<RowError>& rows) {
  Verdict verdict(p.dtype);
  for (size_t i = 0; i < rows.size(); ++i) verdict.add(static_cast<int64_t>(i), rows[i]);
  const PolarVerification v = verdict.result(true);
  ++checks;
  worst_share = std::max(worst_share, v.tolerance_used);
  if (!v.passed && ++failures <= 40) std::printf("FAIL %s: share of tolerance %g\n", label.c_str(), v.tolerance_used);
}

// Runs `launch` `repeats` times on poisoned memory; compares the first with the reference and the rest with the first.
void check_runs(const std::string& label, const PolarProblem& p, Buffer<uint16_t>& out, int64_t columns,
                const Buffer<double>& exact, const Buffer<float>& naive, int64_t reference_columns,
                const int32_t* column_index, int repeats, const std::function<void()>& launch,
                const DeviceInfo& device) {
  const int shared = static_cast<int>(device.shared_bytes_per_block_optin);
  CHECK_CUDA(cudaFuncSetAttribute(poison_shared, cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
  Buffer<RowError> errors(p.batch_size);
  std::vector<uint16_t> first;
  for (int i = 0; i < repeats; ++i) {
    CHECK_CUDA(cudaMemset(out.data, 0xff, out.count * 2));
    if (i < 2) poison_shared<<<device.sm_count, 1024, shared>>>(shared / 4);
    launch();
    const cudaError_t error = cudaDeviceSynchronize();
    if (error != cudaSuccess) {
      std::printf("FAIL %s: %s\n", label.c_str(), cudaGetErrorString(error));
      throw NativeError("E_CUDA", label);
    }
    std::vector<uint16_t> now = out.host();
    if (i == 0) {
      launch_compare_rows(p.dtype, out.data, p.batch_size, columns, exact.data, naive.data, reference_columns,
                          column_index, nullptr, errors.data, nullptr);
      first = std::move(now);
      judge(label, p, errors.host());
    } else if (first != now) {
      ++failures;
      std::printf("FAIL %s: repeat %d differs\n", label.c_str(), i);
      return;
    }
  }
}

std::string label_of(const PolarProblem& p, int64_t active, const std::string& name) {
  return std::string(p.scope == POLAR_SCOPE_MLP_UP     ? "up "
                     : p.scope == POLAR_SCOPE_MLP_DOWN ? "down "
                                                       : "mlp ") +
         name + (p.dtype == POLAR_BF16 ? " bf16" : " fp16") + " B" + std::to_string(p.batch_size) + " d" +
         std::to_string(p.hidden_size) + " D" + std::to_string(p.intermediate_size) + " active " +
         std::to_string(active) + (p.gated ? " gated" : "");
}

// A GEMM call on buffers of the caller's; `copy` 0 of everything.
GemmCall call_of(const PolarProblem& p, int64_t active, const uint16_t* weights, const uint16_t* input, uint16_t* out,
                 const uint16_t* bias, const int32_t* index, char* workspace, const GemmConfig& config) {
  const bool up = p.scope == POLAR_SCOPE_MLP_UP;
  GemmCall call{};
  call.shape = {up ? GemmOp::kUp : GemmOp::kDown, p.batch_size, p.hidden_size, active, up && p.gated != 0};
  call.dtype = p.dtype;
  call.weights = weights;
  call.weight_rows = p.intermediate_size * (up ? up_rows(p) : 1);
  call.index = index;
  call.input = input;
  call.input_stride = up ? p.hidden_size : (active + 7) / 8 * 8;
  call.out = out;
  call.out_stride = up ? active : p.hidden_size;
  call.bias = p.mlp_bias ? bias : nullptr;
  call.bias_index = up ? index : nullptr;
  call.activation = p.activation;
  call.tickets = reinterpret_cast<unsigned*>(workspace);
  call.partial = reinterpret_cast<float*>(workspace + (tickets_bytes(call.shape, config) + 255) / 256 * 256);
  return call;
}

int64_t workspace_of(const GemmShape& shape, const GemmConfig& c) {
  return (tickets_bytes(shape, c) + 255) / 256 * 256 + partial_bytes(shape, c);
}

void check_gemm(const PolarProblem& p, const std::vector<int64_t>& counts, const DeviceInfo& device, int repeats) {
  const bool up = p.scope == POLAR_SCOPE_MLP_UP;
  const int64_t b = p.batch_size, d = p.hidden_size, n = p.intermediate_size;
  Buffer<uint16_t> weights(n * d * (up ? up_rows(p) : 1)), bias(up ? n : d);
  fill_tensor(weights, p, up ? Tensor::kUp : Tensor::kDown);
  fill_tensor(bias, p, up ? Tensor::kUpBias : Tensor::kDownBias);
  const uint16_t* used_bias = p.mlp_bias ? bias.data : nullptr;
  Buffer<double> exact(b * (up ? n : d)), hidden_exact(up ? 1 : b * n);
  Buffer<float> naive(b * (up ? n : d)), hidden_naive(up ? 1 : b * n);
  for (const int64_t active : counts) {
    const int64_t stride = up ? d : (active + 7) / 8 * 8;
    Buffer<uint16_t> input(b * stride), out(b * (up ? active : d));
    Buffer<int32_t> index(active);
    index.put(index_of(p, active, 0));
    fill_tensor(input, p, up ? Tensor::kInput : Tensor::kHidden, 0, stride, up ? d : active);
    if (up) {
      launch_reference_mlp_up(p, input.data, weights.data, used_bias, exact.data, naive.data, nullptr);
    } else {  // the reference reads hidden values at the neurons' own columns
      const std::vector<uint16_t> values = input.host();
      const std::vector<int32_t> set = index.host();
      std::vector<double> wide(b * n, 0.0);
      std::vector<float> narrow(b * n, 0.0f);
      for (int64_t s = 0; s < b; ++s) {
        for (int64_t i = 0; i < active; ++i) {
          const float value = half_to_float(values[s * stride + i], p.dtype);
          wide[s * n + set[i]] = value, narrow[s * n + set[i]] = value;
        }
      }
      hidden_exact.put(wide);
      hidden_naive.put(narrow);
      launch_reference_mlp_down(p, hidden_exact.data, hidden_naive.data, weights.data, used_bias, index.data, active,
                                exact.data, naive.data, nullptr);
    }
    const GemmShape shape{up ? GemmOp::kUp : GemmOp::kDown, b, d, active, up && p.gated != 0};
    for (const Tested& tested : configurations(shape, gemm_device(device))) {
      const bool chosen = tested.name == "chosen";
      prepare_gemm(shape, tested.config, p.dtype);
      Buffer<char> workspace(workspace_of(shape, tested.config));
      CHECK_CUDA(cudaMemset(workspace.data, 0xff, workspace.count));
      CHECK_CUDA(cudaMemset(workspace.data, 0, tickets_bytes(shape, tested.config)));
      const int32_t* set = active == n ? nullptr : index.data;  // all neurons: as the dense kernels call it
      const GemmCall call =
          call_of(p, active, weights.data, input.data, out.data, bias.data, set, workspace.data, tested.config);
      check_runs(
          label_of(p, active, tested.name), p, out, up ? active : d, exact, naive, up ? n : d,
          up ? index.data : nullptr, chosen ? repeats : std::min(repeats, 3),
          [&] { launch_gemm(call, tested.config, nullptr); }, device);
    }
  }
}

// The whole MLP through the registry: up and down in sequence, the second launched early.
void check_mlp(const PolarProblem& p, int64_t active, const DeviceInfo& device, int repeats) {
  const int64_t b = p.batch_size, d = p.hidden_size, n = p.intermediate_size;
  Buffer<uint16_t> x(b * d), w1(n * d * up_rows(p)), b1(n), w2(n * d), b2(d), out(b * d);
  fill_tensor(x, p, Tensor::kInput), fill_tensor(w1, p, Tensor::kUp), fill_tensor(b1, p, Tensor::kUpBias);
  fill_tensor(w2, p, Tensor::kDown), fill_tensor(b2, p, Tensor::kDownBias);
  Buffer<double> hidden_exact(b * n), exact(b * d);
  Buffer<float> hidden_naive(b * n), naive(b * d);
  Buffer<int32_t> index(active);
  PolarCandidate candidate{};
  candidate.kernel = kMlpSelective.id;
  candidate.active_neurons = active;
  index.put(neuron_index(p, candidate, 0));
  const uint16_t *bias1 = p.mlp_bias ? b1.data : nullptr, *bias2 = p.mlp_bias ? b2.data : nullptr;
  launch_reference_mlp_up(p, x.data, w1.data, bias1, hidden_exact.data, hidden_naive.data, nullptr);
  launch_reference_mlp_down(p, hidden_exact.data, hidden_naive.data, w2.data, bias2, index.data, active, exact.data,
                            naive.data, nullptr);
  kMlpSelective.prepare(p, candidate, device);
  Buffer<char> workspace(static_cast<int64_t>(kMlpSelective.workspace_bytes(p, candidate, device)));
  CHECK_CUDA(cudaMemset(workspace.data, 0, workspace.count));
  const MlpArgs args{x.data,   w1.data,    bias1,   w2.data, bias2,         nullptr,
                     out.data, index.data, nullptr, active,  workspace.data};
  check_runs(
      label_of(p, active, "selective"), p, out, d, exact, naive, d, nullptr, repeats,
      [&] { kMlpSelective.launch({p, device, nullptr}, args); }, device);
}

int run_edges(const DeviceInfo& device, const std::string& extent) {
  const bool quick = extent == "quick", sanitize = extent == "sanitize";
  const std::vector<int64_t> batches = quick      ? std::vector<int64_t>{1, 33, 130}
                                       : sanitize ? std::vector<int64_t>{33}
                                                  : std::vector<int64_t>{1, 9, 16, 33, 64, 100, 129, 300, 512};
  using Shapes = std::vector<std::pair<int64_t, int64_t>>;
  const Shapes shapes = sanitize ? Shapes{{576, 200}} : Shapes{{576, 1600}, {64, 200}, {1152, 4608}, {72, 100}};
  const int repeats = sanitize ? 1 : quick ? 2 : 10;
  for (const int dtype : {POLAR_FP16, POLAR_BF16}) {
    for (const int64_t b : batches) {
      for (const auto& [d, n] : shapes) {
        const std::vector<int64_t> counts = sanitize ? std::vector<int64_t>{67} : std::vector<int64_t>{1, n / 3 | 1, n};
        for (const bool gated : {false, true}) {
          check_gemm(problem_of(POLAR_SCOPE_MLP_UP, b, d, n, gated, static_cast<int>(b % 4), !gated, dtype), counts,
                     device, repeats);
        }
        check_gemm(problem_of(POLAR_SCOPE_MLP_DOWN, b, d, n, false, 0, b % 2 == 0, dtype), counts, device, repeats);
        check_mlp(problem_of(POLAR_SCOPE_MLP, b, d, n, b % 2 == 1, POLAR_SILU, true, dtype), n / 3 | 1, device,
                  repeats);
      }
      std::printf("B%ld: %d checks, %d failures\n", static_cast<long>(b), checks, failures);
      std::fflush(stdout);
    }
    if (sanitize) break;
    for (const PolarScope scope : {POLAR_SCOPE_MLP_UP, POLAR_SCOPE_MLP_DOWN}) {
      if (!quick) check_gemm(problem_of(scope, 64, 9216, 36864, false, POLAR_RELU, true, dtype), {3686}, device, 10);
    }
  }
  std::printf("edges: %d checks, %d failures, largest share of tolerance %.3f\n", checks, failures, worst_share);
  return failures == 0 ? 0 : 1;
}

// ---- timing -------------------------------------------------------------------------------------------------------

// Weights of one projection, several copies, and everything else that a timed GEMM needs.
struct Bench {
  PolarProblem p;
  int64_t copies, per_copy;
  Buffer<uint16_t> weights, input, out, bias;
  const DeviceInfo& device;
  Bench(const PolarProblem& problem, int64_t batch_most, int64_t rotation, const DeviceInfo& info)
      : p(problem),
        copies(rotation),
        per_copy(problem.intermediate_size * problem.hidden_size *
                 (problem.scope == POLAR_SCOPE_MLP_UP ? up_rows(problem) : 1)),
        weights(copies * per_copy),
        input(batch_most * std::max(problem.hidden_size, problem.intermediate_size)),
        out(batch_most * std::max(problem.hidden_size, problem.intermediate_size)),
        bias(std::max(problem.hidden_size, problem.intermediate_size)),
        device(info) {
    fill_tensor(weights, p, Tensor::kUp);
    fill_tensor(input, p, Tensor::kInput);
    fill_tensor(bias, p, Tensor::kUpBias);
  }

  // Time with the indices of `active` neurons; all neurons: without an index.
  double time(int64_t batch, int64_t active, const GemmConfig& config) {
    p.batch_size = batch;
    const bool all = active == p.intermediate_size;
    Buffer<int32_t> index(copies * active);
    for (int64_t c = 0; c < copies; ++c) index.put(index_of(p, active, c), c * active);
    const bool up = p.scope == POLAR_SCOPE_MLP_UP;
    const GemmShape shape{up ? GemmOp::kUp : GemmOp::kDown, batch, p.hidden_size, active, up && p.gated != 0};
    prepare_gemm(shape, config, p.dtype);
    Buffer<char> workspace(workspace_of(shape, config));
    CHECK_CUDA(cudaMemset(workspace.data, 0, workspace.count));
    const auto run = [&](int64_t i, cudaStream_t stream) {
      const int64_t c = i % copies;
      launch_gemm(call_of(p, active, weights.data + c * per_copy, input.data, out.data, bias.data,
                          all ? nullptr : index.data + c * active, workspace.data, config),
                  config, stream);
    };
    return time_graph(2 * copies, run).median;
  }
};

void report(const char* what, int64_t batch, int64_t active, double us, double bytes, const std::string& name) {
  std::printf("%-10s M=%-3ld active=%-6ld %8.2f us %6.0f GB/s  %s\n", what, static_cast<long>(batch),
              static_cast<long>(active), us, bytes / us * 1e-3, name.c_str());
  std::fflush(stdout);
}

std::string describe(const GemmConfig& c) {
  char text[160];
  std::snprintf(text, sizeof text, "path %d split %d blocks %d tiles %d workers %d slots %d+%d %s",
                static_cast<int>(c.path), c.split, c.blocks, c.row_tiles, c.workers, c.weight_slots, c.input_slots,
                c.aliased ? "aliased" : "");
  return text;
}

void time_shape(Bench& bench, const char* what, int64_t batch, double density, bool all) {
  const PolarProblem& p = bench.p;
  const auto active = static_cast<int64_t>(std::lround(static_cast<double>(p.intermediate_size) * density));
  const bool up = p.scope == POLAR_SCOPE_MLP_UP;
  const GemmShape shape{up ? GemmOp::kUp : GemmOp::kDown, batch, p.hidden_size, active, up && p.gated != 0};
  const double bytes = 2.0 * static_cast<double>(active * p.hidden_size * (up ? up_rows(p) : 1));
  std::vector<Tested> list = configurations(shape, gemm_device(bench.device));
  if (!all) list.resize(1);
  for (const Tested& t : list) {
    if (t.name[0] == 's' && t.name[1] == 'p') {  // the sensible ones only
      const double used = 1.0 * t.config.row_tiles * t.config.split / bench.device.sm_count;
      if (used / std::ceil(1.0 * t.config.row_tiles / t.config.workers) < 0.7) continue;
    }
    report(what, batch, active, bench.time(batch, active, t.config), bytes, t.name + "  " + describe(t.config));
  }
}

// The rate of a plain read: what an H100 and an H200 differ in.
__global__ void __launch_bounds__(512) read_all(const uint4* data, int64_t count, uint4* sink) {
  uint4 sum{};
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
#pragma unroll 8
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) {
    const uint4 v = __ldcs(data + i);
    sum.x ^= v.x, sum.y ^= v.y, sum.z ^= v.z, sum.w ^= v.w;
  }
  if (sum.x == 0x12345678u && sum.y == sum.z) *sink = sum;
}

int run_timing(const DeviceInfo& device, bool all, const char* only) {
  const auto wanted = [&](const char* name) { return only == nullptr || std::strstr(only, name) != nullptr; };
  for (const PolarScope scope : {POLAR_SCOPE_MLP_UP, POLAR_SCOPE_MLP_DOWN}) {
    const char* what = scope == POLAR_SCOPE_MLP_UP ? "up" : "down";
    if (!wanted(what)) continue;
    Bench bench(problem_of(scope, 256, 9216, 36864, false, POLAR_RELU, true, POLAR_FP16), 256, 5, device);
    const int64_t pieces = bench.copies * bench.per_copy / 8;
    const double us = time_graph(2, [&](int64_t, cudaStream_t s) {
                        read_all<<<device.sm_count * 4, 512, 0, s>>>(reinterpret_cast<const uint4*>(bench.weights.data),
                                                                     pieces, reinterpret_cast<uint4*>(bench.out.data));
                      }).median;
    std::printf("plain read of %.1f GB: %.0f GB/s\n", pieces * 16e-9, pieces * 16.0 / us * 1e-3);
    for (const auto& [batch, density] : {std::pair<int64_t, double>{64, 0.1},
                                         {64, 0.3},
                                         {64, 0.5},
                                         {64, 1.0},
                                         {16, 0.1},
                                         {1, 0.1},
                                         {1, 0.075},
                                         {1, 1.0},
                                         {16, 1.0},
                                         {256, 0.3},
                                         {128, 0.3},
                                         {256, 1.0}}) {
      time_shape(bench, what, batch, density, all);
    }
  }
  if (wanted("swiglu")) {
    for (const PolarScope scope : {POLAR_SCOPE_MLP_UP, POLAR_SCOPE_MLP_DOWN}) {
      Bench bench(problem_of(scope, 64, 4096, 11008, scope == POLAR_SCOPE_MLP_UP, POLAR_SILU, false, POLAR_FP16), 64,
                  14, device);
      for (const double density : {0.3, 1.0}) {
        time_shape(bench, scope == POLAR_SCOPE_MLP_UP ? "swiglu-up" : "swiglu-dn", 16, density, all);
      }
    }
  }
  return 0;
}

// Registry kernels: the fastest dense and the whole MLP, as the tool times them.
void time_registry(const MlpKernel& kernel, const PolarProblem& p, int64_t active, int64_t copies, const char* what,
                   const DeviceInfo& device, const Buffer<uint16_t>& weights, const Buffer<uint16_t>& small,
                   Buffer<uint16_t>& out) {
  PolarCandidate candidate{};
  candidate.kernel = kernel.id;
  candidate.active_neurons = active;
  kernel.prepare(p, candidate, device);
  Buffer<char> workspace(static_cast<int64_t>(kernel.workspace_bytes(p, candidate, device)));
  CHECK_CUDA(cudaMemset(workspace.data, 0, workspace.count));
  Buffer<int32_t> index(copies * active);
  for (int64_t c = 0; c < copies; ++c) index.put(index_of(p, active, c), c * active);
  const int64_t neurons = p.intermediate_size, d = p.hidden_size, up_part = neurons * d * up_rows(p);
  const int64_t per_copy = up_part + neurons * d;
  const double us =
      time_graph(2 * copies, [&](int64_t i, cudaStream_t stream) {
        const int64_t c = i % copies;
        const uint16_t *w1 = weights.data + c * per_copy, *w2 = w1 + up_part;
        const uint16_t* bias = p.mlp_bias ? small.data : nullptr;
        const MlpArgs args{small.data, w1,     bias,          w2, bias, small.data, out.data, index.data + c * active,
                           nullptr,    active, workspace.data};
        kernel.launch({p, device, stream}, args);
      }).median;
  const int64_t rows = p.scope == POLAR_SCOPE_MLP ? 1 + up_rows(p) : p.scope == POLAR_SCOPE_MLP_UP ? up_rows(p) : 1;
  report(what, p.batch_size, active, us, 2.0 * static_cast<double>(active * d * rows), kernel.id);
}

int run_whole(const DeviceInfo& device) {
  for (const bool gated : {true, false}) {
    const int64_t d = gated ? 4096 : 9216, n = gated ? 11008 : 36864, copies = gated ? 8 : 3;
    PolarProblem p = problem_of(POLAR_SCOPE_MLP, 16, d, n, gated, gated ? POLAR_SILU : POLAR_RELU, !gated, POLAR_FP16);
    Buffer<uint16_t> weights(copies * n * d * (1 + up_rows(p))), small(256 * n), out(256 * n);
    fill_tensor(weights, p, Tensor::kUp);
    fill_tensor(small, p, Tensor::kInput);
    for (const int64_t batch : gated ? std::vector<int64_t>{16} : std::vector<int64_t>{1, 16, 64, 256}) {
      p.batch_size = batch;
      const int64_t few = std::lround(static_cast<double>(n) * (gated || batch > 1 ? 0.3 : 0.075));
      p.scope = POLAR_SCOPE_MLP;
      time_registry(kMlpSelective, p, few, copies, "mlp", device, weights, small, out);
      time_registry(kMlpDense, p, n, copies, "mlp", device, weights, small, out);
      time_registry(kMlpCublaslt, p, n, copies, "mlp", device, weights, small, out);
      if (gated) continue;
      p.scope = POLAR_SCOPE_MLP_UP;
      time_registry(kMlpUpCublaslt, p, n, copies, "up", device, weights, small, out);
      p.scope = POLAR_SCOPE_MLP_DOWN;
      time_registry(kMlpDownCublaslt, p, n, copies, "down", device, weights, small, out);
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "", option = argc > 2 ? argv[2] : "";
  try {
    const DeviceInfo device = device_with_clusters();
    if (mode == "edges") return run_edges(device, option);
    if (mode == "time") return run_timing(device, option == "all", argc > 3 ? argv[3] : nullptr);
    if (mode == "whole") return run_whole(device);
  } catch (const NativeError& error) {
    std::printf("FAIL %s: %s\n", error.code(), error.what());
    return 1;
  }
  std::printf("usage: cuda_mlp edges [quick|sanitize] | time [all [up|down|swiglu]] | whole\n");
  return 2;
}
