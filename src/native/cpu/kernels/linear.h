// A batch times rows of weights: every projection of a model but the down projection of the MLP.
#pragma once

#include "kernel.h"

namespace polar::cpu {

struct LinearArgs {
  const uint16_t* x;  // [batch, in_features]
  int64_t batch;
  int64_t in_features;   // multiple of 8
  const uint16_t* w;     // [rows, in_features], gated [rows, 2, in_features]
  const uint16_t* bias;  // [rows] or null
  const int32_t* rows;   // which rows, ascending; null = the first `count`
  int64_t count;
  bool gated;
  int32_t activation;
  const uint16_t* residual;  // [batch, count] or null: added before the rounding
  // Exactly one of the three is set.
  uint16_t* out;     // [batch, count]
  float* out_float;  // [batch, count]
  float* batch_sum;  // [count]: sum over the batch, ascending, of max(0, value)
};

size_t linear_workspace_bytes(int64_t batch, int64_t in_features, int threads);

// Weights come from memory once, in order, however large the batch; every thread has an equal contiguous range of rows.
void linear(const Launch& launch, const LinearArgs& args, std::byte* workspace);

}  // namespace polar::cpu
