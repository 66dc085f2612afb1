// The inner loops compiled for portable.
#include "inner.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "../../common/half.h"
#include "../../common/random.h"

namespace polar::cpu {
namespace portable {
namespace {

// clang-format off: each of these builds on the ones before
#include "vector_portable.h"
#include "math_body.h"
#include "attention_body.h"
#include "mlp_body.h"
#include "stream_body.h"
// clang-format on

}  // namespace
}  // namespace portable

const Inner& inner_portable(int32_t dtype) {
  return dtype == POLAR_BF16 ? portable::table<portable::Bf16>() : portable::table<portable::Fp16>();
}

}  // namespace polar::cpu
