// Bit-mask primitives over one row of a trace: the inner loops of the union measurement.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace polar::traces {

// Element type of a tensor whose row is one token. `kMask` packs 8 neurons into a byte (neuron 8k+j is bit j of byte
// k).
enum class Element { kMask, kF16, kBF16, kF32 };

// Bytes of one row of `neurons` neurons.
std::uint64_t row_bytes(Element element, std::uint64_t neurons);

// The widest set of instructions that the CPU at hand has, or a narrower one that a test asks for.
enum class Isa { kPortable, kAvx2, kAvx512 };
Isa best_isa();
std::string isa_name(Isa isa);

// One entry per instruction set. Pointers need no alignment; sources and destinations do not overlap.
struct BitKernels {
  // Number of set bits in `bytes` bytes.
  std::uint64_t (*popcount)(const std::uint8_t* src, std::size_t bytes);
  // dst |= src over `bytes` bytes.
  void (*or_into)(std::uint8_t* dst, const std::uint8_t* src, std::size_t bytes);
  // Packs src[neurons] into dst[ceil(neurons / 8)], bit = value > 0; returns how many values were NaN (bit 0).
  std::uint64_t (*pack_f16)(std::uint8_t* dst, const std::uint8_t* src, std::size_t neurons);
  std::uint64_t (*pack_bf16)(std::uint8_t* dst, const std::uint8_t* src, std::size_t neurons);
  std::uint64_t (*pack_f32)(std::uint8_t* dst, const std::uint8_t* src, std::size_t neurons);
};

// Throws std::invalid_argument when this CPU lacks `isa`.
const BitKernels& kernels_for(Isa isa);

}  // namespace polar::traces
