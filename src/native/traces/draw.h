// A synthetic trace: masks of tokens whose neurons activate with given probabilities.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "bits.h"

namespace polar::traces {

// Tokens come in sequences of `tokens_per_sequence`. For every neuron each sequence draws one bit with the neuron's
// probability; each token takes that bit with probability `shared`, else a fresh draw. The marginal probability stays
// p, and two tokens of a sequence share the same bit with probability shared^2, so their correlation is exactly
// shared^2.
struct DrawRequest {
  // An existing file; rows of ceil(D/8) bytes are written from byte `offset`.
  std::string path;
  std::uint64_t offset = 0;
  std::uint64_t tokens = 0;
  // [D]: a neuron is active when a uniform 32-bit number lies below its threshold (probability * 2^32).
  std::vector<std::uint32_t> thresholds;
  // Probability * 2^32 that a token takes its sequence's bit; 0: independent tokens.
  std::uint32_t shared = 0;
  std::uint64_t tokens_per_sequence = 256;
  std::uint64_t seed = 0;
  // Mixed into the seed: layers draw independently.
  std::uint64_t layer = 0;
  // 0: one per CPU that the process may use
  unsigned threads = 0;
  Isa isa = best_isa();
  const std::atomic<bool>* cancel = nullptr;
};

// Writes the masks in chunks; the result depends on the seed only, not on the threads or the CPU.
// Throws TraceFailure and Cancelled.
void draw_masks(const DrawRequest& request);

// One row: mask[ceil(D/8)]. For tests.
void draw_row(const DrawRequest& request, std::uint64_t token, std::uint8_t* mask);

}  // namespace polar::traces
