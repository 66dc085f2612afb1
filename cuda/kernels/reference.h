// References on the device: slow, obvious kernels for whole outputs of timed shapes, themselves checked against the
// host reference (src/native/reference) in verify mode. Every function computes a result twice:
//   exact  float64 throughout, on the rounded inputs
//   naive  the same maths the plain way: float32 sums in ascending order, and every intermediate tensor (scores,
//          probabilities, hidden values, output) rounded to the storage type
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "../../src/native/abi.h"
#include "../../src/native/common/tolerance.h"

namespace polar::cuda {

// Bytes of scratch for launch_reference_attention: scores of some rows at a time.
size_t reference_attention_scratch_bytes(const PolarProblem& p);

// Dense decode attention over every query head. exact, naive: [B, H, d_h]; scratch as above.
void launch_reference_attention(const PolarProblem& p, const void* q, const void* k, const void* v, double* exact,
                                float* naive, void* scratch, cudaStream_t stream);

// Up (and gate) with activation over all neurons: hidden exact, naive [B, D]. b1 may be null.
void launch_reference_mlp_up(const PolarProblem& p, const void* x, const void* w1, const void* b1, double* exact,
                             float* naive, cudaStream_t stream);

// The 16-bit tensor src [count] as a pair: both the same values.
void launch_reference_widen(const PolarProblem& p, const void* src, int64_t count, double* exact, float* naive,
                            cudaStream_t stream);

// Down projection over the listed neurons: exact, naive [B, d] from hidden [B, D] at the columns neuron_index
// [num_neurons] (null = all). b2 may be null.
void launch_reference_mlp_down(const PolarProblem& p, const double* hidden_exact, const float* hidden_naive,
                               const void* w2, const void* b2, const int32_t* neuron_index, int64_t num_neurons,
                               double* exact, float* naive, cudaStream_t stream);

// Scores of the attention router: exact, naive [B, H_kv].
void launch_reference_attention_router(const PolarProblem& p, const void* x, const void* weight, double* exact,
                                       float* naive, cudaStream_t stream);

// Scores of the MLP router: exact, naive [D]; hidden values and logits go through scratch.
size_t reference_mlp_router_scratch_bytes(const PolarProblem& p);
void launch_reference_mlp_router(const PolarProblem& p, const void* x, const void* down, const void* up, double* exact,
                                 float* naive, void* scratch, cudaStream_t stream);

// Judges out [rows, columns] (16-bit) row by row into errors [rows]. The reference has `reference_columns` columns and
// output column c stands for reference column column_index[c] (null = c). Rows with row_active[row] == 0 (null = all
// active) have an all-zero reference.
void launch_compare_rows(int32_t dtype, const void* out, int64_t rows, int64_t columns, const double* exact,
                         const float* naive, int64_t reference_columns, const int32_t* column_index,
                         const uint8_t* row_active, RowError* errors, cudaStream_t stream);

}  // namespace polar::cuda
