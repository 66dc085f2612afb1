// The two rates that bound every kernel: reading device memory and multiplying matrices.
#pragma once

#include "../../src/native/common/backend.h"
#include "device.h"

namespace polar::cuda {

// Reports the facts "read_gb_per_s" and "matrix_tflop_per_s" (the best of all patterns, each the median of several
// passes) and one fact per pattern tried; texts "read_pattern" and "matrix_pattern" name the winners. Reads 4 GiB of
// random data, or a quarter of the free memory where that is less.
void measure_ceilings(const Device& device, int32_t dtype, const Reporter& reporter);

// The parts, each returning the best rate: 10^9 bytes per second, 10^12 floating-point operations per second.
double measure_read_ceiling(const Device& device, const Reporter& reporter);
double measure_matrix_ceiling(const Device& device, int32_t dtype, const Reporter& reporter);

}  // namespace polar::cuda
