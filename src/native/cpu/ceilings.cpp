#include "ceilings.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "../common/error.h"
#include "../common/random.h"
#include "../common/stopping.h"
#include "buffer.h"
#include "inner/inner.h"
#include "kernels/mlp_phases.h"
#include "machine.h"

namespace polar::cpu {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Pattern {
  int streams;
  size_t ahead;  // bytes of software prefetch
};
// Which one wins differs between machines and even between runs: hardware prefetchers follow one to a few streams per
// core and stop at page boundaries.
constexpr Pattern kPatterns[] = {{1, 0}, {2, 0}, {4, 0}, {1, 2048}, {2, 512}, {4, 512}};
constexpr size_t kWindows = 16;  // timed windows of each pattern, at least

constexpr size_t kGrain = size_t{1} << 21;   // bytes that a thread fills at a time
constexpr size_t kWindow = size_t{1} << 26;  // bytes that a thread reads in one timed window; its part is a multiple

// Random bytes, not zeros: nothing on the way may compress or special-case them.
Buffer filled(size_t bytes, Isa isa, ThreadPool& pool, const Reporter& reporter) {
  Buffer buffer(bytes);
  const Inner& loops = inner(isa, POLAR_BF16);
  const int threads = pool.size();
  const auto slices = static_cast<int64_t>(bytes / kGrain / static_cast<size_t>(threads));
  const auto per_slice = static_cast<int64_t>(kGrain / sizeof(uint16_t));
  constexpr int64_t kSlicesPerBeat = 64;
  for (int64_t slice = 0; slice < slices; slice += kSlicesPerBeat) {
    reporter.alive("fill", static_cast<double>(slice) / static_cast<double>(slices));
    pool.run([&](int t) {
      for (int64_t s = slice; s < std::min(slices, slice + kSlicesPerBeat); ++s) {
        const int64_t first = (static_cast<int64_t>(t) * slices + s) * per_slice;
        loops.fill(1, first, per_slice, 1.0f, buffer.half() + first);
      }
    });
  }
  return buffer;
}

void measure_read(Isa isa, ThreadPool& pool, const Reporter& reporter) {
  const int threads = pool.size();
  const double wanted = 5.0 * last_level_cache_bytes();
  const double allowed = 0.6 * (available_memory_bytes() + idle_buffer_bytes());
  const size_t unit = kWindow * static_cast<size_t>(threads);
  const size_t bytes = std::max<size_t>(1, static_cast<size_t>(std::min(wanted, allowed)) / unit) * unit;
  if (allowed < wanted) reporter.warn(-1, "Free memory allows a read test of less than 5x the last-level cache");
  const Buffer buffer = filled(bytes, isa, pool, reporter);
  const Inner& loops = inner(isa, POLAR_BF16);
  const size_t part = bytes / static_cast<size_t>(threads);
  std::vector<uint64_t> checksums(static_cast<size_t>(threads) * 8);
  const size_t windows = part / kWindow;
  const size_t passes = (kWindows + windows - 1) / windows;
  double best = 0;
  size_t done = 0;
  for (const Pattern& pattern : kPatterns) {
    std::vector<double> rates;
    for (size_t pass = 0; pass < passes; ++pass) {
      reporter.alive("read ceiling", static_cast<double>(done++) / static_cast<double>(std::size(kPatterns) * passes));
      // Windows of a few milliseconds, as long as a kernel's run, and their median, as for a kernel's runs: what a
      // shared machine gives varies by a factor of two within a second, and the best instant is no ceiling that a
      // median can be held against.
      for (size_t window = 0; window < windows; ++window) {
        const auto start = Clock::now();
        pool.run([&](int t) {
          const std::byte* data = buffer.data() + static_cast<size_t>(t) * part + window * kWindow;
          checksums[static_cast<size_t>(t) * 8] ^= loops.read(data, kWindow, pattern.streams, pattern.ahead);
        });
        rates.push_back(static_cast<double>(kWindow) * threads / seconds_since(start) / 1e9);
      }
    }
    const std::string name = "read_gb_per_s.stream-" + std::to_string(pattern.streams) + "x" +
                             (pattern.ahead > 0 ? "-prefetch-" + std::to_string(pattern.ahead) : "");
    const double typical = median(std::move(rates));
    reporter.number(name.c_str(), typical);
    best = std::max(best, typical);
  }
  // Using the checksums is what keeps the loads from being left out.
  volatile uint64_t all = 0;
  for (uint64_t c : checksums) all = all ^ c;
  reporter.number("read_gb_per_s", best);
}

// Multiply-adds whose operands stay in registers, in TFLOP/s.
double register_peak(int32_t dtype, Isa isa, ThreadPool& pool, const Reporter& reporter) {
  const Inner& loops = inner(isa, dtype);
  std::vector<float> sinks(static_cast<size_t>(pool.size()) * 16);
  std::vector<double> operations(static_cast<size_t>(pool.size()));
  double best = 0;
  int64_t steps = 100000;
  for (int pass = 0; pass < 12; ++pass) {
    reporter.alive("matrix ceiling", pass / 24.0);
    const auto start = Clock::now();
    pool.run([&](int t) {
      operations[static_cast<size_t>(t)] = loops.matrix_peak(steps, &sinks[static_cast<size_t>(t) * 16]);
    });
    const double seconds = seconds_since(start);
    double total = 0;
    for (double o : operations) total += o;
    best = std::max(best, total / seconds / 1e12);
    if (seconds < 0.03) steps *= 2;
  }
  return best;
}

// A product of cache-sized matrices through the kernels' own up projection: X [64, 2048] times W [512, 2048]^T.
double product_rate(int32_t dtype, Isa isa, ThreadPool& pool, const Reporter& reporter) {
  PolarProblem p{};
  p.scope = POLAR_SCOPE_MLP_UP;
  p.dtype = dtype;
  p.batch_size = 64;
  p.hidden_size = 2048;
  p.intermediate_size = 512;
  p.activation = POLAR_RELU;
  const Inner& loops = inner(isa, dtype);
  Buffer x(static_cast<size_t>(p.batch_size * p.hidden_size) * 2);
  Buffer w(static_cast<size_t>(p.intermediate_size * p.hidden_size) * 2);
  Buffer out(static_cast<size_t>(p.batch_size * p.intermediate_size) * 2);
  Buffer workspace(mlp_direct_workspace_bytes(p, p.intermediate_size, pool.size()));
  loops.fill(2, 0, p.batch_size * p.hidden_size, 1.0f, x.half());
  loops.fill(3, 0, p.intermediate_size * p.hidden_size, 0.02f, w.half());
  MlpArgs args{};
  args.x = x.half();
  args.w1 = w.half();
  args.out = out.half();
  args.active_neurons = p.intermediate_size;
  const Launch launch{p, loops, pool, workspace.data(), false};
  const double operations = 2.0 * static_cast<double>(p.batch_size * p.hidden_size * p.intermediate_size);
  double best = 0;
  for (int pass = 0; pass < 60; ++pass) {
    if (pass % 10 == 0) reporter.alive("matrix ceiling", 0.5 + pass / 120.0);
    const auto start = Clock::now();
    mlp_direct(launch, args);
    best = std::max(best, operations / seconds_since(start) / 1e12);
  }
  return best;
}

}  // namespace

void measure_ceilings(int32_t dtype, Isa isa, ThreadPool& pool, const Reporter& reporter) {
  measure_read(isa, pool, reporter);
  const double registers = register_peak(dtype, isa, pool, reporter);
  const double product = product_rate(dtype, isa, pool, reporter);
  reporter.number("matrix_tflop_per_s.registers", registers);
  reporter.number("matrix_tflop_per_s.product", product);
  reporter.number("matrix_tflop_per_s", std::max(registers, product));
}

}  // namespace polar::cpu
