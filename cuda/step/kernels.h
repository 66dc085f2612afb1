// The small kernels between the matrix products of a layer. Launchers only enqueue; tensors are 16-bit in `dtype`,
// row-major, pointers on 16 bytes. `dependent`: a programmatic dependent launch (device/dependent.cuh).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "../../src/native/abi.h"
#include "../kernels/problem.h"

namespace polar::cuda::step {

// sum = base + (delta + delta_bias), rounded; normed = norm(sum) * scale + bias, rounded. float32 inside, the variance
// from centred values. A block per row.
struct ResidualNormArgs {
  const void* base;        // [B, d]
  const void* delta;       // [B, d], or null: nothing is added and sum is not written
  const void* delta_bias;  // [d] or null
  void* sum;               // [B, d]; may be base
  const void* scale;       // [d], or null: only the sum is wanted
  const void* bias;        // [d] or null
  void* normed;            // [B, d]
  int64_t rows;            // B
  int64_t columns;         // d, a multiple of 8
  int32_t norm;            // PolarNorm
  float epsilon;
};
// Throws NativeError E_UNSUPPORTED for rows longer than a block holds in registers, 16384.
void check_residual_norm(int64_t columns);
void launch_residual_norm(int32_t dtype, const ResidualNormArgs& args, bool dependent, cudaStream_t stream);

// Splits qkv [B, (H + 2 H_kv) d_h] into q [B, H, d_h] and position kv_len - 1 of both caches [B, H_kv, kv_capacity,
// d_h]. `angles` [d_h / 2] {cos, sin} of that position turns the pairs (i, i + d_h / 2) of q and k; null without RoPE.
struct RopeAppendArgs {
  const void* qkv;
  const float2* angles;
  void* q;
  void* k;
  void* v;
};
void launch_rope_append(const PolarProblem& p, const RopeAppendArgs& args, bool dependent, cudaStream_t stream);

// token[b] = the index of the largest of logits[b, 0 .. vocab_size), the lowest on ties.
void launch_argmax(int32_t dtype, const void* logits, int64_t batch_size, int64_t vocab_size, int32_t* token,
                   bool dependent, cudaStream_t stream);

}  // namespace polar::cuda::step
