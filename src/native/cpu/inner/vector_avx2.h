// Vector layer for AVX2 + FMA + F16C, eight floats. What each member means: vector_portable.h.

#define POLAR_INLINE static inline __attribute__((always_inline))

struct Vec {
  using F = __m256;
  static constexpr int kLanes = 8;
  static constexpr int kMaxQueries = 2;
  static constexpr int kMaxBatch = 2;
  static constexpr int kMaxDownBatch = 4;
  POLAR_INLINE F zero() { return _mm256_setzero_ps(); }
  POLAR_INLINE F set1(float x) { return _mm256_set1_ps(x); }
  POLAR_INLINE F load(const float* p) { return _mm256_loadu_ps(p); }
  POLAR_INLINE void store(float* p, F x) { _mm256_storeu_ps(p, x); }
  POLAR_INLINE F add(F a, F b) { return _mm256_add_ps(a, b); }
  POLAR_INLINE F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  POLAR_INLINE F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  POLAR_INLINE F div(F a, F b) { return _mm256_div_ps(a, b); }
  POLAR_INLINE F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  POLAR_INLINE F max(F a, F b) { return _mm256_max_ps(a, b); }
  POLAR_INLINE F round(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  POLAR_INLINE F pow2(F n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
  }
  POLAR_INLINE F bit_xor(F a, F b) { return _mm256_xor_ps(a, b); }
  POLAR_INLINE float sum(F a) {
    float out[4];
    store_sums(out, a, a, a, a);
    return out[0];
  }
  POLAR_INLINE float highest(F a) {
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
  }
  POLAR_INLINE void store_sums(float* out, F a, F b, F c, F d) {
    const F t = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(t), _mm256_extractf128_ps(t, 1)));
  }
};

template <class Widen>
struct FloatPath : Vec {
  using W = F;
  using X = float;
  using Coef = float;
  static constexpr int kDotStep = 8;
  static constexpr int kDotParts = 1;
  static constexpr int kRows = 1;
  static constexpr int kCols = 16;
  POLAR_INLINE int64_t x_position(int64_t i) { return i; }
  POLAR_INLINE W load_w(const uint16_t* p, int = 0) {
    return Widen::widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  POLAR_INLINE W load_w_part(const uint16_t* p, int64_t, int = 0) { return load_w(p); }  // rows are multiples of 8
  POLAR_INLINE F load_x(const float* p) { return load(p); }
  POLAR_INLINE F dot(F acc, W w, F x) { return fma(w, x, acc); }
  POLAR_INLINE void load_rows(const uint16_t* a, const uint16_t*, W& lo, W& hi) {
    lo = load_w(a);
    hi = load_w(a + 8);
  }
  POLAR_INLINE void load_rows_part(const uint16_t* a, const uint16_t*, int64_t, W& lo, W& hi) {
    lo = load_w(a);
    hi = zero();
  }
  POLAR_INLINE Coef make_coef(float a, float) { return a; }
  POLAR_INLINE F load_coef(const Coef* p) { return _mm256_broadcast_ss(p); }
  POLAR_INLINE F madd(F acc, W w, F coef) { return fma(w, coef, acc); }
  POLAR_INLINE void order(F&, F&) {}
  POLAR_INLINE float to_x(uint16_t h) { return Widen::to_float(h); }
  POLAR_INLINE float to_float(uint16_t h) { return Widen::to_float(h); }
  POLAR_INLINE uint16_t to_half(float x) { return Widen::to_half(x); }
};

struct WidenBf16 {
  POLAR_INLINE __m256 widen(__m128i h) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16)); }
  POLAR_INLINE float to_float(uint16_t h) { return bf16_to_float(h); }
  POLAR_INLINE uint16_t to_half(float x) { return float_to_bf16(x); }
};

struct WidenFp16 {
  POLAR_INLINE __m256 widen(__m128i h) { return _mm256_cvtph_ps(h); }
  POLAR_INLINE float to_float(uint16_t h) { return _cvtsh_ss(h); }
  POLAR_INLINE uint16_t to_half(float x) { return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }
};

using Bf16 = FloatPath<WidenBf16>;
using Fp16 = FloatPath<WidenFp16>;
