#include "machine.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <vector>

namespace polar::cpu {
namespace {

constexpr double kUnlimited = std::numeric_limits<double>::infinity();

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The value in bytes of "Name:   123 kB" in /proc/meminfo; NaN where absent.
double meminfo_bytes(const std::string& name) {
  std::ifstream file("/proc/meminfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind(name + ":", 0) != 0) continue;
    std::istringstream fields(line.substr(name.size() + 1));
    double kilobytes = 0;
    if (fields >> kilobytes) return kilobytes * 1024.0;
  }
  return std::nan("");
}

double number_in(const std::string& path) {
  const std::string line = first_line(path);
  char* end = nullptr;
  const double value = std::strtod(line.c_str(), &end);
  return end != line.c_str() ? value : std::nan("");
}

double stat_value(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  std::string key;
  double value = 0;
  while (file >> key >> value) {
    if (key == name) return value;
  }
  return 0;
}

struct GroupLimit {
  double limit = kUnlimited;
  double free = kUnlimited;
};

void lower(GroupLimit& group, double limit, double used, double reclaimable) {
  if (!(limit > 0) || limit > 0x1.0p60 || std::isnan(used)) return;  // version 1 writes a huge number for "no limit"
  group.limit = std::min(group.limit, limit);
  group.free = std::min(group.free, std::max(0.0, limit - std::max(0.0, used - reclaimable)));
}

// The tightest memory limit on the way from this process's control group up to the root, versions 1 and 2.
GroupLimit control_group() {
  GroupLimit group;
  std::ifstream file("/proc/self/cgroup");
  std::string line;
  while (std::getline(file, line)) {
    const size_t a = line.find(':');
    const size_t b = line.find(':', a + 1);
    if (a == std::string::npos || b == std::string::npos) continue;
    const std::string controllers = line.substr(a + 1, b - a - 1);
    const bool two = controllers.empty();
    if (!two && controllers.find("memory") == std::string::npos) continue;
    const std::string root = two ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    std::string path = line.substr(b + 1);
    while (true) {
      const std::string at = root + (path == "/" ? "" : path) + "/";
      lower(group, number_in(at + (two ? "memory.max" : "memory.limit_in_bytes")),
            number_in(at + (two ? "memory.current" : "memory.usage_in_bytes")),
            stat_value(at + "memory.stat", two ? "inactive_file" : "total_inactive_file"));
      const size_t slash = path.rfind('/');
      if (path.empty() || path == "/" || slash == std::string::npos) break;
      path = slash == 0 ? "/" : path.substr(0, slash);
    }
  }
  return group;
}

std::vector<int> allowed_processors() {
  std::vector<int> list;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int i = 0; i < CPU_SETSIZE; ++i) {
      if (CPU_ISSET(i, &set)) list.push_back(i);
    }
  }
  if (list.empty()) list.push_back(0);
  return list;
}

double size_bytes(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str()) return 0;
  return value * (*end == 'K' ? 1024.0 : *end == 'M' ? 1048576.0 : *end == 'G' ? 1073741824.0 : 1.0);
}

}  // namespace

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind("model name", 0) != 0) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  const std::string tree = first_line("/proc/device-tree/model");  // most aarch64 boards
  return tree.empty() ? "unknown" : tree.substr(0, tree.find('\0'));
}

double last_level_cache_bytes() {
  double best_level = 0, total = 0;
  std::set<std::string> seen;
  for (int processor : allowed_processors()) {
    for (int index = 0; index < 8; ++index) {
      const std::string at =
          "/sys/devices/system/cpu/cpu" + std::to_string(processor) + "/cache/index" + std::to_string(index) + "/";
      const double level = number_in(at + "level");
      if (std::isnan(level) || first_line(at + "type") == "Instruction" || level < best_level) continue;
      if (level > best_level) {
        best_level = level;
        total = 0;
        seen.clear();
      }
      if (seen.insert(first_line(at + "shared_cpu_list")).second) total += size_bytes(first_line(at + "size"));
    }
  }
  return total > 0 ? total : 32.0 * 1048576.0;
}

double total_memory_bytes() {
  const double total = meminfo_bytes("MemTotal");
  return std::min(total, control_group().limit);
}

double available_memory_bytes() {
  const double available = meminfo_bytes("MemAvailable");
  return std::min(available, control_group().free);
}

}  // namespace polar::cpu
