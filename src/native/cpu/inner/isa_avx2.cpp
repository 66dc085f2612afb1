// The inner loops compiled for avx2.
// All headers that others share are included before the region, so that none of their functions is compiled in it.
#include "inner.h"

#include "../../common/half.h"
#include "../../common/random.h"

#if POLAR_X86
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

namespace polar::cpu {
namespace avx2 {
namespace {

// clang-format off: each of these builds on the ones before
#include "vector_avx2.h"
#include "math_body.h"
#include "attention_body.h"
#include "mlp_body.h"
#include "stream_body.h"
// clang-format on

}  // namespace
}  // namespace avx2

const Inner& inner_avx2(int32_t dtype) {
  return dtype == POLAR_BF16 ? avx2::table<avx2::Bf16>() : avx2::table<avx2::Fp16>();
}

}  // namespace polar::cpu

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
