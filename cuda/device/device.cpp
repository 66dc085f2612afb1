#include <string>

#include "../common/check.h"
#include "clusters.h"
#include "device.h"

namespace polar::cuda {
namespace {

constexpr size_t kReserveBytes = size_t{512} << 20;

[[noreturn]] void unavailable(const std::string& message) { throw NativeError("E_BACKEND_UNAVAILABLE", message); }

int count_devices() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess) return count;
  // A device that was there and is lost costs a cell and this process; only one that never answered is unavailable.
  if (is_sticky(error) && error != cudaErrorUnknown) throw_cuda(error, "cudaGetDeviceCount");
  (void)cudaGetLastError();
  int driver = 0, runtime = 0;
  (void)cudaDriverGetVersion(&driver);
  (void)cudaRuntimeGetVersion(&runtime);
  if (error == cudaErrorInsufficientDriver && driver == 0) {
    unavailable("Expected an NVIDIA driver, got none: libcuda.so.1 cannot be opened on this machine");
  }
  if (error == cudaErrorInsufficientDriver) {
    unavailable("Expected a driver for CUDA " + cuda_version_text(runtime) + ", got one for CUDA " +
                cuda_version_text(driver) + ": the driver is too old for this build");
  }
  if (error == cudaErrorNoDevice) unavailable("Expected an NVIDIA GPU, got none: the driver works but lists no device");
  unavailable(std::string("Expected an answer from the NVIDIA driver, got ") + cudaGetErrorName(error) + ": " +
              cudaGetErrorString(error));
}

int attribute(cudaDeviceAttr which, int ordinal) {
  int value = 0;
  CHECK_CUDA(cudaDeviceGetAttribute(&value, which, ordinal));
  return value;
}

}  // namespace

std::string cuda_version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Device open_device(int ordinal) {
  const int count = count_devices();
  if (ordinal < 0 || ordinal >= count) {
    unavailable("Expected 0.." + std::to_string(count - 1) + " for device, got " + std::to_string(ordinal));
  }
  cudaDeviceProp properties{};
  CHECK_CUDA(cudaGetDeviceProperties(&properties, ordinal));
  if (properties.major < 8) {
    unavailable("Expected compute capability 8.0 or later, got " + std::to_string(properties.major) + "." +
                std::to_string(properties.minor) + " (" + properties.name + ")");
  }
  CHECK_CUDA(cudaSetDevice(ordinal));
  DeviceInfo info;
  info.ordinal = ordinal;
  info.sm_count = properties.multiProcessorCount;
  info.compute_major = properties.major;
  info.compute_minor = properties.minor;
  info.shared_bytes_per_block_optin = static_cast<size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, ordinal));
  info.shared_bytes_per_sm = static_cast<size_t>(attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor, ordinal));
  info.l2_bytes = static_cast<size_t>(properties.l2CacheSize);
  count_clusters(info);
  return Device{info, properties,
                Nvml(static_cast<unsigned>(properties.pciDomainID), static_cast<unsigned>(properties.pciBusID),
                     static_cast<unsigned>(properties.pciDeviceID))};
}

MemoryInfo memory_info() {
  MemoryInfo info{};
  CHECK_CUDA(cudaMemGetInfo(&info.free, &info.total));
  info.available = info.free > kReserveBytes ? info.free - kReserveBytes : 0;
  return info;
}

}  // namespace polar::cuda
