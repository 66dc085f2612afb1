// Random numbers of the trace tools: fixed by their seed on every machine.
#pragma once

#include <cstdint>

namespace polar::traces {

// The 64-bit finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection that mixes all bits.
constexpr std::uint64_t mix64(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

class SplitMix {
 public:
  explicit SplitMix(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() { return mix64(state_ += 0x9E3779B97F4A7C15u); }
  // Uniform in 0 .. n-1 for n in 1 .. 2^32, without bias and nearly always without a division (Lemire 2019).
  std::uint64_t below(std::uint64_t n) {
    std::uint64_t product = (next() >> 32) * n;
    if ((product & 0xFFFFFFFFu) < n) {
      const std::uint64_t rejected = (std::uint64_t{1} << 32) % n;
      while ((product & 0xFFFFFFFFu) < rejected) product = (next() >> 32) * n;
    }
    return product >> 32;
  }

 private:
  std::uint64_t state_;
};

}  // namespace polar::traces
