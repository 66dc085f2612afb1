// Stand-alone check and timing of the CUDA routers, for work on them (selections alone: cuda_select.cu): needs a GPU,
// no addon, no driver library.
//
//   cuda_router edges [quick]  every edge shape and dtype: scores against a float64 reference within the project's
//                              tolerance, indices exactly against the kernel's own scores, four to ten bitwise-equal
//                              repeats, poisoned outputs. Exit 1 on a failure.
//   cuda_router time [TEXT]    one table of times per shape whose name contains TEXT, cold cache, launches in a graph
//   cuda_router one            each router once at OPT-66B's size, for a profiler
//
// Build (-gencode arch=compute_90a,code=sm_90a): cuda/kernels/{router*,reference_router}.cu cuda/common/check.cpp
// cuda/device/tensor_map.cpp and this file. With arch=compute_80,code=compute_80 and CUDA_ROUTER_SM80 defined, a newer
// GPU runs the code for sm_80.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "../../cuda/common/check.h"
#include "../../cuda/device/half.cuh"
#include "../../cuda/device/memory.h"
#include "../../cuda/kernels/reference.h"
#include "../../cuda/kernels/router.h"
#include "../../src/native/common/random.h"
#include "cuda_timing.h"

using namespace polar;
using namespace polar::cuda;

namespace {

__global__ void fill_kernel(uint16_t* out, int64_t count, uint64_t key, float scale, int dtype) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) {
    out[i] = float_to_half_bits(random_value(key, i, scale), dtype);
  }
}

DeviceBuffer random_tensor(int64_t count, Tensor tensor, float scale, int dtype) {
  DeviceBuffer buffer(static_cast<size_t>(count) * 2);
  fill_kernel<<<2048, 256>>>(buffer.as<uint16_t>(), count, stream_key(7, tensor, 0), scale, dtype);
  CHECK_LAUNCH("fill");
  return buffer;
}

struct Shape {
  int64_t batch, hidden, rank, outputs, k;  // outputs: groups or neurons; rank 0: attention router
  int dtype;
  std::string text() const {
    return std::string(rank == 0 ? "attention" : "mlp") + (dtype == POLAR_BF16 ? " bf16" : " fp16") + " B" +
           std::to_string(batch) + " d" + std::to_string(hidden) + " rank" + std::to_string(rank) + " n" +
           std::to_string(outputs) + " k" + std::to_string(k);
  }
};

PolarProblem problem_of(const Shape& s) {
  PolarProblem p{};
  p.scope = POLAR_SCOPE_ROUTER;
  p.dtype = s.dtype;
  p.batch_size = s.batch;
  p.hidden_size = s.hidden;
  p.num_kv_heads = s.outputs;
  p.intermediate_size = s.outputs;
  p.mlp_router_rank = s.rank;
  return p;
}

float fan_in(int64_t n) { return 1.0f / std::sqrt(static_cast<float>(n)); }

// One router with its inputs (in `copies`), outputs and workspace.
struct Router {
  Shape s;
  const DeviceInfo& device;
  int64_t copies;
  DeviceBuffer x, first, second, scores, index, workspace;

  Router(const Shape& shape, const DeviceInfo& info, int64_t n) : s(shape), device(info), copies(n) {
    const bool mlp = s.rank > 0;
    x = random_tensor(copies * s.batch * s.hidden, Tensor::kInput, 1.0f, s.dtype);
    first = random_tensor(copies * (mlp ? s.rank : s.outputs) * s.hidden, Tensor::kMlpRouterDown, fan_in(s.hidden),
                          s.dtype);
    if (mlp) second = random_tensor(copies * s.outputs * s.rank, Tensor::kMlpRouterUp, fan_in(s.rank), s.dtype);
    scores = DeviceBuffer(static_cast<size_t>(rows() * s.outputs) * 4);
    index = DeviceBuffer(static_cast<size_t>(rows() * s.k) * 4);
    workspace = DeviceBuffer(mlp ? mlp_router_workspace_bytes(mlp_args(0), device)
                                 : attention_router_workspace_bytes(attention_args(0), device));
    CHECK_CUDA(cudaMemset(workspace.as(), 0, workspace.bytes()));
  }
  int64_t rows() const { return s.rank > 0 ? 1 : s.batch; }
  const void* at(const DeviceBuffer& buffer, int64_t copy) const {
    return buffer.at(buffer.bytes() / static_cast<size_t>(copies) * static_cast<size_t>(copy));
  }
  AttentionRouterArgs attention_args(int64_t copy) const {
    return {at(x, copy),        at(first, copy),     s.batch,       s.hidden, s.outputs, s.k,
            scores.as<float>(), index.as<int32_t>(), workspace.as()};
  }
  MlpRouterArgs mlp_args(int64_t copy) const {
    return {at(x, copy), at(first, copy),    at(second, copy),    s.batch,       s.hidden, s.rank, s.outputs,
            s.k,         scores.as<float>(), index.as<int32_t>(), workspace.as()};
  }
  void run(int64_t copy, cudaStream_t stream) const {
    if (s.rank > 0) {
      launch_mlp_router(s.dtype, device, mlp_args(copy), stream);
    } else {
      launch_attention_router(s.dtype, device, attention_args(copy), stream);
    }
  }
};

// ---- edges --------------------------------------------------------------------------------------------------------

int failures = 0, checks = 0;
double worst_share = 0;

void fail(const std::string& text) {
  if (++failures <= 40) std::printf("FAIL %s\n", text.c_str());
}

std::vector<int32_t> top_of(const float* scores, int64_t n, int64_t k) {
  std::vector<int32_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return scores[a] > scores[b]; });
  order.resize(static_cast<size_t>(k));
  std::sort(order.begin(), order.end());
  return order;
}

// Scores row by row within the tolerance of the tool, indices exactly.
void check_result(const Router& r, const std::vector<float>& scores, const std::vector<int32_t>& index,
                  const std::vector<double>& exact, const std::vector<float>& naive) {
  for (int64_t row = 0; row < r.rows(); ++row) {
    RowError error;
    const int64_t base = row * r.s.outputs;
    for (int64_t i = base; i < base + r.s.outputs; ++i) {
      const double gap = std::fabs(scores[i] - exact[i]);
      error.error = std::isfinite(gap) ? std::max(error.error, gap) : INFINITY;
      error.naive = std::max(error.naive, std::fabs(naive[i] - exact[i]));
      error.reference = std::max(error.reference, std::fabs(exact[i]));
    }
    const double share = error.error == 0 ? 0 : error.error / row_tolerance(error, r.s.dtype);
    worst_share = std::max(worst_share, share);
    if (!(share <= 1)) fail(r.s.text() + ": row " + std::to_string(row) + " uses " + std::to_string(share));
    const std::vector<int32_t> want = top_of(scores.data() + base, r.s.outputs, r.s.k);
    if (!std::equal(want.begin(), want.end(), index.begin() + row * r.s.k)) {
      fail(r.s.text() + ": index of row " + std::to_string(row));
    }
  }
}

void check_shape(const Shape& s, const DeviceInfo& device, int repeats) {
  ++checks;
  const Router r(s, device, 1);
  const PolarProblem p = problem_of(s);
  const size_t count = static_cast<size_t>(r.rows() * s.outputs);
  const DeviceBuffer exact(count * 8), naive(count * 4);
  const DeviceBuffer scratch(s.rank > 0 ? reference_mlp_router_scratch_bytes(p) : 0);
  if (s.rank > 0) {
    launch_reference_mlp_router(p, r.x.as(), r.first.as(), r.second.as(), exact.as<double>(), naive.as<float>(),
                                scratch.as(), nullptr);
  } else {
    launch_reference_attention_router(p, r.x.as(), r.first.as(), exact.as<double>(), naive.as<float>(), nullptr);
  }
  std::vector<float> scores;
  std::vector<int32_t> index;
  for (int i = 0; i < repeats; ++i) {
    CHECK_CUDA(cudaMemset(r.scores.as(), 0xff, r.scores.bytes()));
    CHECK_CUDA(cudaMemset(r.index.as(), 0xff, r.index.bytes()));
    r.run(0, nullptr);
    check_cuda(cudaDeviceSynchronize(), s.text().c_str());
    const std::vector<float> now = to_host<float>(r.scores.as(), count);
    const std::vector<int32_t> chosen = to_host<int32_t>(r.index.as(), r.index.bytes() / 4);
    if (i == 0) {
      scores = now, index = chosen;
      check_result(r, scores, index, to_host<double>(exact.as(), count), to_host<float>(naive.as(), count));
    } else if (std::memcmp(now.data(), scores.data(), count * 4) != 0 || chosen != index) {
      fail(s.text() + ": repeat " + std::to_string(i) + " differs");
      return;
    }
  }
}

int run_edges(const DeviceInfo& device, bool quick) {
  using List = std::vector<int64_t>;
  const int repeats = quick ? 2 : 4;
  for (const int dtype : {POLAR_BF16, POLAR_FP16}) {
    prepare_routers(dtype, device);
    for (const int64_t batch : quick ? List{1, 33} : List{1, 7, 8, 9, 32, 33, 64, 65, 200, 512}) {
      for (const int64_t hidden : quick ? List{72, 1088} : List{8, 64, 72, 200, 1024, 1160, 4096, 9216}) {
        for (const int64_t groups : quick ? List{1, 17, 72} : List{1, 5, 8, 16, 17, 72, 256, 600}) {
          check_shape({batch, hidden, 0, groups, batch % 2 == 0 ? groups : groups / 2 + 1, dtype}, device, repeats);
        }
      }
      for (const int64_t rank : quick ? List{64, 200} : List{8, 64, 72, 200, 768, 1024}) {
        for (const int64_t neurons : quick ? List{17, 2500} : List{1, 15, 16, 17, 1000, 11008}) {
          const int64_t hidden = rank == 1024 ? 4096 : rank == 72 ? 264 : 768;
          check_shape({batch, hidden, rank, neurons, batch % 2 == 0 ? neurons : neurons / 3 + 1, dtype}, device,
                      repeats);
        }
      }
    }
    if (quick) continue;
    check_shape({64, 9216, 0, 72, 22, dtype}, device, 10);
    check_shape({3, 512, 0, 4096, 1000, dtype}, device, 3);
    for (const int64_t batch : {1, 64, 512}) check_shape({batch, 9216, 1024, 36864, 12000, dtype}, device, 10);
    check_shape({5, 64, 64, 65536, 6553, dtype}, device, 3);
    check_shape({2, 64, 8, 200000, 70000, dtype}, device, 3);
  }
  std::printf("edges: %d checks, %d failures, largest share of tolerance %.3f\n", checks, failures, worst_share);
  return failures == 0 ? 0 : 1;
}

// ---- timing -------------------------------------------------------------------------------------------------------

int run_timing(const DeviceInfo& device, const std::string& only) {
  prepare_routers(POLAR_BF16, device);
  const std::vector<std::pair<const char*, Shape>> shapes = {
      {"opt-66b", {1, 9216, 0, 72, 22, POLAR_BF16}},           {"opt-66b", {16, 9216, 0, 72, 22, POLAR_BF16}},
      {"opt-66b", {64, 9216, 0, 72, 22, POLAR_BF16}},          {"llama-3-8b", {64, 4096, 0, 8, 5, POLAR_BF16}},
      {"opt-66b", {1, 9216, 1024, 36864, 4000, POLAR_BF16}},   {"opt-66b", {16, 9216, 1024, 36864, 12000, POLAR_BF16}},
      {"opt-66b", {64, 9216, 1024, 36864, 18000, POLAR_BF16}}, {"opt-66b", {256, 9216, 1024, 36864, 30000, POLAR_BF16}},
      {"opt-6.7b", {64, 4096, 1024, 16384, 8000, POLAR_BF16}},
  };
  for (const auto& [model, s] : shapes) {
    const std::string name = std::string(model) + " " + s.text();
    if (name.find(only) == std::string::npos) continue;
    const double bytes = 2.0 * static_cast<double>(s.batch * s.hidden + (s.rank > 0 ? s.rank * (s.hidden + s.outputs)
                                                                                    : s.outputs * s.hidden));
    const auto copies =
        std::min<int64_t>(512, static_cast<int64_t>(5.5 * static_cast<double>(device.l2_bytes) / bytes) + 1);
    const Router r(s, device, copies);
    time_runs(name.c_str(), copies, bytes, [&](int64_t copy, cudaStream_t stream) { r.run(copy, stream); });
  }
  return 0;
}

int run_once(const DeviceInfo& device) {
  prepare_routers(POLAR_BF16, device);
  for (const int64_t batch : {64, 1}) {
    Router({batch, 9216, 0, 72, 22, POLAR_BF16}, device, 1).run(0, nullptr);
    Router({batch, 9216, 1024, 36864, 18000, POLAR_BF16}, device, 1).run(0, nullptr);
  }
  CHECK_CUDA(cudaDeviceSynchronize());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  try {
    const DeviceInfo device = device_info();
    if (mode == "edges") return run_edges(device, argc > 2 && std::string(argv[2]) == "quick");
    if (mode == "time") return run_timing(device, argc > 2 ? argv[2] : "");
    if (mode == "one") return run_once(device);
  } catch (const NativeError& error) {
    std::printf("FAIL %s: %s\n", error.code(), error.what());
    return 1;
  }
  std::printf("usage: cuda_router edges [quick] | time [TEXT] | one\n");
  return 2;
}
