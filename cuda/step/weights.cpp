#include "weights.h"

#include "../device/fill.h"
#include "../rotation.h"

namespace polar::cuda::step {
namespace {

template <typename Tensors>
size_t place(const PolarProblem& p, const Tensors& tensors, std::map<Tensor, size_t>& offsets) {
  size_t bytes = 0;
  for (const Tensor tensor : tensors) {
    if (tensor_elements(p, tensor) == 0) continue;
    offsets[tensor] = bytes;
    bytes += tensor_bytes(p, tensor);
  }
  return bytes;
}

}  // namespace

Weights::Weights(const PolarProblem& p, int64_t layers, const Fill& fill) {
  const size_t bytes = place(p, kLayerTensors, layer_offset_);
  shared_memory_ = DeviceBuffer(place(p, kSharedTensors, shared_offset_));
  for (const auto& [tensor, offset] : shared_offset_) fill(tensor, 0, shared_memory_.at(offset));
  for (int64_t layer = 0; layer < layers; ++layer) {
    layer_memory_.emplace_back(bytes);
    for (const auto& [tensor, offset] : layer_offset_) fill(tensor, layer, layer_memory_.back().at(offset));
  }
}

void* Weights::layer(Tensor tensor, int64_t resident) const {
  const auto found = layer_offset_.find(tensor);
  return found == layer_offset_.end() ? nullptr : layer_memory_[static_cast<size_t>(resident)].at(found->second);
}

const void* Weights::shared(Tensor tensor) const {
  const auto found = shared_offset_.find(tensor);
  return found == shared_offset_.end() ? nullptr : shared_memory_.at(found->second);
}

void fill_tensor(const PolarProblem& p, Tensor tensor, int64_t layer, void* device, cudaStream_t stream) {
  const uint64_t key = stream_key(p.seed, tensor, static_cast<uint64_t>(layer));
  if (tensor == Tensor::kKey || tensor == Tensor::kValue) {
    fill_cache(device, p.batch_size * p.num_kv_heads, p.kv_capacity, p.kv_len, p.head_dim, p.dtype, key,
               tensor_scale(p, tensor), stream);
  } else {
    fill_random(device, tensor_elements(p, tensor), p.dtype, key, tensor_scale(p, tensor), stream);
  }
}

}  // namespace polar::cuda::step
