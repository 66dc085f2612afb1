// What a transformer layer needs besides attention and products with weights. All of it works on data that fits into
// the caches, so the loops are plain.
#pragma once

#include "../../common/block.h"
#include "kernel.h"

namespace polar::cpu {

// out = norm(x) * scale (+ bias), rows shared among the threads. x and out [batch, d] may be the same.
void norm(const Launch& launch, const uint16_t* x, const uint16_t* scale, const uint16_t* bias, uint16_t* out);

// Cosines and sines of the angles of position kv_len - 1: [d_h / 2] each.
struct RopeAngles {
  const float* cosine;
  const float* sine;
};
// Fills them from the problem's rope_theta.
void fill_rope_angles(const PolarProblem& p, float* cosine, float* sine);

// qkv [batch, (H + 2 H_kv) d_h]: turns q and k (angles.cosine null: not), writes q [batch, H, d_h] and appends k and v
// of every KV head to the caches at position kv_len - 1.
void split_append(const Launch& launch, const uint16_t* qkv, const RopeAngles& angles, uint16_t* q, uint16_t* k_cache,
                  uint16_t* v_cache);

// The largest logit of each row [batch, vocab_size], the lowest index on ties.
void argmax(const Launch& launch, const float* logits, int32_t* token);

// The `count` largest of scores[total], ties to the lower index, into `index` in ascending order. Exact; a NaN counts
// as larger than every number. order: scratch [total].
void top_k(const float* scores, int64_t total, int64_t count, uint64_t* order, int32_t* index);

}  // namespace polar::cpu
