#include "union.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>

#include "error.h"
#include "file.h"
#include "random.h"

namespace polar::traces {
namespace {

constexpr std::uint64_t kNoToken = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kCacheLine = 64;

[[noreturn]] void refuse(const std::string& what, const std::string& name, std::uint64_t got) {
  throw TraceFailure("Expected " + what + " for " + name + ", got " + std::to_string(got));
}

std::uint64_t count_tokens(const UnionRequest& request) {
  std::uint64_t tokens = 0;
  for (const Segment& segment : request.segments) {
    if (segment.tokens > kMaxTokens - tokens) {
      refuse("at most " + std::to_string(kMaxTokens) + " tokens", "trace", segment.tokens);
    }
    tokens += segment.tokens;
  }
  return tokens;
}

void check_request(const UnionRequest& request, std::uint64_t tokens) {
  if (request.neurons < 1 || request.neurons > kMaxNeurons) {
    refuse("1 to " + std::to_string(kMaxNeurons) + " neurons", "trace", request.neurons);
  }
  if (tokens == 0) refuse("at least one token", "trace", 0);
  if (request.max_trials == 0) refuse("at least 1", "trials", 0);
  std::uint64_t previous = 0;
  for (const std::uint64_t batch : request.batch_sizes) {
    if (batch <= previous) refuse("ascending batch sizes from 1", "batch", batch);
    if (batch > tokens) refuse("at most " + std::to_string(tokens) + " (tokens of the trace)", "batch", batch);
    previous = batch;
  }
  const std::uint64_t row = row_bytes(request.element, request.neurons);
  for (const Segment& segment : request.segments) {
    const std::uint64_t size = File(segment.path, File::Mode::kRead).size();
    // tokens <= 2^25 and row <= 2^20: the product cannot overflow.
    if (segment.offset > size || segment.tokens * row > size - segment.offset) {
      throw TraceFailure("Expected " + std::to_string(segment.tokens * row) + " bytes from offset " +
                         std::to_string(segment.offset) + " of " + segment.path + ", got a file of " +
                         std::to_string(size));
    }
  }
}

std::uint64_t mask_stride(std::uint64_t neurons) {
  return (row_bytes(Element::kMask, neurons) + kCacheLine - 1) / kCacheLine * kCacheLine;
}

// Accumulators of all batches of one size.
struct Batches {
  std::uint64_t batch_size;
  std::uint64_t trials;
  std::vector<std::uint8_t> masks;
  // One per accumulator: threads stream different tokens, which may belong to the same batch.
  std::unique_ptr<std::atomic_flag[]> locks;
};

// Sums over batches, exact in integers: 2^25 tokens of up to 2^18 neurons stay below 2^61.
struct Counts {
  std::uint64_t n = 0;
  std::uint64_t sum = 0;
  std::uint64_t sum_of_squares = 0;
  void add(std::uint64_t count) {
    ++n;
    sum += count;
    sum_of_squares += count * count;
  }
  void add(const Counts& other) {
    n += other.n;
    sum += other.sum;
    sum_of_squares += other.sum_of_squares;
  }
};

BatchUnion summarize(std::uint64_t batch_size, const Counts& counts) {
  const long double n = static_cast<long double>(counts.n);
  const long double mean = static_cast<long double>(counts.sum) / n;
  double std = std::numeric_limits<double>::quiet_NaN();
  if (counts.n >= 2) {
    const long double centred =
        static_cast<long double>(counts.sum_of_squares) - mean * static_cast<long double>(counts.sum);
    std = static_cast<double>(std::sqrt(std::max(0.0L, centred / (n - 1))));
  }
  return {batch_size, counts.n, static_cast<double>(mean), std};
}

// State that the threads share; everything but the accumulators, the counter and the totals is read only.
struct Stream {
  const UnionRequest& request;
  const BitKernels& kernels;
  const std::vector<std::uint32_t> place;
  std::vector<Batches> batches;
  // First token of each segment
  std::vector<std::uint64_t> first_token;
  std::uint64_t tokens;
  std::uint64_t row;
  std::uint64_t mask;
  std::uint64_t stride;
  std::uint64_t chunk_rows;
  bool wants_single;

  std::atomic<std::uint64_t> next_token{0};
  std::atomic<bool> failed{false};
  std::mutex merge{};
  Counts single{};
  std::uint64_t nan_values = 0;
  std::uint64_t first_padded = kNoToken;
  std::exception_ptr error{};
};

void accumulate(Stream& stream, const std::uint8_t* mask, std::uint64_t token) {
  const std::uint32_t place = stream.place[token];
  if (place == kNoPlace) return;
  for (Batches& batches : stream.batches) {
    const std::uint64_t index = place / static_cast<std::uint32_t>(batches.batch_size);
    if (index >= batches.trials) continue;
    std::atomic_flag& lock = batches.locks[index];
    while (lock.test_and_set(std::memory_order_acquire)) std::this_thread::yield();
    stream.kernels.or_into(batches.masks.data() + index * stream.stride, mask, stream.mask);
    lock.clear(std::memory_order_release);
  }
}

// What one thread gathers before it merges.
struct Local {
  std::vector<std::uint8_t> chunk;
  std::vector<std::uint8_t> packed;
  Counts single;
  std::uint64_t nan_values = 0;
  std::uint64_t first_padded = kNoToken;
};

const std::uint8_t* as_mask(const Stream& stream, Local& local, const std::uint8_t* row) {
  std::uint8_t* packed = local.packed.data();
  switch (stream.request.element) {
    case Element::kMask:
      return row;
    case Element::kF16:
      local.nan_values += stream.kernels.pack_f16(packed, row, stream.request.neurons);
      return packed;
    case Element::kBF16:
      local.nan_values += stream.kernels.pack_bf16(packed, row, stream.request.neurons);
      return packed;
    case Element::kF32:
      local.nan_values += stream.kernels.pack_f32(packed, row, stream.request.neurons);
      return packed;
  }
  return packed;
}

void process_rows(Stream& stream, Local& local, std::uint64_t first_token, std::uint64_t rows) {
  const unsigned used_bits = stream.request.neurons % 8;
  const std::uint8_t padding = used_bits == 0 ? 0 : static_cast<std::uint8_t>(0xFF << used_bits);
  for (std::uint64_t i = 0; i < rows; ++i) {
    const std::uint8_t* mask = as_mask(stream, local, local.chunk.data() + i * stream.row);
    if ((mask[stream.mask - 1] & padding) != 0) local.first_padded = std::min(local.first_padded, first_token + i);
    if (stream.wants_single) local.single.add(stream.kernels.popcount(mask, stream.mask));
    accumulate(stream, mask, first_token + i);
  }
}

// Takes the next chunk of tokens until none is left; the threads together read the files from front to back.
void stream_tokens(Stream& stream, Local& local) {
  std::unique_ptr<File> file;
  std::size_t open_segment = std::numeric_limits<std::size_t>::max();
  while (!stream.failed.load(std::memory_order_relaxed)) {
    if (stream.request.cancel != nullptr && stream.request.cancel->load(std::memory_order_relaxed)) throw Cancelled();
    std::uint64_t token = stream.next_token.fetch_add(stream.chunk_rows, std::memory_order_relaxed);
    const std::uint64_t end = std::min(token + stream.chunk_rows, stream.tokens);
    if (token >= end) return;
    while (token < end) {
      const auto after = std::upper_bound(stream.first_token.begin(), stream.first_token.end(), token);
      const std::size_t s = static_cast<std::size_t>(after - stream.first_token.begin()) - 1;
      const Segment& segment = stream.request.segments[s];
      const std::uint64_t inside = token - stream.first_token[s];
      const std::uint64_t rows = std::min(end - token, segment.tokens - inside);
      if (s != open_segment) {
        file = std::make_unique<File>(segment.path, File::Mode::kRead);
        open_segment = s;
      }
      file->read(local.chunk.data(), rows * stream.row, segment.offset + inside * stream.row);
      process_rows(stream, local, token, rows);
      token += rows;
    }
  }
}

void run_thread(Stream& stream) {
  try {
    Local local;
    local.chunk.resize(stream.chunk_rows * stream.row);
    local.packed.resize(stream.mask);
    stream_tokens(stream, local);
    const std::lock_guard<std::mutex> guard(stream.merge);
    stream.single.add(local.single);
    stream.nan_values += local.nan_values;
    stream.first_padded = std::min(stream.first_padded, local.first_padded);
  } catch (...) {
    const std::lock_guard<std::mutex> guard(stream.merge);
    if (!stream.error) stream.error = std::current_exception();
    stream.failed.store(true);
  }
}

std::vector<Batches> make_batches(const UnionRequest& request, const std::vector<std::uint64_t>& trials) {
  std::vector<Batches> all;
  const std::uint64_t stride = mask_stride(request.neurons);
  for (std::size_t i = 0; i < request.batch_sizes.size(); ++i) {
    if (request.batch_sizes[i] == 1) continue;
    all.push_back({request.batch_sizes[i], trials[i], std::vector<std::uint8_t>(trials[i] * stride),
                   std::make_unique<std::atomic_flag[]>(trials[i])});
  }
  return all;
}

void run_threads(Stream& stream) {
  const std::uint64_t chunks = (stream.tokens + stream.chunk_rows - 1) / stream.chunk_rows;
  unsigned threads = stream.request.threads == 0 ? std::thread::hardware_concurrency() : stream.request.threads;
  threads = static_cast<unsigned>(std::clamp<std::uint64_t>(threads, 1, chunks));
  std::vector<std::thread> pool;
  try {
    for (unsigned i = 1; i < threads; ++i) pool.emplace_back(run_thread, std::ref(stream));
  } catch (const std::system_error&) {
    // The system grants no further thread: those that run take all chunks.
  }
  run_thread(stream);
  for (std::thread& thread : pool) thread.join();
  if (stream.error) std::rethrow_exception(stream.error);
  if (stream.first_padded != kNoToken) {
    refuse("no bit set past neuron " + std::to_string(stream.request.neurons - 1), "mask of token",
           stream.first_padded);
  }
}

}  // namespace

std::vector<std::uint32_t> draw_places(std::uint64_t n, std::uint64_t limit, std::uint64_t seed) {
  std::vector<std::uint32_t> tokens(n);
  std::iota(tokens.begin(), tokens.end(), 0u);
  std::vector<std::uint32_t> place(n, kNoPlace);
  SplitMix random(seed);
  for (std::uint64_t i = 0; i < limit; ++i) {
    std::swap(tokens[i], tokens[i + random.below(n - i)]);
    place[tokens[i]] = static_cast<std::uint32_t>(i);
  }
  return place;
}

std::vector<std::uint64_t> plan_trials(const UnionRequest& request, std::uint64_t tokens) {
  const std::uint64_t stride = mask_stride(request.neurons);
  const auto bytes_at = [&](std::uint64_t cap) {
    std::uint64_t bytes = 0;
    for (const std::uint64_t batch : request.batch_sizes) {
      if (batch > 1) bytes += std::min(cap, tokens / batch) * stride;
    }
    return bytes;
  };
  // The largest cap within the budget, by bisection: `low` always fits (or is 1), `high` + 1 never does.
  std::uint64_t low = 1;
  std::uint64_t high = std::min(request.max_trials, tokens);
  while (low < high) {
    const std::uint64_t middle = low + (high - low + 1) / 2;
    if (bytes_at(middle) <= request.accumulator_bytes) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  std::vector<std::uint64_t> trials;
  for (const std::uint64_t batch : request.batch_sizes) {
    trials.push_back(batch == 1 ? tokens : std::min(low, tokens / batch));
  }
  return trials;
}

UnionResult measure_union(const UnionRequest& request) {
  const std::uint64_t tokens = count_tokens(request);
  check_request(request, tokens);
  const std::vector<std::uint64_t> trials = plan_trials(request, tokens);
  // Tokens past this place belong to no batch above 1.
  std::uint64_t limit = 0;
  for (std::size_t i = 0; i < trials.size(); ++i) {
    if (request.batch_sizes[i] > 1) limit = std::max(limit, trials[i] * request.batch_sizes[i]);
  }
  const std::uint64_t row = row_bytes(request.element, request.neurons);
  std::vector<std::uint64_t> first_token;
  std::uint64_t first = 0;
  for (const Segment& segment : request.segments) {
    first_token.push_back(first);
    first += segment.tokens;
  }
  Stream stream{.request = request,
                .kernels = kernels_for(request.isa),
                .place = draw_places(tokens, limit, request.seed),
                .batches = make_batches(request, trials),
                .first_token = std::move(first_token),
                .tokens = tokens,
                .row = row,
                .mask = row_bytes(Element::kMask, request.neurons),
                .stride = mask_stride(request.neurons),
                .chunk_rows = std::max<std::uint64_t>(1, request.chunk_bytes / row),
                .wants_single = !request.batch_sizes.empty() && request.batch_sizes.front() == 1};
  run_threads(stream);

  UnionResult result{.batches = {}, .tokens = tokens, .bytes_read = tokens * row, .nan_values = stream.nan_values};
  if (stream.wants_single) result.batches.push_back(summarize(1, stream.single));
  for (const Batches& batches : stream.batches) {
    Counts counts;
    for (std::uint64_t i = 0; i < batches.trials; ++i) {
      counts.add(stream.kernels.popcount(batches.masks.data() + i * stream.stride, stream.mask));
    }
    result.batches.push_back(summarize(batches.batch_size, counts));
  }
  return result;
}

}  // namespace polar::traces
