// Page-aligned memory for tensors and workspaces.
#pragma once

#include <cstddef>
#include <cstdint>

namespace polar::cpu {

// Anonymous memory, aligned to 2 MiB from 2 MiB on and advised to use huge pages: with 4 KB pages the kernels would
// wait for page-table walks (and gathers of rows most of all). Large buffers come from an arena of the process that
// keeps its pages when a buffer dies: faulting pages in anew costs up to 40 times as much as filling them (in a virtual
// machine that hands free memory back to its host: 0.4 GB/s). Contents are arbitrary.
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
  size_t mapped_ = 0;
};

// Bytes that the arena keeps for coming buffers: used memory for the operating system, free memory for us.
double idle_buffer_bytes();

}  // namespace polar::cpu
