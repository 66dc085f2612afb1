#include "inner.h"

namespace polar::cpu {

const Inner& inner(Isa isa, int32_t dtype) {
#if POLAR_X86
  switch (isa) {
    case Isa::kAvx512Bf16:
      return inner_avx512bf16(dtype);
    case Isa::kAvx512:
      return inner_avx512(dtype);
    case Isa::kAvx2:
      return inner_avx2(dtype);
    default:
      break;
  }
#endif
  return inner_portable(dtype);
}

}  // namespace polar::cpu
