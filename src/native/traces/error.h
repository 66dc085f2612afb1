#pragma once

#include <stdexcept>
#include <string>

namespace polar::traces {

// What went wrong with a trace; the binding layer turns it into a JS Error with `.code = "E_TRACE"` and this message.
class TraceFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The caller asked to stop.
class Cancelled : public std::runtime_error {
 public:
  Cancelled() : std::runtime_error("cancelled") {}
};

}  // namespace polar::traces
