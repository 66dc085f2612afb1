// Vector layer for AVX-512 (F, BW, DQ, VL), sixteen floats. What each member means: vector_portable.h.

#define POLAR_INLINE static inline __attribute__((always_inline))

struct Vec {
  using F = __m512;
  static constexpr int kLanes = 16;
  static constexpr int kMaxQueries = 4;
  static constexpr int kMaxBatch = 6;
  static constexpr int kMaxDownBatch = 8;
  POLAR_INLINE F zero() { return _mm512_setzero_ps(); }
  POLAR_INLINE F set1(float x) { return _mm512_set1_ps(x); }
  POLAR_INLINE F load(const float* p) { return _mm512_loadu_ps(p); }
  POLAR_INLINE void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  POLAR_INLINE F add(F a, F b) { return _mm512_add_ps(a, b); }
  POLAR_INLINE F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  POLAR_INLINE F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  POLAR_INLINE F div(F a, F b) { return _mm512_div_ps(a, b); }
  POLAR_INLINE F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  POLAR_INLINE F max(F a, F b) { return _mm512_max_ps(a, b); }
  POLAR_INLINE F round(F a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  POLAR_INLINE F pow2(F n) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
  }
  POLAR_INLINE F bit_xor(F a, F b) { return _mm512_xor_ps(a, b); }
  POLAR_INLINE float sum(F a) { return _mm512_reduce_add_ps(a); }
  POLAR_INLINE float highest(F a) { return _mm512_reduce_max_ps(a); }
  POLAR_INLINE void store_sums(float* out, F a, F b, F c, F d) {
    const __m512d ab = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
    const __m512d cd = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
    // every 128-bit lane of t: partial sums of a, b, c, d
    const F t =
        _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)), _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
    const __m256 u = _mm256_add_ps(_mm512_castps512_ps256(t), _mm512_extractf32x8_ps(t, 1));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(u), _mm256_extractf128_ps(u, 1)));
  }
};

template <class Widen>
struct FloatPath : Vec {
  using W = F;
  using X = float;
  using Coef = float;
  static constexpr int kDotStep = 16;
  static constexpr int kDotParts = 1;
  static constexpr int kRows = 1;
  static constexpr int kCols = 32;
  POLAR_INLINE int64_t x_position(int64_t i) { return i; }
  POLAR_INLINE W load_w(const uint16_t* p, int = 0) {
    return Widen::widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  POLAR_INLINE W load_w_part(const uint16_t* p, int64_t count, int = 0) {
    return Widen::widen(_mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << count) - 1u), p));
  }
  POLAR_INLINE F load_x(const float* p) { return load(p); }
  POLAR_INLINE F dot(F acc, W w, F x) { return fma(w, x, acc); }
  POLAR_INLINE void load_rows(const uint16_t* a, const uint16_t*, W& lo, W& hi) {
    lo = load_w(a);
    hi = load_w(a + 16);
  }
  POLAR_INLINE void load_rows_part(const uint16_t* a, const uint16_t*, int64_t count, W& lo, W& hi) {
    lo = load_w_part(a, count < 16 ? count : 16);
    hi = count > 16 ? load_w_part(a + 16, count - 16) : zero();
  }
  POLAR_INLINE Coef make_coef(float a, float) { return a; }
  POLAR_INLINE F load_coef(const Coef* p) { return set1(*p); }
  POLAR_INLINE F madd(F acc, W w, F coef) { return fma(w, coef, acc); }
  POLAR_INLINE void order(F&, F&) {}
  POLAR_INLINE float to_x(uint16_t h) { return Widen::to_float(h); }
  POLAR_INLINE float to_float(uint16_t h) { return Widen::to_float(h); }
  POLAR_INLINE uint16_t to_half(float x) { return Widen::to_half(x); }
};

struct WidenBf16 {
  POLAR_INLINE __m512 widen(__m256i h) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16)); }
  POLAR_INLINE float to_float(uint16_t h) { return bf16_to_float(h); }
  POLAR_INLINE uint16_t to_half(float x) { return float_to_bf16(x); }
};

struct WidenFp16 {
  POLAR_INLINE __m512 widen(__m256i h) { return _mm512_cvtph_ps(h); }
  POLAR_INLINE float to_float(uint16_t h) { return _cvtsh_ss(h); }
  POLAR_INLINE uint16_t to_half(float x) { return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }
};

// A bf16 is the upper half of a float32, so that one instruction on a pair of neighbours yields either of them: a shift
// the even one, a mask the odd one. That saves the zero extension; what meets the weights is kept in the same order.
struct Bf16 : FloatPath<WidenBf16> {
  static constexpr int kDotStep = 32;
  static constexpr int kDotParts = 2;
  POLAR_INLINE int64_t x_position(int64_t i) { return i / 32 * 32 + i % 2 * 16 + i % 32 / 2; }
  POLAR_INLINE W half(__m512i pairs, int part) {
    return _mm512_castsi512_ps(part == 0 ? _mm512_slli_epi32(pairs, 16)
                                         : _mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
  }
  POLAR_INLINE __m512i pairs_part(const uint16_t* p, int64_t count) {
    return _mm512_maskz_loadu_epi16(static_cast<__mmask32>((uint64_t{1} << count) - 1u), p);
  }
  POLAR_INLINE W load_w(const uint16_t* p, int part = 0) { return half(_mm512_loadu_si512(p), part); }
  POLAR_INLINE W load_w_part(const uint16_t* p, int64_t count, int part = 0) {
    return half(pairs_part(p, count), part);
  }
  POLAR_INLINE void load_rows(const uint16_t* a, const uint16_t*, W& lo, W& hi) {
    const __m512i pairs = _mm512_loadu_si512(a);
    lo = half(pairs, 0);
    hi = half(pairs, 1);
  }
  POLAR_INLINE void load_rows_part(const uint16_t* a, const uint16_t*, int64_t count, W& lo, W& hi) {
    const __m512i pairs = pairs_part(a, count);
    lo = half(pairs, 0);
    hi = half(pairs, 1);
  }
  // lo holds the even and hi the odd columns; afterwards columns 0..15 and 16..31.
  POLAR_INLINE void order(F& lo, F& hi) {
    const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i second = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    const F a = _mm512_permutex2var_ps(lo, first, hi);
    hi = _mm512_permutex2var_ps(lo, second, hi);
    lo = a;
  }
};
using Bf16Plain = FloatPath<WidenBf16>;
using Fp16 = FloatPath<WidenFp16>;
