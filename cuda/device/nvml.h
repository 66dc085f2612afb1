// Clocks, throttling and energy through NVML, opened at run time. Reads only; nothing is ever set.
#pragma once

#include <cstdint>
#include <string>

namespace polar::cuda {

// What the device's sensors say; NaN or 0 where a reading is not available.
struct ClockReading {
  double sm_mhz;
  uint64_t throttle_bits;
};

class Nvml {
 public:
  // Finds the device by its PCI address (ordinals of CUDA and NVML differ under CUDA_VISIBLE_DEVICES). Never throws:
  // without NVML every reading is NaN and `unavailable()` says why.
  Nvml(unsigned domain, unsigned bus, unsigned device);

  bool available() const { return device_ != nullptr; }
  const std::string& unavailable() const { return reason_; }
  std::string driver_version() const;  // "580.95.05", empty without NVML
  double max_sm_clock_mhz() const { return max_sm_mhz_; }
  ClockReading read_clocks() const;
  // A hardware slowdown bit (thermal, power brake), or a clock below 75 % of the maximum while the device was busy.
  bool throttled(const ClockReading& reading) const;
  // Energy since the driver was loaded, mJ; NaN without a counter.
  double total_energy_mj() const;

 private:
  void* device_ = nullptr;
  double max_sm_mhz_;
  std::string reason_;
};

// "none" or the names of the set bits, comma-separated.
std::string throttle_text(uint64_t bits);

}  // namespace polar::cuda
