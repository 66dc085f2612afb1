// A run judged stage by stage: every stage of a checked layer starts from the run's own values and uses the run's own
// selection, so errors do not accumulate and a wrong stage is not hidden by a large residual. (Attention judged from
// float64 q and k failed 1 row in some ten thousand: there the naive way happened to round luckily.)
#pragma once

#include <memory>
#include <string>

#include "../../src/native/common/tolerance.h"
#include "layer_sequence.h"
#include "reference_kernels.h"

namespace polar::cuda::step {

// Device bytes that judging one layer, and the logits, needs.
size_t reference_bytes(const PolarProblem& p);

// Observes one run outside a capture. Checked are the layers 0, 1 and last: normed inputs, q k v (the cache's new
// position included), scores and index sets of both routers, attention, y, output; of a step the logits and the token.
class RunCheck {
 public:
  RunCheck(const State& state, const LayerSequence& sequence, const std::string& kernel);
  ~RunCheck();

  void operator()(Stage stage, int64_t layer);
  // Rows are numbered through all comparisons in the order of the run. Failed ones are named in warnings.
  PolarVerification result(bool repeats_equal) const { return verdict_.result(repeats_equal); }

 private:
  struct Layer;  // reference tensors of the layer that is checked
  bool checked(int64_t layer) const;
  void begin(int64_t layer);
  void check_qkv(int64_t layer);
  void check_attention_router(int64_t layer);
  void check_attention(int64_t layer);
  void check_second_norm(int64_t layer);
  void check_mlp_router(int64_t layer);
  void finish_mlp(int64_t layer);
  void check_logits();

  ReferencePair actual(const void* values, int64_t rows, int64_t columns) const;
  void compare(const char* what, int64_t layer, const void* out, const ReferencePair& reference);
  void compare_scores(const char* what, int64_t layer, const float* scores, const ReferencePair& reference);
  void check_selection(const char* what, int64_t layer, const float* scores, int64_t rows, int64_t total,
                       const int32_t* index, int64_t count);
  void add(const char* what, int64_t layer, const std::vector<RowError>& rows);

  const State& state_;
  const LayerSequence& sequence_;
  const std::string kernel_;
  Verdict verdict_;
  int64_t rows_ = 0;
  std::unique_ptr<Layer> layer_;
};

}  // namespace polar::cuda::step
