// The one exception of native code. Every NativeError ends as a status with a code at the C boundary.
#pragma once

#include <stdexcept>
#include <string>

namespace polar {

class NativeError : public std::runtime_error {
 public:
  // `code` is one of the codes listed at PolarResult in abi.h. `sticky`: the device context is lost, the process that
  // holds it must be replaced.
  NativeError(const char* code, const std::string& message, bool sticky = false)
      : std::runtime_error(message), code_(code), sticky_(sticky) {}
  const char* code() const { return code_; }
  bool sticky() const { return sticky_; }

 private:
  const char* code_;
  bool sticky_;
};

// Thrown out of a measurement when the sink asked for its end.
class Cancelled : public std::exception {};

}  // namespace polar
