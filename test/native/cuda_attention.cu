// Stand-alone check and timing of the CUDA attention kernels, for work on them: needs a GPU, no addon, no driver
// library.
//
//   cuda_attention edges [quick]   every edge shape, kernel, dtype and pipeline against a float64 reference; ten
//                                  bitwise-equal repeats; poisoned outputs, workspaces and KV tails. Exit 1 on a
//                                  failure.
//   cuda_attention time [all] [B]  one table of times per shape (all: and configuration), of batch size B alone where
//                                  it is given; cold cache, launches in a graph
//
// Build (one line per file, -gencode arch=compute_90a,code=sm_90a): cuda/kernels/attention_*.cu cuda/common/check.cpp
// cuda/device/tensor_map.cpp src/native/common/{problem,faults}.cpp and this file, all with -DPOLAR_EVERY_PIPELINE,
// without which cp.async is empty on sm_90 and later; -DPOLAR_FAULTS adds the watchdog and the planted fault.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "../../cuda/common/check.h"
#include "../../cuda/kernels/attention_decode.h"
#include "../../cuda/kernels/registry.h"
#include "../../src/native/common/half.h"
#include "../../src/native/common/problem.h"
#include "cuda_timing.h"

using namespace polar;
using namespace polar::cuda;

namespace {

__device__ uint16_t to_half(float value, int dtype) {
  return dtype == POLAR_BF16 ? __bfloat16_as_ushort(__float2bfloat16_rn(value))
                             : __half_as_ushort(__float2half_rn(value));
}

__device__ double from_half(uint16_t value, int dtype) {
  return dtype == POLAR_BF16 ? __bfloat162float(__ushort_as_bfloat16(value)) : __half2float(__ushort_as_half(value));
}

// Rows of `row` elements; from element `valid` of a row on: NaN.
__global__ void fill(uint16_t* out, int64_t count, int64_t row, int64_t valid, uint64_t key, int dtype) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) {
    out[i] = i % row < valid ? to_half(random_value(key, i, 1.0f), dtype) : kHalfNaN;
  }
}

struct Reference {
  const uint16_t *q, *k, *v;
  double* scores;  // [rows, kv_len]
  double* out;     // [rows, d_h]
  int64_t kv_len, kv_capacity, heads, kv_heads, head_dim;
  int dtype;
};

__global__ void reference_scores(const Reference r) {
  const int64_t row = blockIdx.y, key = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (key >= r.kv_len) return;
  const int64_t b = row / r.heads, h = row % r.heads, g = h / (r.heads / r.kv_heads);
  const uint16_t* q = r.q + row * r.head_dim;
  const uint16_t* k = r.k + ((b * r.kv_heads + g) * r.kv_capacity + key) * r.head_dim;
  double sum = 0;
  for (int64_t i = 0; i < r.head_dim; ++i) sum += from_half(q[i], r.dtype) * from_half(k[i], r.dtype);
  r.scores[row * r.kv_len + key] = sum / sqrt(static_cast<double>(r.head_dim));
}

__global__ void reference_out(const Reference r) {  // one block per row, one thread per dimension
  const int64_t row = blockIdx.x, b = row / r.heads, g = row % r.heads / (r.heads / r.kv_heads);
  const double* s = r.scores + row * r.kv_len;
  const uint16_t* v = r.v + (b * r.kv_heads + g) * r.kv_capacity * r.head_dim + threadIdx.x;
  double top = s[0], sum = 0, out = 0;
  for (int64_t i = 1; i < r.kv_len; ++i) top = fmax(top, s[i]);
  for (int64_t i = 0; i < r.kv_len; ++i) {
    const double p = exp(s[i] - top);
    sum += p;
    out += p * from_half(v[i * r.head_dim], r.dtype);
  }
  r.out[row * r.head_dim + threadIdx.x] = out / sum;
}

template <typename T>
struct Buffer {
  T* data = nullptr;
  int64_t count;
  explicit Buffer(int64_t n) : count(std::max<int64_t>(n, 1)) { CHECK_CUDA(cudaMalloc(&data, count * sizeof(T))); }
  ~Buffer() { cudaFree(data); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  std::vector<T> host() const {
    std::vector<T> h(count);
    CHECK_CUDA(cudaMemcpy(h.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost));
    return h;
  }
};

PolarProblem problem_of(int64_t b, int64_t n, int64_t capacity, int64_t h, int64_t hkv, int64_t d, int dtype) {
  PolarProblem p{};
  p.scope = POLAR_SCOPE_ATTENTION;
  p.dtype = dtype;
  p.batch_size = b;
  p.kv_len = n;
  p.kv_capacity = capacity;
  p.num_qo_heads = h;
  p.num_kv_heads = hkv;
  p.head_dim = d;
  p.seed = 7;
  return p;
}

struct Inputs {
  Buffer<uint16_t> q, k, v;
  explicit Inputs(const PolarProblem& p)
      : q(tensor_elements(p, Tensor::kQuery)),
        k(tensor_elements(p, Tensor::kKey)),
        v(tensor_elements(p, Tensor::kValue)) {
    const int64_t row = p.kv_capacity * p.head_dim, valid = p.kv_len * p.head_dim;
    fill<<<2048, 256>>>(q.data, q.count, q.count, q.count, stream_key(p.seed, Tensor::kQuery, 0), p.dtype);
    fill<<<2048, 256>>>(k.data, k.count, row, valid, stream_key(p.seed, Tensor::kKey, 0), p.dtype);
    fill<<<2048, 256>>>(v.data, v.count, row, valid, stream_key(p.seed, Tensor::kValue, 0), p.dtype);
    CHECK_LAUNCH("fill");
  }
};

// A way to run attention: a registry kernel, or the shared kernel with a configuration of our own.
struct Variant {
  std::string name;
  const AttentionKernel* kernel = nullptr;
  bool selective = false;
  std::function<void(AttentionConfig&)> change;  // null: the registry kernel as it is
  int grid_factor = 1;                           // blocks per resident block; 0: as many blocks as units
};

AttentionLaunch shared_launch(const PolarProblem& p, const AttentionArgs& a, const char* kernel) {
  AttentionLaunch l{};
  l.kernel = kernel;
  l.k = a.k;
  l.v = a.v;
  l.group_index = a.group_index;
  l.units_per_sequence = a.active_groups;
  l.stored_kv_heads = p.num_kv_heads;
  l.kv_capacity = p.kv_capacity;
  l.heads_per_unit = static_cast<int>(group_size(p));
  l.units_per_kv_head = 1;
  l.workspace = a.workspace;
  return l;
}

struct Runner {
  std::function<void(const AttentionArgs&, cudaStream_t)> run;
  size_t workspace_bytes;
  size_t zero_bytes;  // at its start: zero between launches
};

Runner make_runner(const Variant& variant, const PolarProblem& p, const PolarCandidate& candidate,
                   const DeviceInfo& device) {
  if (!variant.change) {
    variant.kernel->prepare(p, candidate, device);
    const AttentionWork work = variant.kernel == &kAttentionDensePerQueryHead
                                   ? attention_work(p, p.num_qo_heads, 1)
                                   : attention_work(p, candidate.active_groups, group_size(p));
    return {[&p, &device, kernel = variant.kernel](const AttentionArgs& a, cudaStream_t s) {
              kernel->launch({p, device, s}, a);
            },
            variant.kernel->workspace_bytes(p, candidate, device),
            attention_workspace(work, choose_attention_config(work, attention_device(device))).bytes};
  }
  const AttentionWork work = attention_work(p, candidate.active_groups, group_size(p));
  AttentionConfig config = choose_attention_config(work, attention_device(device));
  variant.change(config);
  finish_attention_config(work, attention_device(device), config);
  const int64_t wanted = variant.grid_factor > 0 ? int64_t{1} * config.grid * variant.grid_factor
                                                 : work.batch_size * work.units_per_sequence;
  if (variant.grid_factor != 1) {
    config.grid = static_cast<int>(std::min(config.total_tiles, wanted));
    config.blocks_per_span = config.grid;
  }
  const void* address = p.dtype == POLAR_BF16
                            ? attention_decode_kernel_bf16(work.head_dim, config.head_tiles, config.pipeline)
                            : attention_decode_kernel_fp16(work.head_dim, config.head_tiles, config.pipeline);
  CHECK_CUDA(cudaFuncSetAttribute(address, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(device.shared_bytes_per_block_optin)));
  CHECK_CUDA(cudaFuncSetAttribute(address, cudaFuncAttributePreferredSharedMemoryCarveout, 100));
  const AttentionWorkspace layout = attention_workspace(work, config);
  return {[&p, &device, kernel = variant.kernel->id, work, config](const AttentionArgs& a, cudaStream_t s) {
            launch_attention_decode({p, device, s}, a, shared_launch(p, a, kernel), work, config);
          },
          layout.bytes, layout.bytes};
}

// ---- edges --------------------------------------------------------------------------------------------------------

int failures = 0, checks = 0;
double worst_share = 0;

void check_outputs(const std::string& label, const PolarProblem& p, const std::vector<uint16_t>& out,
                   const std::vector<double>& reference, const std::vector<int32_t>& index, int64_t active) {
  const int64_t ratio = group_size(p);
  const double epsilon = p.dtype == POLAR_BF16 ? 0x1.0p-8 : 0x1.0p-11;
  double worst = 0;
  for (int64_t row = 0; row < p.batch_size * p.num_qo_heads; ++row) {
    const int64_t b = row / p.num_qo_heads, group = row % p.num_qo_heads / ratio;
    const bool on = std::binary_search(index.begin() + b * active, index.begin() + (b + 1) * active, group);
    double error = 0, top = 0;
    for (int64_t i = 0; i < p.head_dim; ++i) {
      const double want = on ? reference[row * p.head_dim + i] : 0.0;
      const double got = half_to_float(out[row * p.head_dim + i], p.dtype);
      const double e = std::abs(got - want);
      error = std::isfinite(e) ? std::max(error, e) : INFINITY;
      top = std::max(top, std::abs(want));
    }
    const double share = error == 0 ? 0 : top > 0 ? error / (1.5 * epsilon * top) : INFINITY;
    worst = std::max(worst, share);
  }
  ++checks;
  worst_share = std::max(worst_share, worst);
  if (!(worst <= 1)) {
    if (++failures <= 40) std::printf("FAIL %s: share of tolerance %g\n", label.c_str(), worst);
  }
}

void check_shape(const PolarProblem& p, const DeviceInfo& device, const std::vector<Variant>& variants, int repeats) {
  Inputs in(p);
  const int64_t rows = p.batch_size * p.num_qo_heads;
  Buffer<double> scores(rows * p.kv_len), exact(rows * p.head_dim);
  const Reference r{in.q.data,     in.k.data,      in.v.data,      scores.data, exact.data, p.kv_len,
                    p.kv_capacity, p.num_qo_heads, p.num_kv_heads, p.head_dim,  p.dtype};
  reference_scores<<<dim3((p.kv_len + 127) / 128, rows), 128>>>(r);
  reference_out<<<rows, p.head_dim>>>(r);
  CHECK_CUDA(cudaDeviceSynchronize());
  const std::vector<double> reference = exact.host();
  std::vector<int64_t> counts = {1, p.num_kv_heads / 2 | 1, p.num_kv_heads};
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
  for (const Variant& variant : variants) {
    for (const int64_t active : variant.selective ? counts : std::vector<int64_t>{p.num_kv_heads}) {
      if (active > p.num_kv_heads) continue;
      PolarCandidate candidate{};
      candidate.kernel = variant.kernel->id;
      candidate.active_groups = active;
      candidate.index_pattern = p.kv_len % 2 == 0 ? POLAR_INDEX_RANDOM : POLAR_INDEX_EVERY_SECOND;
      const std::vector<int32_t> index = group_index(p, candidate, 0);
      Buffer<int32_t> device_index(index.size());
      CHECK_CUDA(cudaMemcpy(device_index.data, index.data(), index.size() * 4, cudaMemcpyHostToDevice));
      const Runner runner = make_runner(variant, p, candidate, device);
      Buffer<char> workspace(runner.workspace_bytes);
      Buffer<uint16_t> out(rows * p.head_dim);
      CHECK_CUDA(cudaMemset(workspace.data, 0xff, runner.workspace_bytes));
      CHECK_CUDA(cudaMemset(workspace.data, 0, runner.zero_bytes));
      const AttentionArgs args{
          in.q.data, in.k.data,     in.v.data, out.data, variant.selective ? device_index.data : nullptr,
          active,    workspace.data};
      const std::string label =
          variant.name + (p.dtype == POLAR_BF16 ? " bf16" : " fp16") + " B" + std::to_string(p.batch_size) + " N" +
          std::to_string(p.kv_len) + "/" + std::to_string(p.kv_capacity) + " H" + std::to_string(p.num_qo_heads) + "/" +
          std::to_string(p.num_kv_heads) + " d" + std::to_string(p.head_dim) + " k" + std::to_string(active);
      std::vector<uint16_t> first;
      for (int i = 0; i < repeats; ++i) {
        CHECK_CUDA(cudaMemset(out.data, 0xff, out.count * 2));
        runner.run(args, nullptr);
        const cudaError_t error = cudaDeviceSynchronize();
        if (error != cudaSuccess) {
          std::printf("FAIL %s: %s\n", label.c_str(), cudaGetErrorString(error));
          throw NativeError("E_CUDA", label);
        }
        std::vector<uint16_t> now = out.host();
        if (i == 0) {
          first = std::move(now);
          check_outputs(label, p, first, reference, index, active);
        } else if (first != now) {
          ++failures;
          std::printf("FAIL %s: repeat %d differs\n", label.c_str(), i);
          break;
        }
      }
      std::vector<char> left = workspace.host();
      left.resize(std::min(left.size(), runner.zero_bytes));
      if (std::any_of(left.begin(), left.end(), [](char byte) { return byte != 0; })) {
        ++failures;
        std::printf("FAIL %s: the workspace is not left zero\n", label.c_str());
      }
    }
  }
}

int run_edges(const DeviceInfo& device, bool quick) {
  const auto cp_async = [](AttentionConfig& c) {
    c.pipeline = AttentionPipeline::kCpAsync;
    c.stages = std::min(c.stages, 4);
  };
  const auto cp_async_two = [](AttentionConfig& c) {
    c.pipeline = AttentionPipeline::kCpAsync;
    c.stages = 2;
  };
  const auto one_block = [](AttentionConfig& c) {
    c.blocks_per_sm = 1;
    c.stages = 2;
  };
  std::vector<Variant> variants = {{"dense", &kAttentionDense, false, nullptr},
                                   {"selective", &kAttentionSelectiveHead, true, nullptr},
                                   {"selective cp.async", &kAttentionSelectiveHead, true, cp_async},
                                   {"dense cp.async 2 stages", &kAttentionDense, false, cp_async_two},
                                   {"dense 1x2", &kAttentionDense, false, one_block},
                                   {"selective, 4 blocks for 1", &kAttentionSelectiveHead, true, one_block, 4},
                                   {"per-query-head", &kAttentionDensePerQueryHead, false, nullptr},
                                   {"gather-dense", &kAttentionGatherDense, true, nullptr}};
  const std::vector<int64_t> lengths =
      quick ? std::vector<int64_t>{1, 65, 1000} : std::vector<int64_t>{1, 63, 64, 65, 1000};
  for (const int dtype : {POLAR_BF16, POLAR_FP16}) {
    for (const int64_t d : {64, 96, 128, 256}) {
      for (const int64_t ratio :
           quick ? std::vector<int64_t>{1, 6, 16} : std::vector<int64_t>{1, 2, 3, 4, 6, 8, 9, 16}) {
        for (const int64_t n : lengths) {
          const int64_t kv_heads = n % 2 == 0 ? 5 : 4;
          check_shape(problem_of(3, n, n + (n % 3) * 7, ratio * kv_heads, kv_heads, d, dtype), device, variants,
                      quick ? 2 : 10);
        }
      }
    }
    if (quick) continue;
    for (const int64_t b : {1, 8, 17, 65, 512}) {
      check_shape(problem_of(b, 64, 64, 12, 12, 64, dtype), device, variants, 10);
      check_shape(problem_of(b, 129, 200, 8, 2, 128, dtype), device, variants, 10);
    }
    check_shape(problem_of(1, 32768, 32768, 8, 2, 128, dtype), device, variants, 10);
    check_shape(problem_of(2, 131072, 131072, 1, 1, 64, dtype), device, variants, 3);
  }
  std::printf("edges: %d checks, %d failures, largest share of tolerance %.3f\n", checks, failures, worst_share);
  return failures == 0 ? 0 : 1;
}

// ---- timing -------------------------------------------------------------------------------------------------------

struct Shape {
  const char* name;
  int64_t b, n, h, hkv, d;
  std::vector<int64_t> active;
};

double time_variant(const PolarProblem& p, const Inputs& in, int64_t copies, int64_t active, const Variant& variant,
                    const DeviceInfo& device, double& spread) {
  PolarCandidate candidate{};
  candidate.kernel = variant.kernel->id;
  candidate.active_groups = active;
  const Runner runner = make_runner(variant, p, candidate, device);
  Buffer<char> workspace(runner.workspace_bytes);
  CHECK_CUDA(cudaMemset(workspace.data, 0, runner.workspace_bytes));
  const int64_t per_index = p.batch_size * active,
                per_cache = p.batch_size * p.num_kv_heads * p.kv_capacity * p.head_dim;
  Buffer<int32_t> index(copies * per_index);
  for (int64_t c = 0; c < copies; ++c) {
    const std::vector<int32_t> set = group_index(p, candidate, c);
    CHECK_CUDA(cudaMemcpy(index.data + c * per_index, set.data(), per_index * 4, cudaMemcpyHostToDevice));
  }
  Buffer<uint16_t> out(p.batch_size * p.num_qo_heads * p.head_dim);
  const auto run = [&](int64_t i, cudaStream_t stream) {
    const int64_t c = i % copies;
    const AttentionArgs args{in.q.data,
                             in.k.data + c * per_cache,
                             in.v.data + c * per_cache,
                             out.data,
                             variant.selective ? index.data + c * per_index : nullptr,
                             active,
                             workspace.data};
    runner.run(args, stream);
  };
  const RunTimes times = time_graph(std::max<int64_t>(copies, 2), run);
  spread = times.spread;
  return times.median;
}

Variant configured(std::string name, int blocks, int stages, int grid_factor = 1,
                   AttentionPipeline pipeline = AttentionPipeline::kTma) {
  return {std::move(name), &kAttentionSelectiveHead, true,
          [=](AttentionConfig& c) {
            c.blocks_per_sm = blocks;
            c.stages = stages;
            c.pipeline = pipeline;
          },
          grid_factor};
}

int run_timing(const DeviceInfo& device, bool all_configurations, int64_t batch_size) {
  std::vector<Variant> tuning = {{"selective-head", &kAttentionSelectiveHead, true, nullptr}};
  if (all_configurations) {
    for (const auto& [blocks, stages] : {std::pair{2, 3}, {2, 2}, {1, 6}, {1, 5}, {1, 4}, {1, 3}}) {
      tuning.push_back(configured(std::to_string(blocks) + "x" + std::to_string(stages), blocks, stages));
    }
    tuning.push_back(configured("2x3, 4 times the grid", 2, 3, 4));
    tuning.push_back(configured("2x3, 16 times the grid", 2, 3, 16));
    tuning.push_back(configured("2x3, a unit per block", 2, 3, 0));
    tuning.push_back(configured("2x3 cp.async", 2, 3, 1, AttentionPipeline::kCpAsync));
    tuning.push_back(configured("2x2 cp.async", 2, 2, 1, AttentionPipeline::kCpAsync));
  }
  const std::vector<Variant> whole = {{"dense", &kAttentionDense, false, nullptr},
                                      {"per-query-head", &kAttentionDensePerQueryHead, false, nullptr}};
  const Variant gather = {"gather-dense", &kAttentionGatherDense, true, nullptr};
  const std::vector<Shape> shapes = {{"opt-66b B64 N1920", 64, 1920, 72, 72, 128, {7, 22, 36, 72}},
                                     {"llama-3-8b B64 N8192", 64, 8192, 32, 8, 128, {5, 8}},
                                     {"llama-3.1-70b B32 N8192", 32, 8192, 64, 8, 128, {5, 8}},
                                     {"llama-3-8b B1 N8192", 1, 8192, 32, 8, 128, {5, 8}},
                                     {"llama-3-8b B1 N131072", 1, 131072, 32, 8, 128, {5, 8}},
                                     {"opt-66b B1 N1920", 1, 1920, 72, 72, 128, {22, 72}},
                                     {"opt-66b B512 N128", 512, 128, 72, 72, 128, {22, 72}},
                                     {"d64 B64 N2048 H32", 64, 2048, 32, 32, 64, {10, 32}},
                                     {"d96 B64 N2048 H32", 64, 2048, 32, 32, 96, {10, 32}},
                                     {"d256 B64 N2048 H16/8", 64, 2048, 16, 8, 256, {3, 8}}};
  for (const Shape& s : shapes) {
    if (batch_size != 0 && s.b != batch_size) continue;
    const PolarProblem p = problem_of(s.b, s.n, s.n, s.h, s.hkv, s.d, POLAR_BF16);
    const double one = 2.0 * 2 * s.b * s.hkv * s.n * s.d;
    const int64_t copies = std::max<int64_t>(1, static_cast<int64_t>(8.0 * device.l2_bytes / (one / 2) + 1));
    PolarProblem all = p;
    all.batch_size *= copies;
    const Inputs in(all);
    const auto report = [&](const Variant& variant, int64_t active) {
      double spread = 0;
      const double us = time_variant(p, in, copies, active, variant, device, spread);
      const double moved = one * active / s.hkv + 2.0 * 2 * s.b * s.h * s.d;
      std::printf("%-24s %-22s k=%-3ld %9.2f us (spread %5.2f) %7.0f GB/s\n", s.name, variant.name.c_str(),
                  static_cast<long>(active), us, spread, moved / us * 1e-3);
    };
    for (const Variant& v : whole) report(v, s.hkv);
    report(gather, s.active[0]);
    for (const int64_t active : s.active)
      for (const Variant& v : tuning) report(v, active);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  try {
    const DeviceInfo device = device_info();
    if (mode == "edges") return run_edges(device, argc > 2 && std::string(argv[2]) == "quick");
    const bool all = argc > 2 && std::string(argv[2]) == "all";
    if (mode == "time") return run_timing(device, all, argc > 2 + all ? std::atoll(argv[2 + all]) : 0);
  } catch (const NativeError& error) {
    std::printf("FAIL %s: %s\n", error.code(), error.what());
    return 1;
  }
  std::printf("usage: cuda_attention edges [quick] | time [all] [B]\n");
  return 2;
}
