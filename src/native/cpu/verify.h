// Compares outputs with the float64 references, all threads at work.
#pragma once

#include <cstdint>
#include <vector>

#include "../common/backend.h"
#include "../common/tolerance.h"
#include "threads.h"

namespace polar::cpu {

// The tensors of copy 0; null where the problem has none.
struct ReferenceInputs {
  const uint16_t* q;
  const uint16_t* k;
  const uint16_t* v;
  const uint16_t* x;
  const uint16_t* w1;
  const uint16_t* b1;
  const uint16_t* w2;
  const uint16_t* b2;
  const uint16_t* hidden;  // mlp-down: [B, D], all neurons
};

// `rows` ascending rows out of `total`, drawn from the seed; all of them where rows is 0 or not less than total.
std::vector<int64_t> choose_rows(uint64_t seed, int64_t total, int64_t rows);

// What one row's output [columns] is away from its reference.
RowError compare_row(const uint16_t* out, const double* exact, const float* naive, int64_t columns, int32_t dtype);
RowError compare_row(const float* out, const double* exact, const float* naive, int64_t columns, int32_t dtype);

// The reference of one problem. What candidates have in common (the hidden activations of a sequence over all neurons)
// is computed once and kept: a row of it costs as much as the rest of a verification.
class Reference {
 public:
  Reference(const PolarProblem& p, const ReferenceInputs& inputs, ThreadPool& pool) : p_(p), in_(inputs), pool_(pool) {}

  // Compares `out` ([B, H, d_h]) on `rows` query-head rows of active groups (0 = all), and all rows of inactive groups,
  // which must be zero. group_index: [B, active_groups].
  void attention(const uint16_t* out, const std::vector<int32_t>& group_index, int64_t active_groups, int64_t rows,
                 const Reporter& reporter, Verdict& verdict);

  // Compares `out` on `rows` sequences (0 = all). neurons: the active ones, ascending.
  void mlp(const uint16_t* out, const std::vector<int32_t>& neurons, int64_t rows, const Reporter& reporter,
           Verdict& verdict);

 private:
  struct Hidden {
    std::vector<double> exact;  // [D]; empty = not computed
    std::vector<float> naive;
  };
  void compute_hidden(int64_t row, const Reporter& reporter);
  RowError mlp_row(const uint16_t* out, const std::vector<int32_t>& neurons, int64_t row) const;

  const PolarProblem p_;
  const ReferenceInputs in_;
  ThreadPool& pool_;
  std::vector<Hidden> hidden_;
};

}  // namespace polar::cpu
