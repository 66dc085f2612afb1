// Tensor maps: what copies of boxes between global and shared memory are described by (sm_90 and later).
#pragma once

#include <cuda.h>

#include <cstdint>

namespace polar::cuda {

using EncodeTiled = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                                 const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave,
                                 CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

// The driver's cuTensorMapEncodeTiled, found through the runtime: libcuda is never linked. Throws NativeError
// E_UNSUPPORTED where the driver has none.
EncodeTiled encode_tiled();

// A row-major matrix [rows, columns] of 16-bit elements, columns a multiple of 8, read in boxes of `box_rows` (at most
// 256) times 64 elements with the 128-byte swizzle; what lies outside arrives as zeros. `base` lies on 16
// bytes. Throws NativeError where the driver has no tensor maps or refuses this one.
CUtensorMap matrix_map(int32_t dtype, const void* base, int64_t rows, int64_t columns, int box_rows);

}  // namespace polar::cuda
