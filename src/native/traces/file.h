// A file that is read and written at offsets; short transfers and signals are handled, a file that ends early is an
// error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace polar::traces {

class File {
 public:
  enum class Mode { kRead, kWrite };
  // Throws TraceFailure when the file cannot be opened or is not a regular file.
  File(const std::string& path, Mode mode);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  std::uint64_t size() const;
  // Fills dst[bytes] from `offset`. Throws TraceFailure when the file ends before that.
  void read(std::uint8_t* dst, std::size_t bytes, std::uint64_t offset) const;
  void write(const std::uint8_t* src, std::size_t bytes, std::uint64_t offset) const;

 private:
  std::string path_;
  int fd_;
};

}  // namespace polar::traces
