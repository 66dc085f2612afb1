#include "isa.h"

#include <cstdlib>
#include <string>

#include "../common/error.h"

namespace polar::cpu {
namespace {

constexpr Isa kAll[] = {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16};

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Bf16:
      return "avx512bf16";
    default:
      return "portable";
  }
}

Isa supported_isa() {
#if POLAR_X86
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  if (!avx2) return Isa::kPortable;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (!avx512) return Isa::kAvx2;
  return __builtin_cpu_supports("avx512bf16") ? Isa::kAvx512Bf16 : Isa::kAvx512;
#else
  return Isa::kPortable;
#endif
}

Isa preferred_isa() {
  const Isa best = supported_isa();
#if POLAR_X86
  if (best == Isa::kAvx512Bf16 && __builtin_cpu_is("intel")) return Isa::kAvx512;
#endif
  return best;
}

Isa active_isa() {
  const Isa best = supported_isa();
  const char* wanted = std::getenv("POLAR_BENCH_CPU_ISA");
  if (wanted == nullptr || *wanted == '\0') return preferred_isa();
  for (Isa isa : kAll) {
    if (std::string(wanted) != isa_name(isa)) continue;
    if (isa <= best) return isa;
    throw NativeError("E_NATIVE", std::string("Expected an instruction set that this processor has (up to ") +
                                      isa_name(best) + ") for POLAR_BENCH_CPU_ISA, got " + wanted);
  }
  throw NativeError(
      "E_NATIVE", std::string("Expected portable, avx2, avx512 or avx512bf16 for POLAR_BENCH_CPU_ISA, got ") + wanted);
}

}  // namespace polar::cpu
