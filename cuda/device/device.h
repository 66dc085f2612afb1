// Opening a device: what is missing when there is none, and the facts kernels and reports need.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "../kernels/problem.h"
#include "nvml.h"

namespace polar::cuda {

// A device made current for the calling thread.
struct Device {
  DeviceInfo info;
  cudaDeviceProp properties;
  Nvml nvml;
};

// Throws NativeError E_BACKEND_UNAVAILABLE whose message tells the three cases apart: no driver, a driver that is too
// old for this build's CUDA runtime, no (such) device. Also refuses devices older than compute capability 8.0.
Device open_device(int ordinal);

// "13.0" from CUDA's 13000.
std::string cuda_version_text(int version);

// Device memory that may be allocated now: what is free less a reserve for the context, library workspaces and graphs.
struct MemoryInfo {
  size_t total;
  size_t free;
  size_t available;
};
MemoryInfo memory_info();

}  // namespace polar::cuda
