// The elementwise step behind a cuBLASLt product whose epilogue the library cannot fuse. It reads float32 and rounds
// once: a product stored in 16 bits would be rounded twice, which cost small gated shapes their tolerance.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

namespace polar::cuda::lt {

struct EpilogueArgs {
  const float* product;  // [B, columns]; gated: gate and up values of a neuron side by side
  const void* bias;      // [columns], gated: [columns / 2] for the gate; or null
  void* out;             // [B, columns], gated: [B, columns / 2]
  int64_t batch_size;
  int64_t columns;
  int32_t dtype;
  int32_t activation;  // PolarActivation, -1 = none
  int32_t gated;
};
void launch_epilogue(const EpilogueArgs& args, cudaStream_t stream);

// Fills `elements` 16-bit values with random numbers of the given scale; for timing only.
void fill_random(void* data, int64_t elements, int32_t dtype, float scale, uint64_t seed, cudaStream_t stream);

}  // namespace polar::cuda::lt
