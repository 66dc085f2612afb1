#include "faults.h"

#if defined(POLAR_FAULTS)

#include <cstdlib>
#include <sstream>

namespace polar {

bool fault_active(const char* kind, const char* kernel, double* value) {
  const char* plan = std::getenv("POLAR_BENCH_FAULT");
  if (plan == nullptr) return false;
  const std::string wanted = std::string(kind) + ":" + kernel;
  std::istringstream list(plan);
  for (std::string entry; std::getline(list, entry, ',');) {
    if (entry.compare(0, wanted.size(), wanted) != 0) continue;
    if (entry.size() > wanted.size() && entry[wanted.size()] != ':') continue;
    if (value != nullptr) *value = entry.size() > wanted.size() ? std::atof(entry.c_str() + wanted.size() + 1) : 0;
    return true;
  }
  return false;
}

}  // namespace polar

#endif
