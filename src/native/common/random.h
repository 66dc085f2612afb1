// Counter-based random numbers: value = f(seed, tensor, copy, index), the same bits on every backend.
//
// The arithmetic is 64-bit integer work and one float multiplication, so a host and a device compute the same value
// without an agreement about rounding modes or fused operations. Golden values in test/native tie both.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define POLAR_HOST_DEVICE __host__ __device__
#else
#define POLAR_HOST_DEVICE
#endif

namespace polar {

// Which tensor of a problem a stream of numbers fills. Values are part of the golden tests.
enum class Tensor : uint32_t {
  kQuery = 1,
  kKey = 2,
  kValue = 3,
  kInput = 4,  // X
  kUp = 5,     // W1, gate and up rows included
  kDown = 6,   // W2
  kUpBias = 7,
  kDownBias = 8,
  kHidden = 9,   // input of the down projection when it is measured alone
  kGroups = 10,  // index sets
  kNeurons = 11,
  kNoise = 12,
  // Layers and steps; for these "copy" is the resident layer.
  kNorm1Scale = 13,
  kNorm1Bias = 14,
  kQkv = 15,
  kQkvBias = 16,
  kOut = 17,
  kOutBias = 18,
  kNorm2Scale = 19,
  kNorm2Bias = 20,
  kAttentionRouter = 21,
  kMlpRouterDown = 22,  // [rank, d]
  kMlpRouterUp = 23,    // [D, rank]
  kFinalNormScale = 24,
  kFinalNormBias = 25,
  kHead = 26  // language-model head [V, d]
};

// Finalizer of the SplitMix64 generator (Steele, Lea, Flood 2014): every input bit moves every output bit.
POLAR_HOST_DEVICE inline uint64_t mix64(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

POLAR_HOST_DEVICE inline uint64_t stream_key(uint64_t seed, Tensor tensor, uint64_t copy) {
  return mix64(mix64(seed + 0x9e3779b97f4a7c15ull) ^ mix64((static_cast<uint64_t>(tensor) << 32) + copy + 1));
}

// 64 random bits of counter `i` of a stream.
POLAR_HOST_DEVICE inline uint64_t random_bits(uint64_t key, uint64_t i) {
  return mix64(key + (i + 1) * 0x9e3779b97f4a7c15ull);
}

// Element `index` of a tensor: mean 0, standard deviation `scale`, |value| < 2.45 scale, symmetric triangular.
// Two neighbouring elements share one hash (32 bits each: the sum of two 16-bit uniforms), which halves the cost of
// filling gigabytes. The sum is exact in float; the one multiplication rounds alike everywhere.
POLAR_HOST_DEVICE inline float random_value(uint64_t key, uint64_t index, float scale) {
  const uint64_t bits = random_bits(key, index >> 1) >> ((index & 1) * 32);
  const int32_t sum = static_cast<int32_t>(bits & 0xffffu) + static_cast<int32_t>((bits >> 16) & 0xffffu) - 65535;
  return static_cast<float>(sum) * (scale * (1.0f / 26754.93f));
}

// Uniform integer in [0, bound), bound > 0. Multiply-shift: the bias is below bound / 2^32.
POLAR_HOST_DEVICE inline uint32_t random_below(uint64_t key, uint64_t i, uint32_t bound) {
  return static_cast<uint32_t>(((random_bits(key, i) >> 32) * bound) >> 32);
}

// Uniform double in (0, 1).
POLAR_HOST_DEVICE inline double random_uniform(uint64_t key, uint64_t i) {
  return (static_cast<double>(random_bits(key, i) >> 11) + 0.5) * 0x1.0p-53;
}

}  // namespace polar
