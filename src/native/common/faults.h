// Planted faults, for tests that prove the checks can fail. Compiled in only with -DPOLAR_FAULTS (CMake option of the
// same name); in every other build all of this folds to nothing.
//
// POLAR_BENCH_FAULT is a list `kind:kernel[:value]` separated by commas:
//   skip-tile:attention/dense      the kernel leaves out one tile
//   delay:mlp/dense:0.03           every sample of the kernel takes 3 % longer, really waited
//   delay:mlp/dense#1:0.03         the same for the cell's second candidate only
//   crash:attention/dense          the process dies with SIGSEGV when the kernel is about to be sampled
//   hang:attention/dense           the process stops answering there
//   oom:attention/dense            E_OUT_OF_MEMORY there
// A number behind crash, hang or oom (crash:attention/dense:4) plants it at that batch size only.
#pragma once

#include <string>

namespace polar {

#if defined(POLAR_FAULTS)
inline constexpr bool kFaultBuild = true;
// Is the fault planted for this kernel? `value` (may be null) receives the number behind it, or 0.
bool fault_active(const char* kind, const char* kernel, double* value = nullptr);
#else
inline constexpr bool kFaultBuild = false;
inline constexpr bool fault_active(const char*, const char*, double* = nullptr) { return false; }
#endif

}  // namespace polar
