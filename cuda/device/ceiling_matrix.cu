// Matrix ceiling: a large cuBLASLt product on random data (zeros run faster), and the issue rate of mma.sync from
// registers, which needs no library and stands in for it where there is none.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "../../src/native/common/random.h"
#include "../library/cublaslt_loader.h"
#include "ceilings.h"
#include "fill.h"
#include "graph.h"
#include "half.cuh"

namespace polar::cuda {
namespace {

constexpr int64_t kSize = 8192;
constexpr double kFlops = 2.0 * kSize * kSize * kSize;
constexpr int kHeuristics = 16;
constexpr size_t kWorkspaceBytes = size_t{64} << 20;

constexpr int kAccumulators = 8;
constexpr int kRounds = 4096;
constexpr int kWarps = 8;

// Independent m16n8k16 products per warp, operands from registers: nothing but the tensor cores can be the limit.
template <bool kBf16>
__global__ void __launch_bounds__(kWarps * 32) mma_registers_kernel(uint64_t key, float* sink) {
  uint32_t a[4], b[2];
  for (int i = 0; i < 4; ++i) a[i] = static_cast<uint32_t>(random_bits(key, threadIdx.x * 8 + i)) & 0xbfffbfffu;
  for (int i = 0; i < 2; ++i) b[i] = static_cast<uint32_t>(random_bits(key, threadIdx.x * 8 + 4 + i)) & 0xbfffbfffu;
  float sums[kAccumulators][4] = {};
  for (int round = 0; round < kRounds; ++round) {
#pragma unroll
    for (int i = 0; i < kAccumulators; ++i) {
      float* c = sums[i];
      if constexpr (kBf16) {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
      } else {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
      }
    }
  }
  float fold = 0;
  for (int i = 0; i < kAccumulators; ++i) fold += sums[i][0] + sums[i][1] + sums[i][2] + sums[i][3];
  if (fold == 0.12345f) *sink = fold;
}

double median_of(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

double mma_registers_rate(const Device& device, int32_t dtype, const Stream& stream) {
  const DeviceBuffer sink(sizeof(float));
  const unsigned grid = static_cast<unsigned>(2 * device.info.sm_count);
  const uint64_t key = stream_key(3, Tensor::kNoise, 0);
  auto launch = [&] {
    if (dtype == POLAR_BF16) {
      mma_registers_kernel<true><<<grid, kWarps * 32, 0, stream>>>(key, sink.as<float>());
    } else {
      mma_registers_kernel<false><<<grid, kWarps * 32, 0, stream>>>(key, sink.as<float>());
    }
    CHECK_LAUNCH("mma_registers");
  };
  launch();
  stream.synchronize("a matrix product");
  const Event start, stop;
  const Graph graph(stream, launch);
  std::vector<double> times;
  for (int pass = 0; pass < 7; ++pass) times.push_back(graph.time_ns(stream, start, stop));
  const double flops = 2.0 * 16 * 8 * 16 * kAccumulators * kRounds * kWarps * grid;
  return flops / median_of(times) / 1e3;
}

// The objects of one product D = A^T B, all column-major and square, freed in any case.
struct Product {
  const lt::Api& api = lt::api();
  lt::Handle handle = nullptr;
  lt::MatmulDesc desc = nullptr;
  lt::MatrixLayout layout = nullptr;
  lt::Preference preference = nullptr;

  explicit Product(int32_t dtype) : Product() {  // delegating: the destructor runs even if a line below throws
    const cudaDataType_t type = dtype == POLAR_BF16 ? CUDA_R_16BF : CUDA_R_16F;
    const lt::Op transpose = lt::Op::kT;
    const uint64_t workspace = kWorkspaceBytes;
    CHECK_CUBLASLT(api.create(&handle));
    CHECK_CUBLASLT(api.matmul_desc_create(&desc, lt::kCompute32F, CUDA_R_32F));
    CHECK_CUBLASLT(api.matmul_desc_set(desc, lt::kDescTransA, &transpose, sizeof transpose));
    CHECK_CUBLASLT(api.layout_create(&layout, type, kSize, kSize, kSize));
    CHECK_CUBLASLT(api.preference_create(&preference));
    CHECK_CUBLASLT(api.preference_set(preference, lt::kPreferenceMaxWorkspaceBytes, &workspace, sizeof workspace));
  }
  ~Product() {
    if (preference != nullptr) (void)api.preference_destroy(preference);
    if (layout != nullptr) (void)api.layout_destroy(layout);
    if (desc != nullptr) (void)api.matmul_desc_destroy(desc);
    if (handle != nullptr) (void)api.destroy(handle);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

 private:
  Product() = default;
};

double cublaslt_rate(int32_t dtype, const Stream& stream, const Reporter& reporter) {
  const auto product = std::make_unique<Product>(dtype);
  const size_t matrix_bytes = static_cast<size_t>(kSize * kSize) * 2;
  const DeviceBuffer a(matrix_bytes), b(matrix_bytes), d(matrix_bytes), workspace(kWorkspaceBytes);
  fill_random(a.as(), kSize * kSize, dtype, stream_key(2, Tensor::kNoise, 0), 1.0f, stream);
  fill_random(b.as(), kSize * kSize, dtype, stream_key(2, Tensor::kNoise, 1), 1.0f / 64, stream);
  lt::HeuristicResult results[kHeuristics];
  int found = 0;
  CHECK_CUBLASLT(product->api.heuristic(product->handle, product->desc, product->layout, product->layout,
                                        product->layout, product->layout, product->preference, kHeuristics, results,
                                        &found));
  const float one = 1.0f, zero = 0.0f;
  const Event start, stop;
  double best = 0;
  for (int i = 0; i < found; ++i) {
    reporter.alive("ceilings", 0.5 + 0.5 * i / found);
    auto launch = [&] {
      CHECK_CUBLASLT(product->api.matmul(product->handle, product->desc, &one, a.as(), product->layout, b.as(),
                                         product->layout, &zero, d.as(), product->layout, d.as(), product->layout,
                                         &results[i].algo, workspace.as(), kWorkspaceBytes, stream));
    };
    launch();
    stream.synchronize("a matrix product");
    const Graph graph(stream, launch);
    std::vector<double> times;
    for (int pass = 0; pass < 7; ++pass) times.push_back(graph.time_ns(stream, start, stop));
    best = std::max(best, kFlops / median_of(times) / 1e3);
  }
  if (best == 0) throw NativeError("E_CUBLAS", "Expected an algorithm for an 8192^3 product, got none from cuBLASLt");
  return best;
}

}  // namespace

double measure_matrix_ceiling(const Device& device, int32_t dtype, const Reporter& reporter) {
  const Stream stream;
  const double registers = mma_registers_rate(device, dtype, stream);
  reporter.number("matrix_mma_registers_tflop_per_s", registers);
  double library = 0;
  if (const char* reason = lt::unavailable_reason()) {
    reporter.text("matrix_cublaslt_unavailable", reason);
  } else {
    library = cublaslt_rate(dtype, stream, reporter);
    reporter.number("matrix_cublaslt_8192_tflop_per_s", library);
    reporter.number("cublaslt_version", static_cast<double>(lt::api().version()));
  }
  reporter.text("matrix_pattern", library >= registers ? "cublaslt_8192" : "mma_registers");
  return std::max(library, registers);
}

}  // namespace polar::cuda
