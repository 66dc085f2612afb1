// Stand-alone check and timing of the selections over neurons, for work on them: needs a GPU, no addon, no driver
// library.
//
//   cuda_select edges [quick]  top-k and everything above a threshold against a stable sort on the host, many sizes,
//                              counts and distributions, one workspace for all, poisoned outputs. Exit 1 on a failure.
//   cuda_select time           times of launches in a graph
//
// Build (-gencode arch=compute_90a,code=sm_90a): cuda/kernels/router_select.cu, cuda/common/check.cpp and this file.
// With arch=compute_80,code=compute_80 and CUDA_ROUTER_SM80 defined, a newer GPU runs the code for sm_80.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "../../cuda/kernels/router_select.h"
#include "../../src/native/common/random.h"
#include "cuda_timing.h"

using namespace polar;
using namespace polar::cuda;

namespace {

int failures = 0, checks = 0;
void fail(const std::string& text) {
  if (++failures <= 40) std::printf("FAIL %s\n", text.c_str());
}

// A NaN is above everything.
double rank_of(float score) { return std::isnan(score) ? INFINITY : std::min<double>(score, 1e300); }

std::vector<int32_t> top_of(const float* scores, int64_t n, int64_t k) {
  std::vector<int32_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return rank_of(scores[a]) > rank_of(scores[b]); });
  order.resize(static_cast<size_t>(k));
  std::sort(order.begin(), order.end());
  return order;
}

// The range of keys as the products leave it (router_key.cuh), by one block.
__global__ void range_kernel(const float* scores, int64_t n, uint32_t* range) {
  __shared__ uint32_t not_low, high;
  if (threadIdx.x == 0) not_low = high = 0;
  __syncthreads();
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    const uint32_t bits = __float_as_uint(scores[i] + 0.0f);
    const uint32_t key = bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
    atomicMax(&not_low, ~key), atomicMax(&high, key);
  }
  __syncthreads();
  if (threadIdx.x == 0) range[0] = not_low, range[1] = high;
}

// A workspace that all selections use in turn, whatever their size.
struct SelectWorkspace {
  DeviceBuffer bytes{select_workspace_bytes()};
  SelectWorkspace() { CHECK_CUDA(cudaMemset(bytes.as(), 0, bytes.bytes())); }
  uint32_t* range() const { return bytes.as<uint32_t>(); }
};

router::SelectArgs select_args(const DeviceBuffer& scores, int64_t n, int64_t k, const DeviceBuffer& index,
                               const SelectWorkspace& workspace) {
  return {scores.as<float>(), n, k, 0, true, true, index.as<int32_t>(), nullptr, workspace.bytes.as()};
}

void check_selection(const char* name, const std::vector<float>& scores, int64_t k, const DeviceInfo& device,
                     const SelectWorkspace& workspace) {
  ++checks;
  const auto n = static_cast<int64_t>(scores.size());
  const DeviceBuffer input = to_device(scores), index(scores.size() * 4), count(4);
  std::vector<int32_t> want = top_of(scores.data(), n, k);
  const std::string text = std::string(name) + " n" + std::to_string(n) + " k" + std::to_string(k);
  for (const bool range : {false, true, true}) {
    CHECK_CUDA(cudaMemset(index.as(), 0xff, index.bytes()));
    if (range) {
      range_kernel<<<1, 1024>>>(input.as<float>(), n, workspace.range());
      launch_select(device, select_args(input, n, k, index, workspace), nullptr);
    } else {
      launch_top_k(device, input.as<float>(), n, k, index.as<int32_t>(), workspace.bytes.as(), nullptr);
    }
    check_cuda(cudaDeviceSynchronize(), name);
    if (to_host<int32_t>(index.as(), want.size()) != want) fail("top-k " + text + (range ? ", range known" : ""));
  }
  // The k-th largest as threshold: everything strictly above it.
  float threshold = scores[static_cast<size_t>(want[0])];
  for (const int32_t i : want) threshold = rank_of(scores[i]) < rank_of(threshold) ? scores[i] : threshold;
  want.clear();
  for (int64_t i = 0; i < n; ++i) {
    if (rank_of(scores[i]) > rank_of(threshold)) want.push_back(static_cast<int32_t>(i));
  }
  CHECK_CUDA(cudaMemset(index.as(), 0xff, index.bytes()));
  launch_select_above(device, input.as<float>(), n, threshold, index.as<int32_t>(), count.as<int32_t>(),
                      workspace.bytes.as(), nullptr);
  check_cuda(cudaDeviceSynchronize(), name);
  const int32_t found = to_host<int32_t>(count.as(), 1)[0];
  if (found != static_cast<int32_t>(want.size()) || to_host<int32_t>(index.as(), want.size()) != want) {
    fail("select-above " + text + ": count " + std::to_string(found) + " of " + std::to_string(want.size()));
  }
}

void check_selections(const DeviceInfo& device, const std::vector<int64_t>& sizes) {
  struct Pattern {
    const char* name;
    std::function<float(int64_t)> value;
  };
  const uint64_t key = stream_key(3, Tensor::kNoise, 0);
  const std::vector<Pattern> patterns = {
      {"random", [&](int64_t i) { return random_value(key, i, 1.0f); }},
      {"positive", [&](int64_t i) { return 25.0f + random_value(key, i, 1.0f); }},
      {"equal", [](int64_t) { return 1.5f; }},
      {"zeros of both signs", [](int64_t i) { return i % 3 == 0 ? -0.0f : 0.0f; }},
      {"two values", [](int64_t i) { return i % 7 == 3 ? 2.0f : 1.0f; }},
      {"ascending", [](int64_t i) { return static_cast<float>(i); }},
      {"descending", [](int64_t i) { return static_cast<float>(-i); }},
      {"extremes",
       [](int64_t i) {
         return i % 5 == 0 ? INFINITY : i % 5 == 1 ? -INFINITY : i % 5 == 2 ? 1e-44f : 3e38f;
       }},
      {"few distinct", [&](int64_t i) { return std::round(4 * random_value(key, i, 1.0f)); }},
      {"half zeros", [&](int64_t i) { return std::max(0.0f, random_value(key, i, 1.0f)); }},
      {"exponential", [&](int64_t i) { return std::exp(80 * random_value(key, i, 1.0f)); }},
      {"denormal", [&](int64_t i) { return 1e-41f * random_value(key, i, 1.0f); }},
      // All but one in the same bin of the first histogram, neighbours a bit apart or in a few bits.
      {"one outlier", [&](int64_t i) { return i == 1 ? 1e30f : 1.0f + 1e-7f * static_cast<float>(i % 4093); }},
      {"outliers on both sides",
       [&](int64_t i) { return i % 1021 == 5   ? 3e38f
                               : i % 1021 == 6 ? -3e38f
                                               : random_value(key, i, 1e-3f); }},
      {"one block's", [](int64_t i) { return i / 200 == 3 ? 2.0f + 1e-4f * static_cast<float>(i % 200) : 1.0f; }},
      {"NaN", [&](int64_t i) { return i % 900 == 7 ? std::nanf("") : random_value(key, i, 1.0f); }}};
  const SelectWorkspace workspace;
  for (const int64_t n : sizes) {
    std::vector<int64_t> counts = {1, n / 10 + 1, n / 2 + 1, std::max<int64_t>(n - 1, n / 2 + 1), n};
    counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
    for (const Pattern& pattern : patterns) {
      std::vector<float> scores(static_cast<size_t>(n));
      for (int64_t i = 0; i < n; ++i) scores[static_cast<size_t>(i)] = pattern.value(i);
      for (const int64_t k : counts) check_selection(pattern.name, scores, std::min(k, n), device, workspace);
    }
  }
}

int run_edges(const DeviceInfo& device, bool quick) {
  check_selections(device, quick ? std::vector<int64_t>{1, 33, 3000, 36864}
                                 : std::vector<int64_t>{1, 2, 31, 33, 255, 4096, 4097, 11008, 36864, 65536, 300007});
  std::printf("edges: %d checks, %d failures\n", checks, failures);
  return failures == 0 ? 0 : 1;
}

__global__ void set_range_kernel(uint32_t* range, uint32_t low, uint32_t high) {
  if (threadIdx.x == 0) range[0] = ~low, range[1] = high;
}

// Selections alone: scores in L2, as the products leave them; the range comes from a kernel before, timed alone too.
int run_timing(const DeviceInfo& device) {
  const SelectWorkspace workspace;
  const auto set_range = [&](cudaStream_t stream) {
    set_range_kernel<<<1, 32, 0, stream>>>(workspace.range(), 0xc1500000u, 0xc1f00000u);
  };
  time_runs("range alone", 1, 0, [&](int64_t, cudaStream_t stream) { set_range(stream); });
  CHECK_CUDA(cudaMemset(workspace.range(), 0, 8));
  for (const int64_t n : {11008, 16384, 36864, 65536}) {
    std::vector<float> scores(static_cast<size_t>(n));
    for (int64_t i = 0; i < 4 * n; ++i) {  // nearly normal, within 21.5 +- 8
      if (i % 4 == 0) scores[i / 4] = 21.5f;
      scores[i / 4] += random_value(stream_key(3, Tensor::kNoise, 0), i, 2.0f);
    }
    const DeviceBuffer input = to_device(scores), index(scores.size() * 4), count(4);
    const std::string text = " of " + std::to_string(n);
    for (const int64_t percent : {2, 44}) {
      const int64_t k = n * percent / 100;
      time_runs(("range, top " + std::to_string(k) + text).c_str(), 1, 4.0 * static_cast<double>(n),
                [&](int64_t, cudaStream_t stream) {
                  set_range(stream);
                  launch_select(device, select_args(input, n, k, index, workspace), stream);
                });
      CHECK_CUDA(cudaMemset(workspace.range(), 0, 8));
    }
    time_runs(("top-k" + text + ", range not known").c_str(), 1, 4.0 * static_cast<double>(n),
              [&](int64_t, cudaStream_t stream) {
                launch_top_k(device, input.as<float>(), n, n / 3, index.as<int32_t>(), workspace.bytes.as(), stream);
              });
    time_runs(("all above" + text).c_str(), 1, 4.0 * static_cast<double>(n), [&](int64_t, cudaStream_t stream) {
      launch_select_above(device, input.as<float>(), n, 22.0f, index.as<int32_t>(), count.as<int32_t>(),
                          workspace.bytes.as(), stream);
    });
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  try {
    const DeviceInfo device = device_info();
    prepare_selections(device);
    if (mode == "edges") return run_edges(device, argc > 2 && std::string(argv[2]) == "quick");
    if (mode == "time") return run_timing(device);
  } catch (const NativeError& error) {
    std::printf("FAIL %s: %s\n", error.code(), error.what());
    return 1;
  }
  std::printf("usage: cuda_select edges [quick] | time\n");
  return 2;
}
