#include "nvml.h"

#include <dlfcn.h>

#include <cmath>
#include <cstdio>

namespace polar::cuda {
namespace {

// The prototypes that are used, from the public NVML reference; return 0 on success.
struct Api {
  int (*init)() = nullptr;
  int (*driver_version)(char*, unsigned) = nullptr;
  int (*by_pci)(const char*, void**) = nullptr;
  int (*clock)(void*, unsigned type, unsigned* mhz) = nullptr;
  int (*max_clock)(void*, unsigned type, unsigned* mhz) = nullptr;
  int (*throttle)(void*, unsigned long long*) = nullptr;
  int (*energy)(void*, unsigned long long* millijoule) = nullptr;
  std::string reason;  // empty: usable
};

constexpr unsigned kClockSm = 1;

constexpr uint64_t kHardwareSlowdown = 0x8;
constexpr uint64_t kHardwareThermal = 0x40;
constexpr uint64_t kHardwarePowerBrake = 0x80;

template <typename Function>
void find(void* library, const char* symbol, Function& target) {
  target = reinterpret_cast<Function>(dlsym(library, symbol));
}

Api open_api() {
  Api api;
  void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    api.reason = dlerror();
    return api;
  }
  find(library, "nvmlInit_v2", api.init);
  find(library, "nvmlSystemGetDriverVersion", api.driver_version);
  find(library, "nvmlDeviceGetHandleByPciBusId_v2", api.by_pci);
  find(library, "nvmlDeviceGetClockInfo", api.clock);
  find(library, "nvmlDeviceGetMaxClockInfo", api.max_clock);
  // Renamed in driver 535; the old name stays exported beside it.
  find(library, "nvmlDeviceGetCurrentClocksEventReasons", api.throttle);
  if (api.throttle == nullptr) find(library, "nvmlDeviceGetCurrentClocksThrottleReasons", api.throttle);
  find(library, "nvmlDeviceGetTotalEnergyConsumption", api.energy);
  if (api.init == nullptr || api.by_pci == nullptr || api.clock == nullptr || api.max_clock == nullptr) {
    api.reason = "libnvidia-ml.so.1 lacks a needed symbol";
  } else if (const int status = api.init(); status != 0) {
    api.reason = "nvmlInit_v2 returned " + std::to_string(status);
  }
  return api;
}

const Api& api() {
  static const Api instance = open_api();
  return instance;
}

}  // namespace

Nvml::Nvml(unsigned domain, unsigned bus, unsigned device) : max_sm_mhz_(std::nan("")), reason_(api().reason) {
  if (!reason_.empty()) return;
  char address[32];
  std::snprintf(address, sizeof address, "%08x:%02x:%02x.0", domain, bus, device);
  if (const int status = api().by_pci(address, &device_); status != 0) {
    device_ = nullptr;
    reason_ = std::string("no NVML device at ") + address + ", status " + std::to_string(status);
    return;
  }
  unsigned mhz = 0;
  if (api().max_clock(device_, kClockSm, &mhz) == 0 && mhz > 0) max_sm_mhz_ = mhz;
}

std::string Nvml::driver_version() const {
  char text[96] = "";
  if (!available() || api().driver_version == nullptr || api().driver_version(text, sizeof text) != 0) return "";
  return text;
}

ClockReading Nvml::read_clocks() const {
  ClockReading reading{std::nan(""), 0};
  if (!available()) return reading;
  unsigned mhz = 0;
  if (api().clock(device_, kClockSm, &mhz) == 0) reading.sm_mhz = mhz;
  unsigned long long bits = 0;
  if (api().throttle != nullptr && api().throttle(device_, &bits) == 0) reading.throttle_bits = bits;
  return reading;
}

bool Nvml::throttled(const ClockReading& reading) const {
  if ((reading.throttle_bits & (kHardwareSlowdown | kHardwareThermal | kHardwarePowerBrake)) != 0) return true;
  return reading.sm_mhz < 0.75 * max_sm_mhz_;  // false where either is NaN
}

double Nvml::total_energy_mj() const {
  unsigned long long energy = 0;
  if (!available() || api().energy == nullptr || api().energy(device_, &energy) != 0) return std::nan("");
  return static_cast<double>(energy);
}

std::string throttle_text(uint64_t bits) {
  static constexpr struct {
    uint64_t bit;
    const char* name;
  } kNames[] = {{0x1, "idle"},
                {0x2, "applications_clocks"},
                {0x4, "sw_power_cap"},
                {kHardwareSlowdown, "hw_slowdown"},
                {0x10, "sync_boost"},
                {0x20, "sw_thermal"},
                {kHardwareThermal, "hw_thermal"},
                {kHardwarePowerBrake, "hw_power_brake"},
                {0x100, "display_clocks"}};
  std::string text;
  for (const auto& entry : kNames) {
    if ((bits & entry.bit) == 0) continue;
    if (!text.empty()) text += ",";
    text += entry.name;
  }
  return text.empty() ? "none" : text;
}

}  // namespace polar::cuda
