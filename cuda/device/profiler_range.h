// Named ranges in a profiler's timeline (NVTX 3). The header needs no library: without a profiler that injects itself a
// range costs a few nanoseconds. A toolkit without the header builds the same program without ranges.
#pragma once

#include <string>

#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#define POLAR_NVTX 1
#endif

namespace polar::cuda {

// Open from construction to destruction, on the calling thread.
class ProfilerRange {
 public:
#ifdef POLAR_NVTX
  explicit ProfilerRange(const std::string& name) { nvtxRangePushA(name.c_str()); }
  ~ProfilerRange() { nvtxRangePop(); }
#else
  explicit ProfilerRange(const std::string& /*name*/) {}
#endif
  ProfilerRange(const ProfilerRange&) = delete;
  ProfilerRange& operator=(const ProfilerRange&) = delete;
};

}  // namespace polar::cuda
