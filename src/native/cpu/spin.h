// A kernel of known duration and known noise, to test the instrument itself. POLAR_FAULTS build only.
#pragma once

#include <cstdint>
#include <memory>

#include "../common/backend.h"

namespace polar::cpu {

// Busy-waits `ns` * (1 + 0.005 z) nanoseconds per run, z standard normal from the counter-based generator; `lane`
// separates the noise of several spin candidates of a cell. Throws NativeError E_UNSUPPORTED in other builds.
std::unique_ptr<Executable> make_spin(uint64_t seed, int64_t ns, int64_t lane);

}  // namespace polar::cpu
