// The tensors of a layer or step problem on the device: resident layers with weights, KV cache and routers, and what is
// there once.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "../device/memory.h"
#include "residency.h"

namespace polar::cuda::step {

class Weights {
 public:
  // Fills a tensor of resident layer `layer` in place; called once for each.
  using Fill = std::function<void(Tensor tensor, int64_t layer, void* device)>;

  Weights() = default;
  // Allocates `layers` resident layers and lets `fill` write them. Throws NativeError E_OUT_OF_MEMORY.
  Weights(const PolarProblem& p, int64_t layers, const Fill& fill);

  int64_t layers() const { return static_cast<int64_t>(layer_memory_.size()); }
  // Null where the problem has no such tensor.
  void* layer(Tensor tensor, int64_t resident) const;
  const void* shared(Tensor tensor) const;

 private:
  std::map<Tensor, size_t> layer_offset_, shared_offset_;
  std::vector<DeviceBuffer> layer_memory_;
  DeviceBuffer shared_memory_;
};

// The fill of a measurement: random_value(stream_key(seed, tensor, layer), i, scale), NaN past kv_len in the caches.
void fill_tensor(const PolarProblem& p, Tensor tensor, int64_t layer, void* device, cudaStream_t stream);

}  // namespace polar::cuda::step
