#include "buffer.h"

#include <sys/mman.h>

#include <string>
#include <utility>

#include "../common/error.h"

namespace polar::cpu {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

Buffer::Buffer(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  const bool huge = bytes >= kHugePage;
  mapped_ = huge ? (bytes + kHugePage - 1) / kHugePage * kHugePage + kHugePage : (bytes + 4095) / 4096 * 4096;
  mapping_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping_ == MAP_FAILED) {
    mapping_ = nullptr;
    throw NativeError("E_OUT_OF_MEMORY", "Expected " + std::to_string(bytes) + " bytes of memory, got none");
  }
  auto address = reinterpret_cast<uintptr_t>(mapping_);
  if (huge) {
    address = (address + kHugePage - 1) / kHugePage * kHugePage;
#if defined(MADV_HUGEPAGE)
    // Advice only: where the kernel has no transparent huge pages, small ones serve.
    (void)madvise(reinterpret_cast<void*>(address), mapped_ - kHugePage, MADV_HUGEPAGE);
#endif
  }
  data_ = reinterpret_cast<std::byte*>(address);
}

Buffer::~Buffer() { release(); }

Buffer::Buffer(Buffer&& other) noexcept { *this = std::move(other); }

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this == &other) return *this;
  release();
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  mapping_ = std::exchange(other.mapping_, nullptr);
  mapped_ = std::exchange(other.mapped_, 0);
  return *this;
}

void Buffer::release() {
  if (mapping_ != nullptr) munmap(mapping_, mapped_);
  mapping_ = nullptr;
}

}  // namespace polar::cpu
