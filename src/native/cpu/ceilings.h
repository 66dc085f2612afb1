// What this machine can do at best: the denominators of every percentage.
#pragma once

#include <cstdint>

#include "../common/backend.h"
#include "isa.h"
#include "threads.h"

namespace polar::cpu {

// Reports "read_gb_per_s" (10^9 bytes a second, the best pattern) and one fact per pattern "read_gb_per_s.<pattern>";
// "matrix_tflop_per_s" (the better of the two below), "matrix_tflop_per_s.registers" (multiply-adds on registers) and
// "matrix_tflop_per_s.product" (a product of matrices that fit into the caches). All threads of the pool take part.
void measure_ceilings(int32_t dtype, Isa isa, ThreadPool& pool, const Reporter& reporter);

}  // namespace polar::cpu
