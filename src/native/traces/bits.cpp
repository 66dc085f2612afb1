#include "bits.h"

#include <bit>
#include <cstring>
#include <stdexcept>

#if defined(__x86_64__)
#include <immintrin.h>
#define POLAR_X86 1
#endif

namespace polar::traces {
namespace {

template <typename T>
inline T load(const std::uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

// A float is > 0 exactly when its bits, read as a signed integer, lie in 1 .. bits(+inf): sign clear, not zero, not
// NaN.
constexpr std::int32_t kInfF16 = 0x7C00;
constexpr std::int32_t kInfBF16 = 0x7F80;
constexpr std::int32_t kInfF32 = 0x7F800000;

std::uint64_t popcount_portable(const std::uint8_t* src, std::size_t bytes) {
  std::uint64_t count = 0;
  std::size_t i = 0;
  for (; i + 8 <= bytes; i += 8) count += std::popcount(load<std::uint64_t>(src + i));
  for (; i < bytes; ++i) count += std::popcount(src[i]);
  return count;
}

void or_portable(std::uint8_t* dst, const std::uint8_t* src, std::size_t bytes) {
  std::size_t i = 0;
  for (; i + 8 <= bytes; i += 8) {
    const std::uint64_t value = load<std::uint64_t>(dst + i) | load<std::uint64_t>(src + i);
    std::memcpy(dst + i, &value, 8);
  }
  for (; i < bytes; ++i) dst[i] |= src[i];
}

// Neurons first .. neurons - 1; `first` is a multiple of 8 so that the bytes before it are complete.
template <typename Signed, std::int32_t kInf>
std::uint64_t pack_scalar(std::uint8_t* dst, const std::uint8_t* src, std::size_t first, std::size_t neurons) {
  using Unsigned = std::make_unsigned_t<Signed>;
  constexpr Unsigned kMagnitude = static_cast<Unsigned>(~Unsigned{0}) >> 1;
  std::uint64_t nan = 0;
  for (std::size_t j = first; j < neurons; j += 8) {
    std::uint8_t byte = 0;
    const std::size_t end = neurons - j < 8 ? neurons - j : 8;
    for (std::size_t k = 0; k < end; ++k) {
      const auto bits = load<Signed>(src + (j + k) * sizeof(Signed));
      byte |= static_cast<std::uint8_t>((bits > 0 && bits <= kInf) << k);
      nan += (static_cast<Unsigned>(bits) & kMagnitude) > static_cast<Unsigned>(kInf);
    }
    dst[j / 8] = byte;
  }
  return nan;
}

std::uint64_t pack_f16_portable(std::uint8_t* dst, const std::uint8_t* src, std::size_t neurons) {
  return pack_scalar<std::int16_t, kInfF16>(dst, src, 0, neurons);
}
std::uint64_t pack_bf16_portable(std::uint8_t* dst, const std::uint8_t* src, std::size_t neurons) {
  return pack_scalar<std::int16_t, kInfBF16>(dst, src, 0, neurons);
}
std::uint64_t pack_f32_portable(std::uint8_t* dst, const std::uint8_t* src, std::size_t neurons) {
  return pack_scalar<std::int32_t, kInfF32>(dst, src, 0, neurons);
}

constexpr BitKernels kPortableKernels{popcount_portable, or_portable, pack_f16_portable, pack_bf16_portable,
                                      pack_f32_portable};

#if POLAR_X86
#define POLAR_AVX2 __attribute__((target("avx2,popcnt")))
#define POLAR_AVX512 __attribute__((target("avx512f,avx512bw,avx512vpopcntdq,popcnt")))

// Counts nibbles by table lookup; the byte sums stay below 256 for 31 rounds, here they are widened every round.
POLAR_AVX2 std::uint64_t popcount_avx2(const std::uint8_t* src, std::size_t bytes) {
  const __m256i table =
      _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i nibble = _mm256_set1_epi8(0x0F);
  __m256i total = _mm256_setzero_si256();
  std::size_t i = 0;
  for (; i + 32 <= bytes; i += 32) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(src + i));
    const __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(v, nibble));
    const __m256i high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble));
    total = _mm256_add_epi64(total, _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256()));
  }
  alignas(32) std::uint64_t lanes[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), total);
  return lanes[0] + lanes[1] + lanes[2] + lanes[3] + popcount_portable(src + i, bytes - i);
}

POLAR_AVX2 void or_avx2(std::uint8_t* dst, const std::uint8_t* src, std::size_t bytes) {
  std::size_t i = 0;
  for (; i + 32 <= bytes; i += 32) {
    const __m256i d = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(dst + i));
    const __m256i s = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(src + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + i), _mm256_or_si256(d, s));
  }
  or_portable(dst + i, src + i, bytes - i);
}

template <std::int32_t kInf>
POLAR_AVX2 std::uint64_t pack16_avx2(std::uint8_t* dst, const std::uint8_t* src, std::size_t neurons) {
  const __m256i zero = _mm256_setzero_si256();
  const __m256i inf = _mm256_set1_epi16(static_cast<std::int16_t>(kInf));
  const __m256i magnitude = _mm256_set1_epi16(0x7FFF);
  std::uint64_t nan = 0;
  std::size_t j = 0;
  for (; j + 32 <= neurons; j += 32) {
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(src + j * 2));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(src + j * 2 + 32));
    const __m256i active_a = _mm256_andnot_si256(_mm256_cmpgt_epi16(a, inf), _mm256_cmpgt_epi16(a, zero));
    const __m256i active_b = _mm256_andnot_si256(_mm256_cmpgt_epi16(b, inf), _mm256_cmpgt_epi16(b, zero));
    const __m256i nan_a = _mm256_cmpgt_epi16(_mm256_and_si256(a, magnitude), inf);
    const __m256i nan_b = _mm256_cmpgt_epi16(_mm256_and_si256(b, magnitude), inf);
    // packs interleaves 128-bit halves; the permutation restores the order of the neurons.
    const __m256i active = _mm256_permute4x64_epi64(_mm256_packs_epi16(active_a, active_b), 0xD8);
    const std::uint32_t bits = static_cast<std::uint32_t>(_mm256_movemask_epi8(active));
    std::memcpy(dst + j / 8, &bits, 4);
    nan += std::popcount(static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_packs_epi16(nan_a, nan_b))));
  }
  return nan + pack_scalar<std::int16_t, kInf>(dst, src, j, neurons);
}

POLAR_AVX2 std::uint64_t pack_f32_avx2(std::uint8_t* dst, const std::uint8_t* src, std::size_t neurons) {
  const __m256 zero = _mm256_setzero_ps();
  std::uint64_t nan = 0;
  std::size_t j = 0;
  for (; j + 8 <= neurons; j += 8) {
    const __m256 v = _mm256_loadu_ps(reinterpret_cast<const float*>(src + j * 4));
    dst[j / 8] = static_cast<std::uint8_t>(_mm256_movemask_ps(_mm256_cmp_ps(v, zero, _CMP_GT_OQ)));
    nan += std::popcount(static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(v, v, _CMP_UNORD_Q))));
  }
  return nan + pack_scalar<std::int32_t, kInfF32>(dst, src, j, neurons);
}

constexpr BitKernels kAvx2Kernels{popcount_avx2, or_avx2, pack16_avx2<kInfF16>, pack16_avx2<kInfBF16>, pack_f32_avx2};

POLAR_AVX512 std::uint64_t popcount_avx512(const std::uint8_t* src, std::size_t bytes) {
  __m512i total0 = _mm512_setzero_si512();
  __m512i total1 = _mm512_setzero_si512();
  std::size_t i = 0;
  for (; i + 128 <= bytes; i += 128) {
    total0 = _mm512_add_epi64(total0, _mm512_popcnt_epi64(_mm512_loadu_si512(src + i)));
    total1 = _mm512_add_epi64(total1, _mm512_popcnt_epi64(_mm512_loadu_si512(src + i + 64)));
  }
  alignas(64) std::uint64_t lanes[8];
  _mm512_store_si512(lanes, _mm512_add_epi64(total0, total1));
  std::uint64_t sum = popcount_portable(src + i, bytes - i);
  for (const std::uint64_t lane : lanes) sum += lane;
  return sum;
}

POLAR_AVX512 void or_avx512(std::uint8_t* dst, const std::uint8_t* src, std::size_t bytes) {
  std::size_t i = 0;
  for (; i + 64 <= bytes; i += 64) {
    _mm512_storeu_si512(dst + i, _mm512_or_si512(_mm512_loadu_si512(dst + i), _mm512_loadu_si512(src + i)));
  }
  or_portable(dst + i, src + i, bytes - i);
}

template <std::int32_t kInf>
POLAR_AVX512 std::uint64_t pack16_avx512(std::uint8_t* dst, const std::uint8_t* src, std::size_t neurons) {
  const __m512i zero = _mm512_setzero_si512();
  const __m512i inf = _mm512_set1_epi16(static_cast<std::int16_t>(kInf));
  const __m512i magnitude = _mm512_set1_epi16(0x7FFF);
  std::uint64_t nan = 0;
  std::size_t j = 0;
  for (; j + 32 <= neurons; j += 32) {
    const __m512i v = _mm512_loadu_si512(src + j * 2);
    const std::uint32_t bits = _mm512_cmpgt_epi16_mask(v, zero) & _mm512_cmple_epi16_mask(v, inf);
    std::memcpy(dst + j / 8, &bits, 4);
    nan += std::popcount(static_cast<std::uint32_t>(_mm512_cmpgt_epi16_mask(_mm512_and_si512(v, magnitude), inf)));
  }
  return nan + pack_scalar<std::int16_t, kInf>(dst, src, j, neurons);
}

POLAR_AVX512 std::uint64_t pack_f32_avx512(std::uint8_t* dst, const std::uint8_t* src, std::size_t neurons) {
  std::uint64_t nan = 0;
  std::size_t j = 0;
  for (; j + 16 <= neurons; j += 16) {
    const __m512 v = _mm512_loadu_ps(src + j * 4);
    const std::uint16_t bits = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_GT_OQ);
    std::memcpy(dst + j / 8, &bits, 2);
    nan += std::popcount(static_cast<std::uint16_t>(_mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q)));
  }
  return nan + pack_scalar<std::int32_t, kInfF32>(dst, src, j, neurons);
}

constexpr BitKernels kAvx512Kernels{popcount_avx512, or_avx512, pack16_avx512<kInfF16>, pack16_avx512<kInfBF16>,
                                    pack_f32_avx512};

bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt"); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vpopcntdq");
}
#endif

}  // namespace

std::uint64_t row_bytes(Element element, std::uint64_t neurons) {
  switch (element) {
    case Element::kMask:
      return neurons / 8 + (neurons % 8 != 0);
    case Element::kF16:
    case Element::kBF16:
      return neurons * 2;
    case Element::kF32:
      return neurons * 4;
  }
  throw std::invalid_argument("Expected a known element type");
}

Isa best_isa() {
#if POLAR_X86
  if (has_avx512()) return Isa::kAvx512;
  if (has_avx2()) return Isa::kAvx2;
#endif
  return Isa::kPortable;
}

std::string isa_name(Isa isa) { return isa == Isa::kAvx512 ? "avx512" : isa == Isa::kAvx2 ? "avx2" : "portable"; }

const BitKernels& kernels_for(Isa isa) {
#if POLAR_X86
  if (isa == Isa::kAvx512 && has_avx512()) return kAvx512Kernels;
  if (isa == Isa::kAvx2 && has_avx2()) return kAvx2Kernels;
#endif
  if (isa == Isa::kPortable) return kPortableKernels;
  throw std::invalid_argument("Expected an instruction set of this CPU, got " + isa_name(isa));
}

}  // namespace polar::traces
