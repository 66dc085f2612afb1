// The tensors of problems: filled once, kept while they can be used again.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../common/backend.h"
#include "../common/random.h"
#include "buffer.h"
#include "isa.h"
#include "threads.h"

namespace polar::cpu {

// What determines every bit of a tensor, besides the copy.
struct TensorSpec {
  Tensor tensor;
  uint64_t seed;
  int32_t dtype;
  int64_t elements;
  float scale;
  // Key and value caches: of every `capacity` rows of `row` elements the first `valid` hold numbers, the others NaN.
  // All 0 for other tensors.
  int64_t valid;
  int64_t capacity;
  int64_t row;
  // Caches of layers, which a run writes to: never the same buffer as those of an attention problem.
  bool appended;
  bool operator==(const TensorSpec&) const = default;
  double bytes() const { return static_cast<double>(elements) * 2.0; }
};

// The spec of a tensor of a problem; elements is 0 where the problem has no such tensor.
TensorSpec tensor_spec(const PolarProblem& p, Tensor tensor);

// Fills data [spec.elements] with the values of a copy, all threads at work. Calls reporter.alive meanwhile.
void fill_tensor(const TensorSpec& spec, int64_t copy, uint16_t* data, Isa isa, ThreadPool& pool,
                 const Reporter& reporter);

// Filled buffers across cells: the weights of a model serve every batch size. Not thread safe.
class InputStore {
 public:
  // Copies 0 .. copies-1 of a tensor; those that are not there yet are filled by all threads. The pointers live until
  // the next release(). Calls reporter.alive while it works. Only caches with `appended` may be written to, at
  // positions from `valid` on.
  std::vector<uint16_t*> get(const TensorSpec& spec, int64_t copies, Isa isa, ThreadPool& pool,
                             const Reporter& reporter);
  // Bytes held of this tensor.
  double held_bytes(const TensorSpec& spec) const;
  double held_bytes() const;
  // Frees every tensor that is not in `keep`.
  void release(const std::vector<TensorSpec>& keep);

 private:
  struct Entry {
    TensorSpec spec;
    std::vector<Buffer> slabs;  // copies of a small tensor share one
    int64_t room = 0;           // copies for which the last slab has room
    std::vector<uint16_t*> copies;
  };
  std::vector<std::unique_ptr<Entry>> entries_;
};

}  // namespace polar::cpu
