// Facts about this machine, read from the operating system.
#pragma once

#include <cstdint>
#include <string>

namespace polar::cpu {

// Marketing name of the processor, or "unknown".
std::string processor_name();

// Bytes of last-level cache that the processors of this process share or own, all instances together. Where the
// operating system does not say: 32 MiB.
double last_level_cache_bytes();

// Memory of the machine, or of the control group where that is less.
double total_memory_bytes();

// Memory that could be allocated now without swapping: MemAvailable, limited by the control group. NaN if unknown.
double available_memory_bytes();

}  // namespace polar::cpu
