// Read bandwidth by several patterns. On an H200 bulk copies reach 98 % of the datasheet and vector loads 90 %, so a
// ceiling from loads alone would flatter every kernel. docs/kernels/ceilings.md has the figures.
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "../../src/native/common/half.h"
#include "../../src/native/common/random.h"
#include "ceilings.h"
#include "fill.h"
#include "graph.h"

namespace polar::cuda {
namespace {

constexpr int64_t kBulkBytes = 16384;
constexpr int kPasses = 9;

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
__device__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}
#endif

// One thread per block keeps `kStages` bulk copies of 16 KB in flight over an equal, contiguous range of the buffer.
// Nothing reads the data back from shared memory: the question is what the memory system delivers to an SM.
template <int kStages>
__global__ void bulk_copy_kernel(const char* src, int64_t chunks) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  extern __shared__ __align__(128) char stages[];
  __shared__ __align__(8) uint64_t full[kStages];
  const int64_t first = chunks * blockIdx.x / gridDim.x;
  const int64_t count = chunks * (blockIdx.x + 1) / gridDim.x - first;
  auto issue = [&](int64_t i) {
    const uint32_t barrier = shared_address(&full[i % kStages]);
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier),
                 "r"(static_cast<uint32_t>(kBulkBytes))
                 : "memory");
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                     shared_address(stages + i % kStages * kBulkBytes)),
                 "l"(src + (first + i) * kBulkBytes), "r"(static_cast<uint32_t>(kBulkBytes)), "r"(barrier)
                 : "memory");
  };
  for (int s = 0; s < kStages; ++s) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(&full[s])) : "memory");
  }
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  for (int64_t i = 0; i < kStages && i < count; ++i) issue(i);
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t barrier = shared_address(&full[i % kStages]);
    const uint32_t parity = static_cast<uint32_t>(i / kStages % 2);
    uint32_t done = 0;
    while (done == 0) {
      asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                   : "=r"(done)
                   : "r"(barrier), "r"(parity)
                   : "memory");
    }
    if (i + kStages < count) issue(i + kStages);
  }
#else
  (void)src, (void)chunks;
#endif
}

// 16-byte loads, `kUnroll` of them in flight per thread, over an equal contiguous range per block. The xor keeps the
// loads alive; it never equals the flag in random data, and if it did one harmless word would be written.
template <int kUnroll>
__global__ void __launch_bounds__(512) vector_load_kernel(const uint4* src, int64_t vectors, uint32_t* sink) {
  const int64_t step = static_cast<int64_t>(blockDim.x) * kUnroll;
  const int64_t tiles = vectors / step;
  const int64_t first = tiles * blockIdx.x / gridDim.x;
  const int64_t last = tiles * (blockIdx.x + 1) / gridDim.x;
  uint32_t fold = 0;
  for (int64_t tile = first; tile < last; ++tile) {
    uint4 loaded[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) loaded[u] = __ldcs(src + tile * step + u * blockDim.x + threadIdx.x);
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) fold ^= loaded[u].x ^ loaded[u].y ^ loaded[u].z ^ loaded[u].w;
  }
  if (fold == 0x5eed5eedu) *sink = fold;
}

struct Pattern {
  std::string name;
  std::function<void(cudaStream_t)> launch;
};

template <int kStages>
void add_bulk(std::vector<Pattern>& patterns, const Device& device, const DeviceBuffer& buffer, int blocks_per_sm) {
  constexpr size_t kShared = static_cast<size_t>(kStages * kBulkBytes);
  if ((kShared + 1024 + 256) * static_cast<size_t>(blocks_per_sm) > device.info.shared_bytes_per_sm) return;
  CHECK_CUDA(cudaFuncSetAttribute(bulk_copy_kernel<kStages>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(kShared)));
  const unsigned grid = static_cast<unsigned>(device.info.sm_count * blocks_per_sm);
  patterns.push_back({"bulk_16k_stages" + std::to_string(kStages) + "_blocks" + std::to_string(blocks_per_sm),
                      [grid, &buffer](cudaStream_t stream) {
                        bulk_copy_kernel<kStages><<<grid, 1, kShared, stream>>>(
                            buffer.as<char>(), static_cast<int64_t>(buffer.bytes()) / kBulkBytes);
                        CHECK_LAUNCH("bulk_copy");
                      }});
}

template <int kUnroll>
void add_vector(std::vector<Pattern>& patterns, const Device& device, const DeviceBuffer& buffer,
                const DeviceBuffer& sink, int blocks_per_sm) {
  const unsigned grid = static_cast<unsigned>(device.info.sm_count * blocks_per_sm);
  patterns.push_back({"vector_16b_unroll" + std::to_string(kUnroll) + "_blocks" + std::to_string(blocks_per_sm),
                      [grid, &buffer, &sink](cudaStream_t stream) {
                        vector_load_kernel<kUnroll><<<grid, 512, 0, stream>>>(
                            buffer.as<uint4>(), static_cast<int64_t>(buffer.bytes() / sizeof(uint4)),
                            sink.as<uint32_t>());
                        CHECK_LAUNCH("vector_load");
                      }});
}

std::vector<Pattern> patterns_for(const Device& device, const DeviceBuffer& buffer, const DeviceBuffer& sink) {
  std::vector<Pattern> patterns;
  if (device.info.compute_major >= 9) {
    add_bulk<4>(patterns, device, buffer, 1);
    add_bulk<8>(patterns, device, buffer, 1);
    add_bulk<3>(patterns, device, buffer, 2);
    add_bulk<4>(patterns, device, buffer, 2);
    add_bulk<4>(patterns, device, buffer, 3);
  }
  add_vector<4>(patterns, device, buffer, sink, 4);
  add_vector<8>(patterns, device, buffer, sink, 2);
  add_vector<8>(patterns, device, buffer, sink, 4);
  return patterns;
}

}  // namespace

double measure_read_ceiling(const Device& device, const Reporter& reporter) {
  const size_t wanted = size_t{4} << 30;
  const size_t bytes = std::min(wanted, memory_info().available / 4) / (size_t{1} << 20) * (size_t{1} << 20);
  if (bytes < 8 * device.info.l2_bytes) {
    throw NativeError("E_OUT_OF_MEMORY", "Expected free memory of 32 times the L2 cache for the read ceiling, got " +
                                             std::to_string(memory_info().available) + " bytes");
  }
  const Stream stream;
  const Event start, stop;
  const DeviceBuffer buffer(bytes), sink(sizeof(uint32_t));
  fill_random(buffer.as(), static_cast<int64_t>(bytes / 2), POLAR_BF16, stream_key(1, Tensor::kNoise, 0), 1.0f, stream);
  stream.synchronize("a read pattern");

  double best = 0;
  std::string winner;
  const std::vector<Pattern> patterns = patterns_for(device, buffer, sink);
  for (size_t i = 0; i < patterns.size(); ++i) {
    reporter.alive("ceilings", 0.5 * static_cast<double>(i) / static_cast<double>(patterns.size()));
    patterns[i].launch(stream);  // loads the kernel
    stream.synchronize("a read pattern");
    const Graph graph(stream, [&] { patterns[i].launch(stream); });
    std::vector<double> times;
    for (int pass = 0; pass < kPasses; ++pass) times.push_back(graph.time_ns(stream, start, stop));
    std::nth_element(times.begin(), times.begin() + kPasses / 2, times.end());
    const double rate = static_cast<double>(bytes) / times[kPasses / 2];
    reporter.number(("read_" + patterns[i].name + "_gb_per_s").c_str(), rate);
    if (rate > best) best = rate, winner = patterns[i].name;
  }
  reporter.text("read_pattern", winner);
  return best;
}

void measure_ceilings(const Device& device, int32_t dtype, const Reporter& reporter) {
  reporter.number("read_gb_per_s", measure_read_ceiling(device, reporter));
  reporter.number("matrix_tflop_per_s", measure_matrix_ceiling(device, dtype, reporter));
  reporter.alive("ceilings", 1.0);
}

}  // namespace polar::cuda
