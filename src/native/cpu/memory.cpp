#include "memory.h"

#include <algorithm>
#include <cmath>

#include "buffer.h"
#include "machine.h"

namespace polar::cpu {
namespace {

// What is free beside the store; NaN if unknown.
double free_bytes() {
  return available_memory_bytes() + idle_buffer_bytes() - std::max(kReservedBytes, total_memory_bytes() / 20);
}

}  // namespace

double usable_bytes(const InputStore& store) {
  const double free = free_bytes() + store.held_bytes();
  return std::isnan(free) ? INFINITY : std::max(0.0, free);
}

void make_room(InputStore& store, const std::vector<TensorCopies>& wanted, double own_bytes) {
  double missing = own_bytes;
  std::vector<TensorSpec> keep;
  for (const TensorCopies& w : wanted) {
    missing += std::max(0.0, w.spec.bytes() * static_cast<double>(w.copies) - store.held_bytes(w.spec));
    keep.push_back(w.spec);
  }
  const double free = free_bytes();
  if (std::isnan(free) || missing <= kRotationShare * free) return;
  store.release(keep);
}

}  // namespace polar::cpu
