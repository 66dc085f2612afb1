// The inner loops compiled for avx512.
// All headers that others share are included before the region, so that none of their functions is compiled in it.
#include "inner.h"

#include "../../common/half.h"
#include "../../common/random.h"

#if POLAR_X86
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), \
                             apply_to = function)
#else
#pragma GCC push_options
// GCC 12 warns about the undefined pass-through operand inside its own intrinsics (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#endif

namespace polar::cpu {
namespace avx512 {
namespace {

// clang-format off: each of these builds on the ones before
#include "vector_avx512.h"
#include "math_body.h"
#include "attention_body.h"
#include "mlp_body.h"
#include "stream_body.h"
// clang-format on

}  // namespace
}  // namespace avx512

const Inner& inner_avx512(int32_t dtype) {
  // Attention is faster on the plain form by 3 % (measured): it is bound by memory, and by more than conversions.
  return dtype == POLAR_BF16 ? avx512::table<avx512::Bf16, avx512::Bf16Plain>() : avx512::table<avx512::Fp16>();
}

}  // namespace polar::cpu

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC diagnostic pop
#pragma GCC pop_options
#endif
#endif
