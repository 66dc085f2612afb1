// The launch that all selections over neurons share.
#pragma once

#include "router.h"

namespace polar::cuda::router {

struct SelectArgs {
  const float* scores;  // [n]
  int64_t n, k;         // k = 0: everything above `threshold`
  float threshold;
  bool range_known;     // the workspace starts with {max of ~key, max of key} of all scores (router_key.cuh), both
                        // atomically raised from the zeros that a selection leaves; saves a pass
  bool after_previous;  // may start while the kernel before it in the stream still runs
  int32_t* index;
  int32_t* count;   // or null
  void* workspace;  // select_workspace_bytes()
};

void launch_select(const DeviceInfo& device, const SelectArgs& args, cudaStream_t stream);

}  // namespace polar::cuda::router
