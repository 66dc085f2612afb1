// Device memory that frees itself, streams and events likewise.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "../common/check.h"
#include "alignment.h"

namespace polar::cuda {

// Plain device memory, 256-byte aligned (what cudaMalloc guarantees). Empty for 0 bytes.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(size_t bytes) : bytes_(bytes) {
    if (bytes > 0) CHECK_CUDA(cudaMalloc(&data_, align_up(bytes)));
  }
  ~DeviceBuffer() { (void)cudaFree(data_); }  // an error here was reported by the call that caused it
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  size_t bytes() const { return bytes_; }
  explicit operator bool() const { return data_ != nullptr; }
  template <typename T = void>
  T* as() const {
    return static_cast<T*>(data_);
  }
  // Null for an empty buffer; `offset` in bytes.
  void* at(size_t offset) const { return data_ == nullptr ? nullptr : static_cast<char*>(data_) + offset; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Complete when it returns, for every stream. cudaMemcpy alone is not: from pageable memory it returns once the data is
// staged, and a kernel on a non-blocking stream could then read what was there before (small index sets did).
template <typename T>
DeviceBuffer to_device(const std::vector<T>& values) {
  DeviceBuffer buffer(values.size() * sizeof(T));
  if (!values.empty()) {
    CHECK_CUDA(cudaMemcpy(buffer.as(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
    CHECK_CUDA(cudaStreamSynchronize(cudaStreamLegacy));
  }
  return buffer;
}

template <typename T>
std::vector<T> to_host(const void* device, size_t count) {
  std::vector<T> values(count);
  if (count > 0) CHECK_CUDA(cudaMemcpy(values.data(), device, count * sizeof(T), cudaMemcpyDeviceToHost));
  return values;
}

class Stream {
 public:
  Stream() { CHECK_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() { (void)cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator cudaStream_t() const { return stream_; }
  // Errors of everything enqueued surface here: `during` says in the message what was going on.
  void synchronize(const char* during) const { check_cuda(cudaStreamSynchronize(stream_), during); }

 private:
  cudaStream_t stream_ = nullptr;
};

class Event {
 public:
  Event() { CHECK_CUDA(cudaEventCreate(&event_)); }
  ~Event() { (void)cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace polar::cuda
