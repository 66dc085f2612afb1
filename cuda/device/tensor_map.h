// Tensor maps for copies of 2-D boxes between global and shared memory (sm_90).
#pragma once

#include <cuda.h>

#include <cstdint>

namespace polar::cuda {

// A row-major matrix [rows, columns] of 16-bit elements, columns a multiple of 8, read in boxes of `box_rows` (at most
// 256) times 64 elements with the 128-byte swizzle; what lies outside arrives as zeros. `base` lies on 16
// bytes. Throws NativeError where the driver has no tensor maps or refuses this one.
CUtensorMap matrix_map(int32_t dtype, const void* base, int64_t rows, int64_t columns, int box_rows);

}  // namespace polar::cuda
