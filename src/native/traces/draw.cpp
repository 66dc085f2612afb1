#include "draw.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>

#include "error.h"
#include "file.h"
#include "random.h"
#include "union.h"

namespace polar::traces {
namespace {

constexpr std::size_t kBlock = 64;
constexpr std::uint64_t kChunkBytes = 1u << 20;

// Two keys of a stream of draws: (seed, layer, purpose, row).
struct Key {
  std::uint32_t first;
  std::uint32_t second;
};

enum Purpose : std::uint64_t { kFresh = 1, kSequence = 2, kChoice = 3 };

Key make_key(const DrawRequest& request, Purpose purpose, std::uint64_t row) {
  std::uint64_t key = mix64(request.seed + 0x9E3779B97F4A7C15u);
  key = mix64(key ^ (request.layer * 4 + purpose));
  key = mix64(key + row);
  return {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)};
}

// A counter-based uniform 32-bit number: no state to carry, so a compiler vectorizes it over the neurons.
__attribute__((always_inline)) inline std::uint32_t uniform(std::uint32_t counter, Key key) {
  std::uint32_t x = counter * 0x9E3779B1u ^ key.first;
  x = (x ^ (x >> 16)) * 0x7FEB352Du;
  x = (x ^ (x >> 15)) * 0x846CA68Bu;
  x = (x ^ (x >> 16)) + key.second;
  x = (x ^ (x >> 16)) * 0x7FEB352Du;
  x = (x ^ (x >> 15)) * 0x846CA68Bu;
  return x ^ (x >> 16);
}

// Eight bytes of 0 or 1 -> one byte, byte k to bit k: the multiplication moves them side by side without a carry.
__attribute__((always_inline)) inline std::uint8_t gather_bits(const std::uint8_t* flags) {
  std::uint64_t value;
  std::memcpy(&value, flags, 8);
  return static_cast<std::uint8_t>((value * 0x0102040810204080u) >> 56);
}

__attribute__((always_inline)) inline void draw_body(const std::uint32_t* thresholds, std::size_t neurons, Key fresh,
                                                     Key sequence, Key choice, std::uint32_t shared,
                                                     std::uint8_t* mask) {
  std::uint8_t flags[kBlock];
  for (std::size_t j = 0; j < neurons; j += kBlock) {
    const std::size_t n = std::min(kBlock, neurons - j);
    const std::uint32_t first = static_cast<std::uint32_t>(j);
    std::memset(flags, 0, kBlock);
    if (shared == 0) {
      for (std::size_t k = 0; k < n; ++k) flags[k] = uniform(first + k, fresh) < thresholds[j + k];
    } else {
      for (std::size_t k = 0; k < n; ++k) {
        const std::uint32_t own = uniform(first + k, fresh);
        const std::uint32_t common = uniform(first + k, sequence);
        const bool takes_common = uniform(first + k, choice) < shared;
        flags[k] = (takes_common ? common : own) < thresholds[j + k];
      }
    }
    for (std::size_t k = 0; k < n; k += 8) mask[(j + k) / 8] = gather_bits(flags + k);
  }
}

using DrawRow = void (*)(const std::uint32_t*, std::size_t, Key, Key, Key, std::uint32_t, std::uint8_t*);

void draw_portable(const std::uint32_t* t, std::size_t n, Key f, Key s, Key c, std::uint32_t shared, std::uint8_t* m) {
  draw_body(t, n, f, s, c, shared, m);
}
#if defined(__x86_64__)
__attribute__((target("avx2"))) void draw_avx2(const std::uint32_t* t, std::size_t n, Key f, Key s, Key c,
                                               std::uint32_t shared, std::uint8_t* m) {
  draw_body(t, n, f, s, c, shared, m);
}
__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))) void draw_avx512(const std::uint32_t* t, std::size_t n,
                                                                               Key f, Key s, Key c,
                                                                               std::uint32_t shared, std::uint8_t* m) {
  draw_body(t, n, f, s, c, shared, m);
}
#endif

DrawRow draw_for(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512 && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    return draw_avx512;
  }
  if (isa != Isa::kPortable) return draw_avx2;
#else
  static_cast<void>(isa);
#endif
  return draw_portable;
}

void draw_token(const DrawRequest& request, DrawRow draw, std::uint64_t token, std::uint8_t* mask) {
  draw(request.thresholds.data(), request.thresholds.size(), make_key(request, kFresh, token),
       make_key(request, kSequence, token / request.tokens_per_sequence), make_key(request, kChoice, token),
       request.shared, mask);
}

void check(const DrawRequest& request) {
  if (request.tokens < 1 || request.tokens > kMaxTokens) {
    throw TraceFailure("Expected 1 to " + std::to_string(kMaxTokens) + " for tokens, got " +
                       std::to_string(request.tokens));
  }
  if (request.thresholds.empty() || request.thresholds.size() > kMaxNeurons) {
    throw TraceFailure("Expected 1 to " + std::to_string(kMaxNeurons) + " for neurons, got " +
                       std::to_string(request.thresholds.size()));
  }
  if (request.tokens_per_sequence == 0) throw TraceFailure("Expected at least 1 for tokens per sequence, got 0");
}

}  // namespace

void draw_row(const DrawRequest& request, std::uint64_t token, std::uint8_t* mask) {
  check(request);
  draw_token(request, draw_for(request.isa), token, mask);
}

void draw_masks(const DrawRequest& request) {
  check(request);
  const File file(request.path, File::Mode::kWrite);
  const DrawRow draw = draw_for(request.isa);
  const std::uint64_t row = row_bytes(Element::kMask, request.thresholds.size());
  const std::uint64_t chunk_rows = std::max<std::uint64_t>(1, kChunkBytes / row);
  std::atomic<std::uint64_t> next{0};
  std::mutex merge;
  std::exception_ptr error;
  const auto work = [&] {
    try {
      std::vector<std::uint8_t> chunk(chunk_rows * row);
      for (;;) {
        if (request.cancel != nullptr && request.cancel->load(std::memory_order_relaxed)) throw Cancelled();
        const std::uint64_t first = next.fetch_add(chunk_rows);
        if (first >= request.tokens) return;
        const std::uint64_t rows = std::min(chunk_rows, request.tokens - first);
        for (std::uint64_t i = 0; i < rows; ++i) draw_token(request, draw, first + i, chunk.data() + i * row);
        file.write(chunk.data(), rows * row, request.offset + first * row);
      }
    } catch (...) {
      const std::lock_guard<std::mutex> guard(merge);
      if (!error) error = std::current_exception();
      next.store(request.tokens);
    }
  };
  const unsigned threads = request.threads == 0 ? std::max(1u, std::thread::hardware_concurrency()) : request.threads;
  std::vector<std::thread> pool;
  try {
    for (unsigned i = 1; i < threads; ++i) pool.emplace_back(work);
  } catch (const std::system_error&) {
    // The system grants no further thread: those that run take all chunks.
  }
  work();
  for (std::thread& thread : pool) thread.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace polar::traces
