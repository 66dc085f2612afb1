#include "buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "../common/error.h"
#include "machine.h"

namespace polar::cpu {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

size_t round_to(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

std::byte* map_pages(size_t bytes) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? nullptr : static_cast<std::byte*>(at);
}

// First fit from the lowest address in one reserved range, so that pages that were touched once are used again.
class Arena {
 public:
  Arena() {
    reserved_ = round_to(static_cast<size_t>(std::max(0.0, total_memory_bytes())), kHugePage);
    std::byte* base = reserved_ > 0 ? map_pages(reserved_ + kHugePage) : nullptr;
    if (base == nullptr) return;  // no room in the address space: buffers are mapped one by one
    base_ = reinterpret_cast<std::byte*>(round_to(reinterpret_cast<uintptr_t>(base), kHugePage));
#if defined(MADV_HUGEPAGE)
    // Advice only: where the kernel has no transparent huge pages, small ones serve.
    (void)madvise(base_, reserved_, MADV_HUGEPAGE);
#endif
    free_[0] = {reserved_, 0};
  }

  bool owns(const std::byte* p) const { return base_ != nullptr && p >= base_ && p < base_ + reserved_; }

  // `bytes` is a multiple of kHugePage; null where no hole is large enough.
  std::byte* take(size_t bytes) {
    const std::lock_guard lock(mutex_);
    const auto hole = std::find_if(free_.begin(), free_.end(), [&](const auto& h) { return h.second.size >= bytes; });
    if (hole == free_.end()) return nullptr;
    const auto [offset, space] = *hole;
    free_.erase(hole);
    const size_t fresh = bytes - std::min(bytes, space.warm);
    if (space.size > bytes) free_[offset + bytes] = {space.size - bytes, space.warm - std::min(bytes, space.warm)};
    if (fresh > 0) give_back(fresh);
    return base_ + offset;
  }

  void put(std::byte* p, size_t bytes) {
    const std::lock_guard lock(mutex_);
    auto at = free_.insert({static_cast<size_t>(p - base_), {bytes, bytes}}).first;
    const auto next = std::next(at);
    if (next != free_.end() && at->first + at->second.size == next->first) join(at, next);
    if (at != free_.begin()) {
      const auto before = std::prev(at);
      if (before->first + before->second.size == at->first) join(before, at);
    }
  }

  double idle() {
    const std::lock_guard lock(mutex_);
    double bytes = 0;
    for (const auto& [offset, space] : free_) bytes += static_cast<double>(space.warm);
    return bytes;
  }

 private:
  struct Space {
    size_t size;
    size_t warm;  // of these, bytes that hold pages
  };
  using Holes = std::map<size_t, Space>;

  void join(Holes::iterator into, Holes::iterator next) {
    into->second.size += next->second.size;
    into->second.warm += next->second.warm;
    free_.erase(next);
  }

  // Memory that grows at one end shrinks at another: holes too small for what is wanted return their pages.
  void give_back(size_t bytes) {
    for (auto& [offset, space] : free_) {
      if (bytes == 0) return;
      if (space.warm == 0 || offset + space.size == reserved_) continue;
      (void)madvise(base_ + offset, space.size, MADV_DONTNEED);
      bytes -= std::min(bytes, space.warm);
      space.warm = 0;
    }
  }

  std::mutex mutex_;
  std::byte* base_ = nullptr;
  size_t reserved_ = 0;
  Holes free_;
};

// Never destroyed: buffers of static objects may outlive any order of destruction.
Arena& arena() {
  static Arena* instance = new Arena;
  return *instance;
}

}  // namespace

Buffer::Buffer(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  if (bytes >= kHugePage) {
    mapped_ = round_to(bytes, kHugePage);
    data_ = arena().take(mapped_);
  }
  if (data_ == nullptr) {
    mapped_ = round_to(bytes, 4096);
    data_ = map_pages(mapped_);
  }
  if (data_ == nullptr) {
    throw NativeError("E_OUT_OF_MEMORY", "Expected " + std::to_string(bytes) + " bytes of memory, got none");
  }
}

Buffer::~Buffer() { release(); }

Buffer::Buffer(Buffer&& other) noexcept { *this = std::move(other); }

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this == &other) return *this;
  release();
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  mapped_ = std::exchange(other.mapped_, 0);
  return *this;
}

void Buffer::release() {
  if (data_ == nullptr) return;
  if (arena().owns(data_)) {
    arena().put(data_, mapped_);
  } else {
    munmap(data_, mapped_);
  }
  data_ = nullptr;
}

double idle_buffer_bytes() { return arena().idle(); }

}  // namespace polar::cpu
