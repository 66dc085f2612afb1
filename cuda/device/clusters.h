// How many thread block clusters a device runs at once: a fact of its floor plan that only the runtime knows.
#pragma once

#include "../kernels/problem.h"

namespace polar::cuda {

// Fills info.clusters from the other fields, which must be set; the device must be the current one. All zero before
// compute capability 9.0.
void count_clusters(DeviceInfo& info);

}  // namespace polar::cuda
