// The trace tools against bit-by-bit loops: every instruction set, odd widths, batches, threads, malformed requests.
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "../../src/native/traces/draw.h"
#include "../../src/native/traces/error.h"
#include "../../src/native/traces/random.h"
#include "../../src/native/traces/union.h"
#include "check.h"

namespace {

using namespace polar::traces;
using Bytes = std::vector<std::uint8_t>;

std::vector<Isa> available() {
  std::vector<Isa> list{Isa::kPortable};
  for (const Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
    if (best_isa() >= isa) list.push_back(isa);
  }
  return list;
}

// A file that is gone when the test ends.
struct TempFile {
  std::string path;
  explicit TempFile(const Bytes& content) {
    char name[] = "/tmp/polar-trace-test-XXXXXX";
    const int fd = mkstemp(name);
    path = name;
    if (write(fd, content.data(), content.size()) != static_cast<ssize_t>(content.size())) std::abort();
    close(fd);
  }
  ~TempFile() { unlink(path.c_str()); }
  Bytes read() const {
    Bytes all;
    FILE* file = fopen(path.c_str(), "rb");
    for (int c = fgetc(file); c != EOF; c = fgetc(file)) all.push_back(static_cast<std::uint8_t>(c));
    fclose(file);
    return all;
  }
};

Bytes random_bytes(std::size_t n, std::uint64_t seed) {
  SplitMix random(seed);
  Bytes bytes(n);
  for (auto& b : bytes) b = static_cast<std::uint8_t>(random.next());
  return bytes;
}

// Masks with `percent` of the bits set and none past `neurons`.
Bytes random_masks(std::uint64_t tokens, std::uint64_t neurons, unsigned percent, std::uint64_t seed) {
  SplitMix random(seed);
  const std::uint64_t row = row_bytes(Element::kMask, neurons);
  Bytes bytes(tokens * row);
  for (std::uint64_t t = 0; t < tokens; ++t) {
    for (std::uint64_t j = 0; j < neurons; ++j) {
      if (random.below(100) < percent) bytes[t * row + j / 8] |= static_cast<std::uint8_t>(1u << (j % 8));
    }
  }
  return bytes;
}

template <typename Function>
std::string failure_of(Function function) {
  try {
    function();
  } catch (const TraceFailure& error) {
    return error.what();
  }
  return "nothing thrown";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Straight from the definition: the union of each batch, one bit at a time.
BatchUnion slow_union(const Bytes& masks, std::uint64_t tokens, std::uint64_t neurons, std::uint64_t batch,
                      std::uint64_t trials, std::uint64_t seed) {
  const auto place = draw_places(tokens, tokens, seed);
  const std::uint64_t row = row_bytes(Element::kMask, neurons);
  std::vector<double> counts;
  for (std::uint64_t i = 0; i < trials; ++i) {
    std::uint64_t count = 0;
    for (std::uint64_t j = 0; j < neurons; ++j) {
      bool active = false;
      for (std::uint64_t t = 0; t < tokens; ++t) {
        if (place[t] / batch == i && (masks[t * row + j / 8] >> (j % 8) & 1) != 0) active = true;
      }
      count += active;
    }
    counts.push_back(static_cast<double>(count));
  }
  double mean = 0;
  for (const double c : counts) mean += c / static_cast<double>(trials);
  double squares = 0;
  for (const double c : counts) squares += (c - mean) * (c - mean);
  return {batch, trials, mean, std::sqrt(squares / static_cast<double>(trials - 1))};
}

UnionRequest request_for(const TempFile& file, std::uint64_t tokens, std::uint64_t neurons) {
  UnionRequest request;
  request.neurons = neurons;
  request.segments = {{file.path, 0, tokens}};
  request.batch_sizes = {1, 2, 3, 8};
  request.seed = 7;
  return request;
}

}  // namespace

TEST("traces: popcount and or agree with byte loops at every length and offset") {
  const Bytes source = random_bytes(600, 1);
  for (const Isa isa : available()) {
    const BitKernels& kernels = kernels_for(isa);
    for (std::size_t offset : {0, 1, 7}) {
      for (std::size_t n = 0; n <= 520; ++n) {
        std::uint64_t expected = 0;
        for (std::size_t i = 0; i < n; ++i) expected += std::popcount(source[offset + i]);
        CHECK_EQ(kernels.popcount(source.data() + offset, n), expected);
        Bytes dst = random_bytes(600, 2);
        Bytes wanted = dst;
        for (std::size_t i = 0; i < n; ++i) wanted[offset + i] |= source[i];
        kernels.or_into(dst.data() + offset, source.data(), n);
        CHECK(dst == wanted);
      }
    }
  }
}

TEST("traces: every 16-bit pattern is active exactly when its value is > 0") {
  Bytes all(65536 * 2);
  for (std::uint32_t i = 0; i < 65536; ++i) {
    all[2 * i] = static_cast<std::uint8_t>(i);
    all[2 * i + 1] = static_cast<std::uint8_t>(i >> 8);
  }
  for (const Isa isa : available()) {
    Bytes f16(8192), bf16(8192);
    const std::uint64_t nan16 = kernels_for(isa).pack_f16(f16.data(), all.data(), 65536);
    const std::uint64_t nan_bf16 = kernels_for(isa).pack_bf16(bf16.data(), all.data(), 65536);
    std::uint64_t expected_nan = 0;
    for (std::uint32_t i = 0; i < 65536; ++i) {
      // Half precision by its definition: 5 exponent bits, 10 fraction bits.
      const int exponent = (i >> 10) & 31, fraction = i & 1023;
      const bool half_nan = exponent == 31 && fraction != 0;
      const bool half_active = !half_nan && (i >> 15) == 0 && (exponent | fraction) != 0;
      CHECK_EQ(f16[i / 8] >> (i % 8) & 1, half_active ? 1 : 0);
      const std::uint32_t widened = i << 16;
      float value;
      std::memcpy(&value, &widened, 4);
      expected_nan += std::isnan(value);
      CHECK_EQ(bf16[i / 8] >> (i % 8) & 1, value > 0 ? 1 : 0);
    }
    CHECK_EQ(nan16, 2u * 1023u);
    CHECK_EQ(nan_bf16, expected_nan);
  }
}

TEST("traces: float rows of odd width, NaN and denormals") {
  const float special[] = {0.0f,
                           -0.0f,
                           1.0f,
                           -1.0f,
                           std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity(),
                           std::numeric_limits<float>::quiet_NaN(),
                           1e-45f};
  for (const Isa isa : available()) {
    for (std::size_t n = 1; n <= 70; ++n) {
      Bytes source(n * 4);
      std::uint64_t nan = 0;
      for (std::size_t j = 0; j < n; ++j) {
        std::memcpy(&source[j * 4], &special[(j * 5 + n) % 8], 4);
        nan += std::isnan(special[(j * 5 + n) % 8]);
      }
      Bytes mask(16, 0xAA);
      CHECK_EQ(kernels_for(isa).pack_f32(mask.data(), source.data(), n), nan);
      for (std::size_t j = 0; j < n; ++j) CHECK_EQ(mask[j / 8] >> (j % 8) & 1, special[(j * 5 + n) % 8] > 0 ? 1 : 0);
      if (n % 8 != 0) CHECK_EQ(mask[n / 8] >> (n % 8), 0);
      CHECK_EQ(mask[(n + 7) / 8], 0xAA);
    }
  }
}

TEST("traces: union of random batches equals the definition, for every width, thread count and chunk size") {
  for (const std::uint64_t neurons : {1, 7, 8, 9, 64, 531}) {
    const std::uint64_t tokens = 61;
    const Bytes masks = random_masks(tokens, neurons, 9, neurons);
    const TempFile file(masks);
    for (const Isa isa : available()) {
      for (const std::uint64_t chunk : {1u, 200u, 1u << 20}) {
        UnionRequest request = request_for(file, tokens, neurons);
        request.isa = isa;
        request.chunk_bytes = chunk;
        request.threads = 3;
        const UnionResult result = measure_union(request);
        CHECK_EQ(result.batches.size(), 4u);
        CHECK_EQ(result.bytes_read, masks.size());
        for (const BatchUnion& got : result.batches) {
          const BatchUnion want = slow_union(masks, tokens, neurons, got.batch_size, tokens / got.batch_size, 7);
          CHECK_EQ(got.trials, want.trials);
          CHECK_NEAR(got.mean, want.mean, 1e-9);
          CHECK_NEAR(got.std, want.std, 1e-9);
        }
      }
    }
  }
}

TEST("traces: several files are read as one, at their offsets") {
  const Bytes masks = random_masks(50, 40, 20, 3);
  Bytes first(masks.begin(), masks.begin() + 20 * 5);
  Bytes second(13 + 30 * 5, 0xFF);
  std::copy(masks.begin() + 20 * 5, masks.end(), second.begin() + 13);
  const TempFile whole(masks), a(first), b(second);
  UnionRequest request = request_for(whole, 50, 40);
  const UnionResult expected = measure_union(request);
  request.segments = {{a.path, 0, 20}, {b.path, 13, 30}};
  request.chunk_bytes = 35;
  const UnionResult got = measure_union(request);
  for (std::size_t i = 0; i < 4; ++i) CHECK_EQ(got.batches[i].mean, expected.batches[i].mean);
}

TEST("traces: half-precision activations give the union of their masks, and NaN is reported") {
  const std::uint64_t tokens = 40, neurons = 37;
  const Bytes masks = random_masks(tokens, neurons, 15, 5);
  Bytes half;
  for (std::uint64_t t = 0; t < tokens; ++t) {
    for (std::uint64_t j = 0; j < neurons; ++j) {
      const bool active = (masks[t * 5 + j / 8] >> (j % 8) & 1) != 0;
      half.push_back(0);
      half.push_back(active ? 0x3C : 0xBC);
    }
  }
  half[1] = 0x7E;
  Bytes expected_masks = masks;
  expected_masks[0] &= 0xFE;
  const TempFile a(half), b(expected_masks);
  UnionRequest request = request_for(b, tokens, neurons);
  const UnionResult expected = measure_union(request);
  request.segments[0].path = a.path;
  request.element = Element::kF16;
  const UnionResult got = measure_union(request);
  CHECK_EQ(got.nan_values, 1u);
  for (std::size_t i = 0; i < 4; ++i) CHECK_EQ(got.batches[i].mean, expected.batches[i].mean);
}

TEST("traces: trials and memory limit the number of batches") {
  UnionRequest request;
  request.neurons = 512;
  request.batch_sizes = {1, 2, 64};
  request.max_trials = 10;
  CHECK((plan_trials(request, 1000) == std::vector<std::uint64_t>{1000, 10, 10}));
  request.max_trials = 1000;
  CHECK((plan_trials(request, 1000) == std::vector<std::uint64_t>{1000, 500, 15}));
  request.accumulator_bytes = 64 * 40;  // 15 batches of 64 and 25 of 2
  CHECK((plan_trials(request, 1000) == std::vector<std::uint64_t>{1000, 25, 15}));
  request.accumulator_bytes = 1;
  CHECK((plan_trials(request, 1000) == std::vector<std::uint64_t>{1000, 1, 1}));
}

TEST("traces: places are a permutation, its prefix does not depend on the limit, and it is uniform") {
  const auto all = draw_places(1000, 1000, 1);
  CHECK(all != draw_places(1000, 1000, 2));
  auto sorted = all;
  std::sort(sorted.begin(), sorted.end());
  for (std::uint32_t i = 0; i < 1000; ++i) CHECK_EQ(sorted[i], i);
  const auto prefix = draw_places(1000, 37, 1);
  for (std::uint32_t i = 0; i < 1000; ++i) CHECK_EQ(prefix[i], all[i] < 37 ? all[i] : kNoPlace);
  // All 24 orders of four tokens: Binomial(24000, 1/24) has standard deviation 31.
  int counts[256] = {};
  for (std::uint64_t seed = 0; seed < 24000; ++seed) {
    const auto p = draw_places(4, 4, seed);
    ++counts[p[0] * 64 + p[1] * 16 + p[2] * 4 + p[3]];
  }
  int orders = 0;
  for (const int count : counts) {
    if (count == 0) continue;
    ++orders;
    CHECK(std::abs(count - 1000) < 5 * 31);
  }
  CHECK_EQ(orders, 24);
}

TEST("traces: malformed requests are refused before a byte is read") {
  const TempFile file(random_masks(10, 9, 50, 1));
  const auto failure = [&](auto change) {
    UnionRequest request = request_for(file, 10, 9);
    change(request);
    return failure_of([&] { measure_union(request); });
  };
  CHECK(contains(failure([](auto& r) { r.segments[0].tokens = 11; }), "Expected 22 bytes from offset 0"));
  CHECK(contains(failure([](auto& r) { r.segments[0].offset = 1; }), "from offset 1"));
  CHECK(contains(failure([](auto& r) { r.segments[0].offset = ~0ull; }), "from offset 18446744073709551615"));
  CHECK(contains(failure([](auto& r) { r.segments[0].tokens = ~0ull; }), "Expected at most 33554432 tokens"));
  CHECK(contains(failure([](auto& r) { r.segments[0].tokens = 0; }), "Expected at least one token"));
  CHECK(contains(failure([](auto& r) { r.segments.clear(); }), "Expected at least one token"));
  CHECK(contains(failure([](auto& r) { r.neurons = 0; }), "neurons"));
  CHECK(contains(failure([](auto& r) { r.neurons = kMaxNeurons + 1; }), "neurons"));
  CHECK(contains(failure([](auto& r) { r.batch_sizes = {1, 11}; }),
                 "Expected at most 10 (tokens of the trace) for batch, got 11"));
  CHECK(contains(failure([](auto& r) { r.batch_sizes = {0}; }), "ascending batch sizes"));
  CHECK(contains(failure([](auto& r) { r.batch_sizes = {4, 2}; }), "ascending batch sizes"));
  CHECK(contains(failure([](auto& r) { r.max_trials = 0; }), "trials"));
  CHECK(contains(failure([](auto& r) { r.segments[0].path += "-missing"; }), "Expected to open"));
  CHECK(contains(failure([](auto& r) { r.segments[0].path = "/tmp"; }), "regular file"));
}

TEST("traces: a mask with bits past the last neuron names the first such token") {
  Bytes masks = random_masks(30, 9, 50, 1);
  masks[2 * 21 + 1] |= 0x02;
  masks[2 * 17 + 1] |= 0x80;
  const TempFile file(masks);
  UnionRequest request = request_for(file, 30, 9);
  request.threads = 4;
  request.chunk_bytes = 6;
  CHECK_EQ(failure_of([&] { measure_union(request); }), "Expected no bit set past neuron 8 for mask of token, got 17");
}

TEST("traces: a cancelled measurement stops") {
  const TempFile file(random_masks(10, 9, 50, 1));
  const std::atomic<bool> cancel{true};
  UnionRequest request = request_for(file, 10, 9);
  request.cancel = &cancel;
  bool stopped = false;
  try {
    measure_union(request);
  } catch (const Cancelled&) {
    stopped = true;
  }
  CHECK(stopped);
}

TEST("traces: drawn masks are the same on every instruction set and thread count") {
  DrawRequest request;
  SplitMix random(3);
  for (int j = 0; j < 203; ++j) request.thresholds.push_back(static_cast<std::uint32_t>(random.next()));
  request.tokens = 500;
  request.seed = 5;
  for (const std::uint32_t shared : {0u, 0x80000000u}) {
    request.shared = shared;
    Bytes expected;
    for (const Isa isa : available()) {
      for (const unsigned threads : {1u, 3u}) {
        const TempFile file(Bytes(3, 0x55));
        request.path = file.path;
        request.offset = 3;
        request.isa = isa;
        request.threads = threads;
        draw_masks(request);
        const Bytes got = file.read();
        CHECK_EQ(got.size(), 3u + 500u * 26u);
        CHECK_EQ(got[2], 0x55);
        if (expected.empty()) expected = got;
        CHECK(got == expected);
      }
    }
  }
}

TEST("traces: drawn bits have the neurons' probabilities and the stated correlation") {
  DrawRequest request;
  request.thresholds.assign(4000, 0x40000000u);  // p = 1/4
  request.tokens_per_sequence = 2;
  for (const double correlation : {0.0, 0.36}) {
    request.shared = static_cast<std::uint32_t>(std::sqrt(correlation) * 4294967296.0);
    request.tokens = 400;
    double sum = 0, within = 0, across = 0;
    Bytes rows(400 * 500);
    for (std::uint64_t t = 0; t < 400; ++t) draw_row(request, t, rows.data() + t * 500);
    const auto bit = [&](std::uint64_t t, std::uint64_t j) { return (rows[t * 500 + j / 8] >> (j % 8) & 1) - 0.25; };
    for (std::uint64_t t = 0; t < 400; ++t) {
      for (std::uint64_t j = 0; j < 4000; ++j) {
        sum += bit(t, j) + 0.25;
        if (t % 2 == 0) within += bit(t, j) * bit(t + 1, j);
        if (t % 2 == 1 && t + 1 < 400) across += bit(t, j) * bit(t + 1, j);
      }
    }
    // Variance of one bit is 3/16; 1.6e6 bits, 8e5 pairs: standard errors 0.0005 and 0.0013 in units of correlation.
    CHECK_NEAR(sum / 1.6e6, 0.25, 5 * 0.0005);
    CHECK_NEAR(within / 8e5 / (3.0 / 16), correlation, 5 * 0.0013);
    CHECK_NEAR(across / 8e5 / (3.0 / 16), 0.0, 5 * 0.0013);
  }
}

TEST("traces: thresholds 0 and 2^32 - 1 are never and practically always active") {
  DrawRequest request;
  request.thresholds = {0, 0xFFFFFFFFu, 0, 0xFFFFFFFFu};
  request.tokens = 1;
  std::uint8_t mask = 0xFF;
  draw_row(request, 0, &mask);
  CHECK_EQ(static_cast<int>(mask), 0x0A);
}
