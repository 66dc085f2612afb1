// Compares what layers, their routers and the end of a step computed with the float64 references.
#pragma once

#include <cstdint>
#include <vector>

#include "../../common/backend.h"
#include "../../common/tolerance.h"
#include "../../reference/decoder.h"
#include "../threads.h"
#include "program.h"

namespace polar::cpu {

// Each checked layer is judged on its own: the reference starts from the input that the run gave the layer and uses the
// sets that its routers chose, so that neither errors nor near-ties of an earlier layer count against a later one.
// Rows of the verdict: layer * B + sequence; logits follow after the last layer.
class BlockVerifier {
 public:
  // `rows` sequences, 0 = all of them in every layer; otherwise few of them in the layers 0, 1 and the last.
  BlockVerifier(const PolarProblem& p, ThreadPool& pool, const Reporter& reporter, int64_t rows);

  bool wants(int64_t layer) const;
  // After layer `layer` has run from x to out; both [B, d].
  void layer(int64_t layer, const LayerTensors& t, const LayerCounts& counts, const BlockSpace& s, const uint16_t* x,
             const uint16_t* out);
  // After the end of a step; x [B, d] is the last layer's output.
  void end(const EndTensors& t, const BlockSpace& s, const uint16_t* x);

  PolarVerification result(bool repeats_equal) const { return verdict_.result(repeats_equal); }

 private:
  void add(int64_t row, const uint16_t* out, const Row& reference);
  void groups(int64_t layer, const LayerTensors& t, const LayerCounts& counts, const BlockSpace& s, const Row& a,
              int64_t batch);
  void neurons(int64_t layer, const LayerTensors& t, const LayerCounts& counts, const BlockSpace& s, const uint16_t* x);

  const PolarProblem p_;
  int64_t rows_;
  std::vector<int64_t> sequences_;
  ParallelFor parallel_;
  Verdict verdict_;
};

// Shared with the router scope. Scores of one sequence and the groups chosen from them: index [top_k] must be what the
// scores say, exactly.
void verify_groups(const PolarProblem& p, const uint16_t* weight, const Row& a, const float* scores,
                   const int32_t* index, int64_t top_k, int64_t row, const ParallelFor& parallel, Verdict& verdict);
// a: the normed inputs of all sequences. Compares the scores of `columns` neurons (0 = all, else a seeded choice) as
// one row, and the whole index set with all scores.
void verify_neurons(const PolarProblem& p, const uint16_t* down, const uint16_t* up, const std::vector<Row>& a,
                    const float* scores, const int32_t* index, int64_t top_k, int64_t columns, int64_t row,
                    const ParallelFor& parallel, Verdict& verdict);

}  // namespace polar::cpu
