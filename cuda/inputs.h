// The inputs of one problem on the device: every tensor in `copies` versions with different random values, which cold
// measurements rotate over.
#pragma once

#include <array>

#include "device/memory.h"
#include "rotation.h"

namespace polar::cuda {

class Inputs {
 public:
  Inputs() = default;
  // Allocates and fills on `stream`; copy c holds random_value(stream_key(seed, tensor, c), i, scale), K and V are NaN
  // past kv_len.
  Inputs(const PolarProblem& p, int64_t copies, cudaStream_t stream);

  // Null where the problem has no such tensor.
  const void* at(Tensor tensor, int64_t copy) const;
  int64_t copies() const { return copies_; }

 private:
  struct Arena {
    DeviceBuffer memory;
    size_t stride = 0;  // bytes between copies
  };
  int64_t copies_ = 0;
  std::array<Arena, kInputTensors.size()> arenas_;
};

}  // namespace polar::cuda
