// Where tensors start in device memory.
#pragma once

#include <cstddef>

namespace polar::cuda {

inline constexpr size_t kAlignment = 256;  // what cudaMalloc guarantees

inline size_t align_up(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace polar::cuda
