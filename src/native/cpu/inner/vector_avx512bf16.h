// bf16 on machines with vdpbf16ps: a register holds 32 stored values and one instruction adds two products per lane.
// Included after vector_avx512.h, in the same namespace.
//
// The products are exact and the sums are float32; the second operand is bf16 too. For p * V that rounds the softmax
// numerators to bf16, as flash attention on tensor cores does; the error stays below that of the naive bf16 reference.

struct Bf16Dot : Vec {
  using W = __m512i;
  using X = uint16_t;
  using Coef = uint32_t;  // two bf16 values, for the two rows of a pair
  static constexpr int kDotStep = 32;
  static constexpr int kDotParts = 1;
  static constexpr int kRows = 2;
  static constexpr int kCols = 32;
  POLAR_INLINE int64_t x_position(int64_t i) { return i; }
  POLAR_INLINE W load_w(const uint16_t* p, int = 0) { return _mm512_loadu_si512(p); }
  POLAR_INLINE W load_w_part(const uint16_t* p, int64_t count, int = 0) {
    return _mm512_maskz_loadu_epi16(static_cast<__mmask32>((uint64_t{1} << count) - 1u), p);
  }
  POLAR_INLINE W load_x(const uint16_t* p) { return _mm512_loadu_si512(p); }
  POLAR_INLINE F dot(F acc, W w, W x) { return _mm512_dpbf16_ps(acc, (__m512bh)w, (__m512bh)x); }
  // Interleaves two rows: lane i of lo and hi holds both rows' values of one column.
  POLAR_INLINE void interleave(W a, W b, W& lo, W& hi) {
    lo = _mm512_unpacklo_epi16(a, b);
    hi = _mm512_unpackhi_epi16(a, b);
  }
  POLAR_INLINE void load_rows(const uint16_t* a, const uint16_t* b, W& lo, W& hi) {
    interleave(load_w(a), load_w(b), lo, hi);
  }
  POLAR_INLINE void load_rows_part(const uint16_t* a, const uint16_t* b, int64_t count, W& lo, W& hi) {
    interleave(load_w_part(a, count), load_w_part(b, count), lo, hi);
  }
  POLAR_INLINE Coef make_coef(float a, float b) {
    return static_cast<uint32_t>(float_to_bf16(a)) | static_cast<uint32_t>(float_to_bf16(b)) << 16;
  }
  POLAR_INLINE W load_coef(const Coef* p) { return _mm512_set1_epi32(static_cast<int32_t>(*p)); }
  POLAR_INLINE F madd(F acc, W w, W coef) { return _mm512_dpbf16_ps(acc, (__m512bh)w, (__m512bh)coef); }
  // lo holds columns 8l..8l+3 and hi 8l+4..8l+7 of each 128-bit lane l; afterwards columns 0..15 and 16..31.
  POLAR_INLINE void order(F& lo, F& hi) {
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i second = _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    const F a = _mm512_permutex2var_ps(lo, first, hi);
    hi = _mm512_permutex2var_ps(lo, second, hi);
    lo = a;
  }
  POLAR_INLINE uint16_t to_x(uint16_t h) { return h; }
  POLAR_INLINE float to_float(uint16_t h) { return bf16_to_float(h); }
  POLAR_INLINE uint16_t to_half(float x) { return float_to_bf16(x); }
};
