// Float64 references of every op on the host: slow and obvious on purpose. They read the rounded 16-bit inputs.
//
// Each function fills one output row twice: `exact` in float64 throughout, and `naive`: the same maths the plain way in
// the storage type, every intermediate tensor (scores, probabilities, hidden values, output) rounded to it, sums in
// float32. The distance between the two is what the storage type costs; the tolerance is built on it.
#pragma once

#include <cstdint>

#include "../abi.h"

namespace polar {

// Decode attention of query head `head` of sequence `batch`. If the head's KV group is not among the `num_groups`
// entries of `groups` (this sequence's active groups, null = all), the row is exactly zero.
//   q [B, H, d_h], k and v [B, H_kv, kv_capacity, d_h]; exact and naive: [d_h]
void attention_row_reference(const PolarProblem& p, const uint16_t* q, const uint16_t* k, const uint16_t* v,
                             int64_t batch, int64_t head, const int32_t* groups, int64_t num_groups, double* exact,
                             float* naive);

// Up (and gate) projection with activation, for sequence `batch` and the neurons `neurons[num_neurons]`.
//   x [B, d], w1 [D, d] or [D, 2, d], b1 [D] or null; exact and naive: [num_neurons], order of `neurons`
void mlp_up_row_reference(const PolarProblem& p, const uint16_t* x, const uint16_t* w1, const uint16_t* b1,
                          int64_t batch, const int32_t* neurons, int64_t num_neurons, double* exact, float* naive);

// Down projection of sequence `batch`: sum over the neurons of hidden[i] * W2[neurons[i], :], plus b2.
//   w2 [D, d], b2 [d] or null; hidden_exact and hidden_naive: [num_neurons] (the same values twice when the hidden
//   activations are an input); exact and naive: [d]
void mlp_down_row_reference(const PolarProblem& p, const double* hidden_exact, const float* hidden_naive,
                            const uint16_t* w2, const uint16_t* b2, const int32_t* neurons, int64_t num_neurons,
                            double* exact, float* naive);

// act(z) in float64.
double activate(int32_t activation, double z);

}  // namespace polar
