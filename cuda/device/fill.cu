#include "../../src/native/common/half.h"
#include "../../src/native/common/random.h"
#include "../common/check.h"
#include "fill.h"
#include "half.cuh"

namespace polar::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPerThread = 8;  // one 16-byte store, four hashes

unsigned blocks_for(int64_t items) {
  const int64_t blocks = (items + kThreads - 1) / kThreads;
  return static_cast<unsigned>(blocks<1 ? 1 : blocks>(1 << 20) ? (1 << 20) : blocks);
}

__device__ int64_t global_thread() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ int64_t global_threads() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

// random_value with the multiplication pinned, so that no compiler flag can fuse or approximate it.
__device__ uint16_t random_half(uint32_t bits, float factor, int32_t dtype) {
  const int32_t sum = static_cast<int32_t>(bits & 0xffffu) + static_cast<int32_t>(bits >> 16) - 65535;
  return float_to_half_bits(__fmul_rn(static_cast<float>(sum), factor), dtype);
}

__device__ uint32_t random_pair(uint64_t key, int64_t pair, float factor, int32_t dtype) {
  const uint64_t bits = random_bits(key, static_cast<uint64_t>(pair));
  const uint32_t low = random_half(static_cast<uint32_t>(bits), factor, dtype);
  const uint32_t high = random_half(static_cast<uint32_t>(bits >> 32), factor, dtype);
  return low | (high << 16);
}

// `run_length` elements hold positions of `head_dim` each, of which the first `length` are real.
__global__ void fill_random_kernel(uint16_t* dst, int64_t count, int32_t dtype, uint64_t key, float factor,
                                   int64_t head_dim, int64_t capacity, int64_t length) {
  const int64_t chunks = (count + kPerThread - 1) / kPerThread;
  for (int64_t chunk = global_thread(); chunk < chunks; chunk += global_threads()) {
    const int64_t first = chunk * kPerThread;
    uint32_t words[kPerThread / 2];
    const bool poison = length < capacity && (first / head_dim) % capacity >= length;
    for (int i = 0; i < kPerThread / 2; ++i) {
      words[i] = poison ? kHalfNaN * 0x00010001u : random_pair(key, first / 2 + i, factor, dtype);
    }
    if (first + kPerThread <= count) {
      *reinterpret_cast<uint4*>(dst + first) = make_uint4(words[0], words[1], words[2], words[3]);
    } else {
      for (int i = 0; first + i < count; ++i) dst[first + i] = static_cast<uint16_t>(words[i / 2] >> (16 * (i % 2)));
    }
  }
}

__global__ void fill_nan_kernel(uint16_t* dst, int64_t count) {
  for (int64_t i = global_thread(); i < count; i += global_threads()) dst[i] = kHalfNaN;
}

__global__ void gather_columns_kernel(uint16_t* dst, const uint16_t* src, int64_t rows, int64_t src_columns,
                                      const int32_t* columns, int64_t num_columns) {
  for (int64_t i = global_thread(); i < rows * num_columns; i += global_threads()) {
    dst[i] = src[i / num_columns * src_columns + columns[i % num_columns]];
  }
}

__global__ void count_differences_kernel(const uint16_t* a, const uint16_t* b, int64_t count,
                                         unsigned long long* differences) {
  unsigned long long mine = 0;
  for (int64_t i = global_thread(); i < count; i += global_threads()) mine += a[i] != b[i];
  if (mine > 0) atomicAdd(differences, mine);
}

void fill(void* dst, int64_t count, int32_t dtype, uint64_t key, float scale, int64_t head_dim, int64_t capacity,
          int64_t length, cudaStream_t stream) {
  if (count == 0) return;
  const float factor = scale * (1.0f / 26754.93f);  // the host's expression, evaluated on the host
  fill_random_kernel<<<blocks_for((count + kPerThread - 1) / kPerThread), kThreads, 0, stream>>>(
      static_cast<uint16_t*>(dst), count, dtype, key, factor, head_dim, capacity, length);
  CHECK_LAUNCH("fill_random");
}

}  // namespace

void fill_random(void* dst, int64_t count, int32_t dtype, uint64_t key, float scale, cudaStream_t stream) {
  fill(dst, count, dtype, key, scale, 1, 1, 1, stream);
}

void fill_cache(void* dst, int64_t runs, int64_t capacity, int64_t length, int64_t head_dim, int32_t dtype,
                uint64_t key, float scale, cudaStream_t stream) {
  fill(dst, runs * capacity * head_dim, dtype, key, scale, head_dim, capacity, length, stream);
}

void fill_nan(void* dst, int64_t count, cudaStream_t stream) {
  if (count == 0) return;
  fill_nan_kernel<<<blocks_for(count), kThreads, 0, stream>>>(static_cast<uint16_t*>(dst), count);
  CHECK_LAUNCH("fill_nan");
}

void gather_columns(void* dst, const void* src, int64_t rows, int64_t src_columns, const int32_t* columns,
                    int64_t num_columns, cudaStream_t stream) {
  gather_columns_kernel<<<blocks_for(rows * num_columns), kThreads, 0, stream>>>(
      static_cast<uint16_t*>(dst), static_cast<const uint16_t*>(src), rows, src_columns, columns, num_columns);
  CHECK_LAUNCH("gather_columns");
}

void count_differences(const void* a, const void* b, int64_t count, unsigned long long* differences,
                       cudaStream_t stream) {
  count_differences_kernel<<<blocks_for(count), kThreads, 0, stream>>>(
      static_cast<const uint16_t*>(a), static_cast<const uint16_t*>(b), count, differences);
  CHECK_LAUNCH("count_differences");
}

}  // namespace polar::cuda
