#include <algorithm>

#include "device/fill.h"
#include "inputs.h"

namespace polar::cuda {

Inputs::Inputs(const PolarProblem& p, int64_t copies, cudaStream_t stream) : copies_(copies) {
  for (size_t t = 0; t < kInputTensors.size(); ++t) {
    const Tensor tensor = kInputTensors[t];
    const int64_t count = tensor_elements(p, tensor);
    if (count == 0) continue;
    Arena& arena = arenas_[t];
    arena.stride = tensor_bytes(p, tensor);
    arena.memory = DeviceBuffer(arena.stride * static_cast<size_t>(copies));
    for (int64_t copy = 0; copy < copies; ++copy) {
      void* dst = arena.memory.at(arena.stride * static_cast<size_t>(copy));
      const uint64_t key = stream_key(p.seed, tensor, static_cast<uint64_t>(copy));
      if (tensor == Tensor::kKey || tensor == Tensor::kValue) {
        fill_cache(dst, p.batch_size * p.num_kv_heads, p.kv_capacity, p.kv_len, p.head_dim, p.dtype, key,
                   tensor_scale(p, tensor), stream);
      } else {
        fill_random(dst, count, p.dtype, key, tensor_scale(p, tensor), stream);
      }
    }
  }
}

const void* Inputs::at(Tensor tensor, int64_t copy) const {
  const auto* found = std::find(kInputTensors.begin(), kInputTensors.end(), tensor);
  const Arena& arena = arenas_[static_cast<size_t>(found - kInputTensors.begin())];
  return arena.memory.at(arena.stride * static_cast<size_t>(copy));
}

}  // namespace polar::cuda
