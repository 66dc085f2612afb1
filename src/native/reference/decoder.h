// Float64 references of a transformer layer, its routers and the end of a decode step, one sequence at a time.
//
// Like reference.h: every value twice, `exact` in float64 throughout, and `naive` with float32 sums where every
// intermediate that abi.h says is rounded ("Layers and steps") is rounded to the storage type, and attention's scores
// and probabilities too. Where a row comes out of a run (a layer's own input) both are that row.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "../abi.h"
#include "../common/block.h"

namespace polar {

struct Row {
  std::vector<double> exact;
  std::vector<float> naive;
};

// Calls body(i) once for each 0 <= i < total; what a caller with threads spreads over them.
using ParallelFor = std::function<void(int64_t total, const std::function<void(int64_t)>& body)>;
void serial_for(int64_t total, const std::function<void(int64_t)>& body);

// `count` stored values, the same twice.
Row stored_row(const PolarProblem& p, const uint16_t* values, int64_t count);

// norm(x) * scale (+ bias for LayerNorm); naive rounded. x, scale, bias, result: [d]
Row norm_reference(const PolarProblem& p, const Row& x, const uint16_t* scale, const uint16_t* bias);

// W x (+ bias), W [count, width of x]; naive is NOT rounded: a residual may follow.
Row linear_reference(const PolarProblem& p, const Row& x, const uint16_t* w, const uint16_t* bias, int64_t count,
                     const ParallelFor& parallel);

// Rounds the naive side to the storage type.
void round_naive(const PolarProblem& p, Row& row);

// Turns `heads` vectors of d_h values by the angles of `position`, pairs (i, i + d_h/2), frequencies theta^(-2i/d_h);
// naive rounded.
void rope_reference(const PolarProblem& p, Row& row, int64_t heads, int64_t position);

// What one sequence of a layer computes. Null lists mean all; groups are those of this sequence.
struct LayerSelection {
  const int32_t* groups;
  int64_t num_groups;
  const int32_t* neurons;
  int64_t num_neurons;
};

struct LayerRows {
  Row a;    // norm1(x), what the routers read [d]
  Row k;    // appended to the cache [H_kv d_h]
  Row v;    // likewise
  Row out;  // [d]
};

// The layer's row of sequence `batch` from its input x [d]. Of the cache only the positions 0 .. N - 2 are read.
LayerRows layer_reference(const PolarProblem& p, const LayerTensors& t, const Row& x, int64_t batch,
                          const LayerSelection& selection, const ParallelFor& parallel);

// Scores [H_kv] of the attention router on the normed input a [d]. Naive is not rounded: scores are float32.
Row attention_router_reference(const PolarProblem& p, const uint16_t* weight, const Row& a,
                               const ParallelFor& parallel);

// Adds one sequence's share max(0, logit) of the MLP router to the scores of the neurons `neurons` (ascending
// sequences give the order that abi.h asks for). scores: [neurons.size()]
void add_mlp_router_reference(const PolarProblem& p, const uint16_t* down, const uint16_t* up, const Row& a,
                              const std::vector<int64_t>& neurons, const ParallelFor& parallel, Row& scores);

// Final norm and head: logits [V]; naive is not rounded.
Row logits_reference(const PolarProblem& p, const EndTensors& t, const Row& x, const ParallelFor& parallel);

// The `count` largest of `scores`, ties to the lower index, ascending. A sort of everything: slow and obvious.
std::vector<int32_t> top_k_reference(const float* scores, int64_t total, int64_t count);

}  // namespace polar
