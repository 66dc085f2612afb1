// Which instruction set the kernels use: chosen once per process, at run time.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#define POLAR_X86 1
#else
#define POLAR_X86 0
#endif

namespace polar::cpu {

// Ascending: a machine that has one has all before it.
enum class Isa : int32_t { kPortable = 0, kAvx2 = 1, kAvx512 = 2, kAvx512Bf16 = 3 };

const char* isa_name(Isa isa);

// What the processor and the operating system offer.
Isa supported_isa();

// The fastest of what the machine has. On Intel's processors that is not the highest: they issue a 512-bit vdpbf16ps
// every second cycle (measured: 120 GFLOP/s a core, 235 with plain multiply-adds on converted values), so kernels that
// convert are at least as fast there, and they need not round the softmax numerators. AMD's issue one every cycle.
Isa preferred_isa();

// preferred_isa(), or what the environment variable POLAR_BENCH_CPU_ISA names (portable | avx2 | avx512 | avx512bf16).
// Throws NativeError E_NATIVE where the variable holds something else or more than the machine has.
Isa active_isa();

}  // namespace polar::cpu
