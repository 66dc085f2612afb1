#include "inputs.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "../common/half.h"
#include "../common/problem.h"
#include "inner/inner.h"

namespace polar::cpu {
namespace {

constexpr int64_t kPiece = int64_t{1} << 19;  // elements that a thread fills at a time
// A layer's small tensors come in thousands of copies where layers are small; a mapping each would exhaust what the
// operating system allows.
constexpr size_t kSlabBytes = size_t{2} << 20;
constexpr int64_t kSlice = int64_t{1} << 26;  // elements between two signs of life

// Overwrites the rows [valid, capacity) that intersect the elements [first, first + count).
void poison_tail(const TensorSpec& spec, int64_t first, int64_t count, uint16_t* data) {
  if (spec.capacity == spec.valid) return;
  const int64_t block = spec.capacity * spec.row;
  const int64_t start = spec.valid * spec.row;
  for (int64_t base = first / block * block; base < first + count; base += block) {
    const int64_t from = std::max(first, base + start);
    const int64_t to = std::min(first + count, base + block);
    if (from < to) std::fill(data + from, data + to, kHalfNaN);
  }
}

}  // namespace

void fill_tensor(const TensorSpec& spec, int64_t copy, uint16_t* data, Isa isa, ThreadPool& pool,
                 const Reporter& reporter) {
  const Inner& loops = inner(isa, spec.dtype);
  const uint64_t key = stream_key(spec.seed, spec.tensor, static_cast<uint64_t>(copy));
  for (int64_t slice = 0; slice < spec.elements; slice += kSlice) {
    reporter.alive("fill", static_cast<double>(slice) / static_cast<double>(spec.elements));
    const int64_t end = std::min(spec.elements, slice + kSlice);
    std::atomic<int64_t> next{slice};  // values do not depend on who fills them
    pool.run([&](int) {
      for (int64_t first = next.fetch_add(kPiece); first < end; first = next.fetch_add(kPiece)) {
        const int64_t count = std::min(kPiece, end - first);
        loops.fill(key, first, count, spec.scale, data + first);
        poison_tail(spec, first, count, data);
      }
    });
  }
}

TensorSpec tensor_spec(const PolarProblem& p, Tensor tensor) {
  TensorSpec spec{tensor, p.seed, p.dtype, tensor_elements(p, tensor), tensor_scale(p, tensor), 0, 0, 0, false};
  if (tensor == Tensor::kKey || tensor == Tensor::kValue) {
    // The position that a layer itself appends holds NaN until it did.
    spec.appended = is_block(p);
    spec.valid = spec.appended ? p.kv_len - 1 : p.kv_len;
    spec.capacity = p.kv_capacity;
    spec.row = p.head_dim;
  }
  return spec;
}

std::vector<uint16_t*> InputStore::get(const TensorSpec& spec, int64_t copies, Isa isa, ThreadPool& pool,
                                       const Reporter& reporter) {
  auto found = std::find_if(entries_.begin(), entries_.end(), [&](const auto& e) { return e->spec == spec; });
  if (found == entries_.end()) {
    entries_.push_back(std::make_unique<Entry>());
    found = std::prev(entries_.end());
    (*found)->spec = spec;
  }
  Entry& entry = **found;
  const size_t stride = (static_cast<size_t>(spec.bytes()) + 63) / 64 * 64;
  const auto per_slab = static_cast<int64_t>(std::max<size_t>(1, kSlabBytes / stride));
  while (static_cast<int64_t>(entry.copies.size()) < copies) {
    const auto copy = static_cast<int64_t>(entry.copies.size());
    if (entry.room == 0) {
      entry.room = std::min(per_slab, copies - copy);
      entry.slabs.emplace_back(stride * static_cast<size_t>(entry.room));
    }
    const Buffer& slab = entry.slabs.back();
    auto* data = reinterpret_cast<uint16_t*>(slab.data() + slab.size() - stride * static_cast<size_t>(entry.room));
    fill_tensor(spec, copy, data, isa, pool, reporter);
    entry.copies.push_back(data);  // only when it is whole: a cancelled fill leaves nothing behind
    --entry.room;
  }
  return {entry.copies.begin(), entry.copies.begin() + copies};
}

double InputStore::held_bytes(const TensorSpec& spec) const {
  for (const auto& e : entries_) {
    if (e->spec == spec) return spec.bytes() * static_cast<double>(e->copies.size());
  }
  return 0;
}

double InputStore::held_bytes() const {
  double bytes = 0;
  for (const auto& e : entries_) bytes += e->spec.bytes() * static_cast<double>(e->copies.size());
  return bytes;
}

void InputStore::release(const std::vector<TensorSpec>& keep) {
  std::erase_if(entries_, [&](const auto& e) { return std::find(keep.begin(), keep.end(), e->spec) == keep.end(); });
}

}  // namespace polar::cpu
