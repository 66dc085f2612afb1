// The loops that touch memory, one table of them per instruction set and storage type.
//
// The bodies (attention_body.h, mlp_body.h, stream_body.h) are written once on top of a small vector layer
// (vector_*.h) and compiled once per instruction set inside a `#pragma GCC target` region (isa_*.cpp). A region is used
// rather than an attribute on each function because lambdas and template instances inherit it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../isa.h"

namespace polar::cpu {

// Keys per online-softmax step, and the unit in which attention is divided among threads.
inline constexpr int64_t kKeyTile = 64;
// Most padding that any vector layer asks for at the end of a row, in elements.
inline constexpr int64_t kRowPadding = 32;

inline int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// Attention of all `heads` query heads of one (sequence, KV group) over the keys [begin, end).
struct AttentionRange {
  const uint16_t* q;  // [heads, head_dim]
  const uint16_t* k;  // [>= end, head_dim], position 0 of the group
  const uint16_t* v;  // likewise
  int64_t begin;
  int64_t end;  // > begin; no position at or past it is read
  // What the same thread reads next, for the prefetch; next_keys = 0: nothing
  const uint16_t* next_k;
  const uint16_t* next_v;
  int64_t next_keys;
  int64_t heads;
  int64_t head_dim;    // multiple of 8, <= 256
  float scale;         // log2(e) / sqrt(head_dim): the softmax runs in base 2
  std::byte* scratch;  // attention_scratch_bytes(heads, head_dim)
  // Out, unnormalised: attention = acc / sum; ranges of one unit are merged by their max.
  float* max;  // [heads], in units of log2
  float* sum;  // [heads]
  float* acc;  // [heads, head_dim]
#ifdef POLAR_FAULTS
  bool skip_tile;  // planted fault: the first tile's values are left out
#endif
};

inline size_t attention_scratch_bytes(int64_t heads, int64_t head_dim) {
  const int64_t padded = round_up(head_dim, kRowPadding);
  // accumulators and queries of each head; scores and coefficients of at most 4 heads at a time
  return static_cast<size_t>(heads * 2 * padded * 4 + 2 * 4 * kKeyTile * 4);
}

// Up (and gate) projection with activation of the active neurons [first, last); with POLAR_IDENTITY any product of a
// batch with rows of weights.
struct UpRange {
  const void* x;     // prepared rows [batch, x_stride], see Inner::prepare_x
  int64_t x_stride;  // elements, at least round_up(hidden_size, kRowPadding)
  int64_t batch;
  int64_t hidden_size;     // d, multiple of 8
  const uint16_t* w1;      // [D, d], gated [D, 2, d]
  const uint16_t* b1;      // [D] or null; added to what the activation sees (the gate row where gated)
  const int32_t* neurons;  // active neuron -> row of w1; null = identity
  int64_t first;
  int64_t last;
  bool gated;
  int32_t activation;
  const uint16_t* residual;  // [batch, out_stride] or null; added before the rounding
  // Where the values go: exactly one of the three is set.
  uint16_t* out;     // [batch, out_stride], rounded
  float* out_float;  // [batch, out_stride]
  float* batch_sum;  // [last]: sum over the batch of max(0, value)
  int64_t out_stride;
  std::byte* scratch;  // up_scratch_bytes(batch)
#ifdef POLAR_FAULTS
  bool skip_tile;
#endif
};

inline size_t up_scratch_bytes(int64_t batch) {
  return static_cast<size_t>(round_up(batch, 4) * (4 * 64 + 12 * 4) + 1024);
}

// Partial sums of the down projection over the active neurons [first, last).
struct DownRange {
  const uint16_t* hidden;  // [batch, hidden_stride]
  int64_t hidden_stride;
  int64_t batch;
  int64_t hidden_size;     // d, multiple of 8
  const uint16_t* w2;      // [D, d]
  const int32_t* neurons;  // null = identity
  int64_t first;
  int64_t last;        // may equal first: the sums are zero
  float* acc;          // out: [batch, padded d] in an order of its own, read back by down_finish
  std::byte* scratch;  // down_scratch_bytes(batch)
#ifdef POLAR_FAULTS
  bool skip_tile;
#endif
};

// Neurons that are summed in registers before the accumulators go back to memory.
inline constexpr int64_t kDownNeuronTile = 32;
inline size_t down_scratch_bytes(int64_t batch) { return static_cast<size_t>(kDownNeuronTile * batch * 4 + 1024); }
inline int64_t down_acc_floats(int64_t batch, int64_t hidden_size) {
  return batch * round_up(hidden_size, kRowPadding);
}

// Adds the partial sums of all threads in order, adds bias and residual and rounds: columns [first, last) in units
// of 32.
struct DownFinish {
  const float* acc;    // [parts, acc_stride]
  int64_t acc_stride;  // floats
  int64_t parts;
  int64_t batch;
  int64_t hidden_size;
  const uint16_t* b2;        // [d] or null
  const uint16_t* residual;  // [batch, d] or null; added before the rounding
  uint16_t* out;             // [batch, d]
  int64_t first;
  int64_t last;
};

struct Inner {
  // Copies `count` values into the form that up_range wants, zero padded to round_up(count, kRowPadding).
  void (*prepare_x)(const uint16_t* src, int64_t count, void* dst);
  size_t x_element_bytes;
  void (*attention_range)(const AttentionRange&);
  void (*up_range)(const UpRange&);
  void (*down_range)(const DownRange&);
  void (*down_finish)(const DownFinish&);
  // out[i] = round(random_value(key, first + i, scale)); `first` even.
  void (*fill)(uint64_t key, int64_t first, int64_t count, float scale, uint16_t* out);
  // Reads `bytes` (multiple of 4096 * streams) from `data` as `streams` (1, 2, 4, 8) concurrent runs with software
  // prefetch `ahead` bytes in front (0 = none); returns a checksum so that nothing is optimised away.
  uint64_t (*read)(const std::byte* data, size_t bytes, int streams, size_t ahead);
  // Multiply-accumulate on registers only; returns the floating-point operations done by `steps` iterations.
  double (*matrix_peak)(int64_t steps, float* sink);
};

// The table for a storage type (PolarDtype) at an instruction set that the machine has.
const Inner& inner(Isa isa, int32_t dtype);

// One per translation unit; used by inner().
const Inner& inner_portable(int32_t dtype);
const Inner& inner_avx2(int32_t dtype);
const Inner& inner_avx512(int32_t dtype);
const Inner& inner_avx512bf16(int32_t dtype);

}  // namespace polar::cpu
