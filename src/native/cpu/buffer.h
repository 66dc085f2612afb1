// Page-aligned memory for tensors and workspaces.
#pragma once

#include <cstddef>
#include <cstdint>

namespace polar::cpu {

// Anonymous memory, aligned to 2 MiB from 2 MiB on and advised to use huge pages: with 4 KB pages the kernels would
// wait for page-table walks (and gathers of rows most of all). Not touched yet: the first writer faults it in.
class Buffer {
 public:
  Buffer() = default;
  // Throws NativeError E_OUT_OF_MEMORY. `bytes` may be 0.
  explicit Buffer(size_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  uint16_t* half() const { return reinterpret_cast<uint16_t*>(data_); }

 private:
  void release();
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  void* mapping_ = nullptr;
  size_t mapped_ = 0;
};

}  // namespace polar::cpu
