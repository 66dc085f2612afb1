// Slow, obvious kernels for the stages of a layer that cuda/kernels/reference.h does not have. Like those, each
// computes a result twice: `exact` in float64 throughout, `naive` with float32 sums in ascending order and every
// intermediate tensor rounded to the storage type.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "../../src/native/abi.h"
#include "../reference_results.h"

namespace polar::cuda::step {

// All tensors row-major; weights and caches 16-bit in p.dtype.

// out = norm(in) * scale + bias, rows [in.rows, in.columns]; p.norm, p.norm_epsilon. bias may be null.
void reference_norm(const PolarProblem& p, const ReferencePair& in, const void* scale, const void* bias,
                    ReferencePair& out, cudaStream_t stream);

// out [B, n] = in [B, k] weights^T + bias, weights [n, k] with n = out.columns; bias [n] or null.
void reference_linear(const PolarProblem& p, const ReferencePair& in, const void* weights, const void* bias,
                      ReferencePair& out, cudaStream_t stream);

// hidden [B, D] = act(z) of z [B, D], gated: act(gate) * up of z [B, D, 2].
void reference_activate(const PolarProblem& p, const ReferencePair& z, ReferencePair& hidden, cudaStream_t stream);

// RoPE of position kv_len - 1 on the q and k heads of qkv [B (H + 2 H_kv), d_h], in place.
void reference_rope(const PolarProblem& p, ReferencePair& qkv, cudaStream_t stream);

// Decode attention out [B H, d_h] of qkv (as above): position kv_len - 1 takes its key and value from qkv, the others
// from the caches. Rows of groups that group_index [B, groups] (null: all) does not name are zero. `scratch`:
// reference_attention_scratch_bytes(p).
void reference_attention(const PolarProblem& p, const ReferencePair& qkv, const void* k, const void* v,
                         const int32_t* group_index, int64_t groups, ReferencePair& out, void* scratch,
                         cudaStream_t stream);

// out = a + b.
void reference_add(const PolarProblem& p, const ReferencePair& a, const ReferencePair& b, ReferencePair& out,
                   cudaStream_t stream);

// scores [1, n] = sum over the rows, in ascending order, of max(0, logits [B, n]); the naive sum stays float32.
void reference_relu_sum(const ReferencePair& logits, ReferencePair& scores, cudaStream_t stream);

}  // namespace polar::cuda::step
