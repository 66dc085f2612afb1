#include "file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "error.h"

namespace polar::traces {
namespace {

[[noreturn]] void fail(const std::string& what, const std::string& path, int error) {
  throw TraceFailure("Expected to " + what + " " + path + ", got " + std::strerror(error));
}

}  // namespace

File::File(const std::string& path, Mode mode)
    : path_(path), fd_(::open(path.c_str(), (mode == Mode::kRead ? O_RDONLY : O_WRONLY) | O_CLOEXEC)) {
  if (fd_ < 0) fail("open", path_, errno);
  struct stat info{};
  const bool regular = ::fstat(fd_, &info) == 0 && S_ISREG(info.st_mode);
  if (!regular) {
    ::close(fd_);
    throw TraceFailure("Expected a regular file for " + path_ + ", got something else");
  }
}

File::~File() { ::close(fd_); }

std::uint64_t File::size() const {
  struct stat info{};
  if (::fstat(fd_, &info) != 0) fail("stat", path_, errno);
  return static_cast<std::uint64_t>(info.st_size);
}

void File::read(std::uint8_t* dst, std::size_t bytes, std::uint64_t offset) const {
  while (bytes > 0) {
    const ssize_t got = ::pread(fd_, dst, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("read", path_, errno);
    if (got == 0) {
      throw TraceFailure("Expected " + std::to_string(bytes) + " more bytes at offset " + std::to_string(offset) +
                         " of " + path_ + ", got the end of the file");
    }
    dst += got;
    bytes -= static_cast<std::size_t>(got);
    offset += static_cast<std::uint64_t>(got);
  }
}

void File::write(const std::uint8_t* src, std::size_t bytes, std::uint64_t offset) const {
  while (bytes > 0) {
    const ssize_t put = ::pwrite(fd_, src, bytes, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail("write", path_, errno);
    src += put;
    bytes -= static_cast<std::size_t>(put);
    offset += static_cast<std::uint64_t>(put);
  }
}

}  // namespace polar::traces
