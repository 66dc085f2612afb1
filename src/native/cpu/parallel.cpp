#include "parallel.h"

#include <atomic>
#include <chrono>
#include <cmath>

namespace polar::cpu {

ParallelFor pool_for(ThreadPool& pool, const Reporter& reporter) {
  return [&pool, &reporter](int64_t total, const std::function<void(int64_t)>& body) {
    using Clock = std::chrono::steady_clock;
    constexpr std::chrono::milliseconds kSilence{300};
    std::atomic<int64_t> next{0};
    pool.run([&](int thread) {
      auto last = Clock::now();
      for (int64_t i = next.fetch_add(1); i < total; i = next.fetch_add(1)) {
        body(i);
        if (thread != 0 || Clock::now() - last < kSilence) continue;
        last = Clock::now();
        reporter.alive("verify", static_cast<double>(i) / static_cast<double>(total));
      }
    });
  };
}

}  // namespace polar::cpu
