// How fast masks are OR-ed and counted beside what this machine can read at all: `polar_traces_bandwidth FILE`.
// FILE is scratch: 2 GiB of masks of 4,096 neurons, written when it is not there.
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#include "../../src/native/traces/draw.h"
#include "../../src/native/traces/file.h"
#include "../../src/native/traces/union.h"

namespace {

using namespace polar::traces;
constexpr std::uint64_t kRow = 512;
constexpr std::uint64_t kTokens = (2ull << 30) / kRow;
constexpr unsigned kThreads = 2;
volatile std::uint64_t keep;

// Best of five, in GB/s.
double best(std::uint64_t bytes, const std::function<void()>& run) {
  double seconds = 1e9;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    seconds = std::min(seconds, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return static_cast<double>(bytes) / seconds / 1e9;
}

void in_threads(const std::function<void(unsigned)>& body) {
  std::vector<std::thread> pool;
  for (unsigned i = 0; i < kThreads; ++i) pool.emplace_back(body, i);
  for (std::thread& thread : pool) thread.join();
}

long peak_kb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

void draw(const char* path) {
  struct stat info{};
  if (stat(path, &info) == 0 && info.st_size == static_cast<off_t>(kRow * kTokens)) return;
  std::fclose(std::fopen(path, "wb"));
  DrawRequest request;
  request.path = path;
  request.tokens = kTokens;
  request.thresholds.assign(kRow * 8, 0x10000000u);
  draw_masks(request);
}

double file_read(const char* path) {
  return best(kRow * kTokens, [&] {
    in_threads([&](unsigned i) {
      const File file(path, File::Mode::kRead);
      std::vector<std::uint8_t> chunk(256u << 10);
      const std::uint64_t share = kRow * kTokens / kThreads;
      for (std::uint64_t o = 0; o < share; o += chunk.size()) file.read(chunk.data(), chunk.size(), i * share + o);
    });
  });
}

double file_union(const char* path, std::vector<std::uint64_t> batches) {
  return best(kRow * kTokens, [&] {
    UnionRequest request;
    request.neurons = kRow * 8;
    request.segments = {{path, 0, kTokens}};
    request.batch_sizes = batches;
    request.threads = kThreads;
    keep = static_cast<std::uint64_t>(measure_union(request).batches[0].mean);
  });
}

// Memory far larger than the caches, read once and only once per pass.
void memory() {
  constexpr std::size_t kBytes = 2ull << 30;
  std::vector<std::uint64_t> words(kBytes / 8, 0x0123456789ABCDEFull);
  const auto* data = reinterpret_cast<const std::uint8_t*>(words.data());
  const BitKernels& kernels = kernels_for(best_isa());
  const auto pass = [&](const std::function<void(const std::uint8_t*, const std::uint8_t*)>& body) {
    return best(kBytes, [&] {
      in_threads([&](unsigned i) { body(data + i * (kBytes / kThreads), data + (i + 1) * (kBytes / kThreads)); });
    });
  };
  const double read = pass([](const std::uint8_t* p, const std::uint8_t* end) {
    std::uint64_t a = 0, b = 0, c = 0, d = 0;
    for (const auto* w = reinterpret_cast<const std::uint64_t*>(p); w < reinterpret_cast<const std::uint64_t*>(end);
         w += 32) {
      for (int k = 0; k < 32; k += 4) a += w[k], b += w[k + 1], c += w[k + 2], d += w[k + 3];
    }
    keep = a + b + c + d;
  });
  const double both = pass([&](const std::uint8_t* p, const std::uint8_t* end) {
    std::vector<std::uint8_t> accumulator(kRow);
    std::uint64_t count = 0;
    for (; p < end; p += kRow) {
      count += kernels.popcount(p, kRow);
      kernels.or_into(accumulator.data(), p, kRow);
    }
    keep = count + kernels.popcount(accumulator.data(), kRow);
  });
  std::printf("memory: read %.1f GB/s, OR and popcount %.1f GB/s (%.0f %%)\n", read, both, 100 * both / read);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: polar_traces_bandwidth FILE\n");
    return 2;
  }
  draw(argv[1]);
  std::printf("%s, %u threads, %llu tokens of %llu neurons\n", isa_name(best_isa()).c_str(), kThreads,
              static_cast<unsigned long long>(kTokens), static_cast<unsigned long long>(kRow * 8));
  const double read = file_read(argv[1]);
  const double single = file_union(argv[1], {1});
  const double all = file_union(argv[1], {1, 2, 4, 8, 16, 32, 64});
  std::printf("file:   read %.1f GB/s, union at B=1 %.1f GB/s (%.0f %%), B=1..64 %.1f GB/s (%.0f %%), peak %ld MB\n",
              read, single, 100 * single / read, all, 100 * all / read, peak_kb() / 1024);
  memory();
  return 0;
}
