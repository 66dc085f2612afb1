// Union of active neurons over random batches of tokens, streamed from files.
//
// Why it streams in file order. Random batches mean random rows, and reading a row at a time in batch order costs one
// system call per row: 1.2 GB/s for rows of 512 bytes and 6.9 GB/s for rows of 4.6 KB where sequential reads of the
// same cached file gave 19 GB/s (two cores), and far less from a disk. So the tokens are shuffled by number only: a
// seeded permutation gives every token a place, batch i of size B is the places i*B .. i*B + B - 1, and every row is
// OR-ed into the accumulators of the batches it belongs to while the file streams past in order, once for all batch
// sizes. The batches of one size share no token (without replacement), and the batches of size B are nested in those of
// 2B, so differences between batch sizes carry less noise than independent draws would.
//
// Why the number of batches is limited. An accumulator is one mask, so memory is trials * batch sizes * D/8 bytes. The
// default of a few hundred keeps the accumulators in cache, where OR-ing into them does not slow the stream down, and
// puts the standard error of the mean far below the spread that is reported. B = 1 needs no accumulator and takes every
// token.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "bits.h"

namespace polar::traces {

// `tokens` rows that lie one after the other in a file from byte `offset`.
struct Segment {
  std::string path;
  std::uint64_t offset = 0;
  std::uint64_t tokens = 0;
};

struct UnionRequest {
  Element element = Element::kMask;
  // D, 1 .. kMaxNeurons
  std::uint64_t neurons = 0;
  // The tokens of one layer; several files are read as if they were one.
  std::vector<Segment> segments;
  // Each in 1 .. tokens, strictly ascending.
  std::vector<std::uint64_t> batch_sizes;
  // Most batches per batch size above 1; at least 1.
  std::uint64_t max_trials = 512;
  // Accumulators take at most this, unless one batch of each size needs more.
  std::uint64_t accumulator_bytes = 64u << 20;
  // Read at a time by each thread: small enough to stay in the L2 cache between the copy from the page cache and the
  // count.
  std::uint64_t chunk_bytes = 256u << 10;
  std::uint64_t seed = 0;
  // 0: one per CPU that the process may use
  unsigned threads = 0;
  Isa isa = best_isa();
  // Polled once per chunk; null: never cancelled
  const std::atomic<bool>* cancel = nullptr;
};

struct BatchUnion {
  std::uint64_t batch_size = 0;
  // Batches measured
  std::uint64_t trials = 0;
  // Neurons, mean over the batches
  double mean = 0;
  // Sample standard deviation over the batches; NaN when trials < 2
  double std = 0;
};

struct UnionResult {
  std::vector<BatchUnion> batches;
  std::uint64_t tokens = 0;
  std::uint64_t bytes_read = 0;
  // NaN activations; they count as inactive.
  std::uint64_t nan_values = 0;
};

constexpr std::uint64_t kMaxNeurons = 1u << 18;
// The permutation takes 8 bytes a token while it is drawn, 4 afterwards.
constexpr std::uint64_t kMaxTokens = 1u << 25;

// Deterministic for a seed, whatever the number of threads. Throws TraceFailure (malformed request, unreadable or short
// file, a mask with bits past D set, with the number of the first such token) and Cancelled.
UnionResult measure_union(const UnionRequest& request);

constexpr std::uint32_t kNoPlace = 0xFFFFFFFFu;

// The first `limit` (<= n) places of a seeded uniform permutation of n tokens (Fisher-Yates): result[token] = place, or
// kNoPlace. A smaller limit gives the same places up to there.
std::vector<std::uint32_t> draw_places(std::uint64_t n, std::uint64_t limit, std::uint64_t seed);

// Batches per batch size under both limits; see UnionRequest.
std::vector<std::uint64_t> plan_trials(const UnionRequest& request, std::uint64_t tokens);

}  // namespace polar::traces
