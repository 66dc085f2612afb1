// How much memory a cell may use, and making room for it.
#pragma once

#include <vector>

#include "inputs.h"

namespace polar::cpu {

// Share of the free memory that rotation copies may take.
inline constexpr double kRotationShare = 0.6;
// Memory that a cell leaves to the rest of the machine: at least this, or a twentieth of the total.
inline constexpr double kReservedBytes = 512.0 * 1024 * 1024;

// Bytes that a cell may allocate, infinity where the operating system does not say. What the store holds counts: it is
// either used again or given back.
double usable_bytes(const InputStore& store);

struct TensorCopies {
  TensorSpec spec;
  int64_t copies;
};

// Before a cell allocates `wanted` and `own_bytes` more: frees what other cells left in the store, unless there is room
// for both.
void make_room(InputStore& store, const std::vector<TensorCopies>& wanted, double own_bytes);

}  // namespace polar::cpu
