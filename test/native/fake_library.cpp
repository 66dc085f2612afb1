// A backend library without a device, as the addon opens it: `attention/dense` works, `attention/dense-per-query-head`
// fails with an error of the device that passes, `attention/selective-head` loses the device. describe() counts the
// cells that this process was asked for, so that a fresh process can be told from a used one.
#include "fake_backend.h"

namespace {

using polar::NativeError;
using polar::Sample;

Sample refused(int) { throw NativeError("E_CUDA", "invalid configuration argument"); }
Sample lost(int) { throw NativeError("E_CUDA", "an illegal memory access was encountered", true); }

class FakeLibrary : public polar::test::FakeBackend {
 public:
  FakeLibrary()
      : FakeBackend{{"attention/dense", {}},
                    {"attention/dense-per-query-head", {.sample = refused}},
                    {"attention/selective-head", {.sample = lost}}} {}

  void describe(int32_t, const polar::Reporter& reporter) override {
    reporter.text("name", "a fake");
    for (const char* fact : {"last_level_cache_bytes", "total_memory_bytes", "free_memory_bytes"}) {
      reporter.number(fact, 1);
    }
    reporter.number("cells", prepared);
  }
};

}  // namespace

polar::Backend& polar::backend() {
  static FakeLibrary library;
  return library;
}
