// Vector layer for any processor: four floats in the compiler's own vector type (NEON on aarch64, SSE2 on x86-64).
//
// A storage class (Bf16, Fp16) offers: W, the operand made of stored weights; X and load_x, the prepared other side of
// a dot product; kDotParts dot()s per kDotStep elements, for which x_position() says where prepared element i of a row
// lies; kRows rows by kCols columns per load_rows(), which yields the columns in
// two accumulator registers; Coef, what each row is multiplied with; order(), which undoes a permutation of the two.
// Included inside a namespace of its own; no include guard on purpose.

#define POLAR_INLINE static inline __attribute__((always_inline))

typedef float V4f __attribute__((vector_size(16)));
typedef int32_t V4i __attribute__((vector_size(16)));
typedef uint32_t V4u __attribute__((vector_size(16)));
typedef uint16_t V4h __attribute__((vector_size(8)));

struct Vec {
  using F = V4f;
  static constexpr int kLanes = 4;
  static constexpr int kMaxQueries = 2;  // query rows (attention) in registers together
  static constexpr int kMaxBatch = 2;    // batch rows of the up projection's register block
  static constexpr int kMaxDownBatch = 4;
  POLAR_INLINE F zero() { return F{0, 0, 0, 0}; }
  POLAR_INLINE F set1(float x) { return F{x, x, x, x}; }
  POLAR_INLINE F load(const float* p) {
    F x;
    __builtin_memcpy(&x, p, sizeof x);
    return x;
  }
  POLAR_INLINE void store(float* p, F x) { __builtin_memcpy(p, &x, sizeof x); }
  POLAR_INLINE F add(F a, F b) { return a + b; }
  POLAR_INLINE F sub(F a, F b) { return a - b; }
  POLAR_INLINE F mul(F a, F b) { return a * b; }
  POLAR_INLINE F div(F a, F b) { return a / b; }
#if defined(__aarch64__)
  POLAR_INLINE F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
#else
  POLAR_INLINE F fma(F a, F b, F c) { return a * b + c; }
#endif
  POLAR_INLINE F max(F a, F b) { return a > b ? a : b; }
  POLAR_INLINE F round(F a) { return (a + 12582912.0f) - 12582912.0f; }  // |a| < 2^22
  POLAR_INLINE F pow2(F n) { return (F)((__builtin_convertvector(n, V4i) + 127) << 23); }
  POLAR_INLINE F bit_xor(F a, F b) { return (F)((V4u)a ^ (V4u)b); }
  POLAR_INLINE float sum(F a) { return (a[0] + a[1]) + (a[2] + a[3]); }
  POLAR_INLINE float highest(F a) {
    const float x = a[0] > a[1] ? a[0] : a[1];
    const float y = a[2] > a[3] ? a[2] : a[3];
    return x > y ? x : y;
  }
  // out[0..3] = sums over the lanes of a, b, c, d
  POLAR_INLINE void store_sums(float* out, F a, F b, F c, F d) {
    out[0] = sum(a);
    out[1] = sum(b);
    out[2] = sum(c);
    out[3] = sum(d);
  }
};

template <class Widen>
struct FloatPath : Vec {
  using W = F;
  using X = float;
  using Coef = float;
  static constexpr int kDotStep = 4;
  static constexpr int kDotParts = 1;
  static constexpr int kRows = 1;
  static constexpr int kCols = 8;
  POLAR_INLINE int64_t x_position(int64_t i) { return i; }
  POLAR_INLINE W load_w(const uint16_t* p, int = 0) {
    V4h h;
    __builtin_memcpy(&h, p, sizeof h);
    return Widen::widen(__builtin_convertvector(h, V4u));
  }
  POLAR_INLINE W load_w_part(const uint16_t* p, int64_t, int = 0) { return load_w(p); }  // rows are multiples of 8
  POLAR_INLINE F load_x(const float* p) { return load(p); }
  POLAR_INLINE F dot(F acc, W w, F x) { return fma(w, x, acc); }
  POLAR_INLINE void load_rows(const uint16_t* a, const uint16_t*, W& lo, W& hi) {
    lo = load_w(a);
    hi = load_w(a + 4);
  }
  POLAR_INLINE void load_rows_part(const uint16_t* a, const uint16_t* b, int64_t, W& lo, W& hi) {
    load_rows(a, b, lo, hi);
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
  POLAR_INLINE V4f widen(V4u h) { return (V4f)(h << 16); }
  POLAR_INLINE float to_float(uint16_t h) { return bf16_to_float(h); }
  POLAR_INLINE uint16_t to_half(float x) { return float_to_bf16(x); }
};

struct WidenFp16 {
  // Exponent moved by a multiplication with 2^112, which also makes subnormals right; infinity and NaN are patched.
  POLAR_INLINE V4f widen(V4u h) {
    const V4u magnitude = (h & 0x7fffu) << 13;
    const V4u scaled = (V4u)((V4f)magnitude * 0x1.0p112f);
    const V4u special = (V4u)(magnitude >= (0x7c00u << 13)) & 0x7f800000u;
    return (V4f)(scaled | special | ((h & 0x8000u) << 16));
  }
  POLAR_INLINE float to_float(uint16_t h) { return fp16_to_float(h); }
  POLAR_INLINE uint16_t to_half(float x) { return float_to_fp16(x); }
};

using Bf16 = FloatPath<WidenBf16>;
using Fp16 = FloatPath<WidenFp16>;
