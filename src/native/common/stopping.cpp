#include "stopping.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace polar {
namespace {

std::vector<double> finite(const std::vector<double>& values) {
  std::vector<double> kept;
  kept.reserve(values.size());
  for (const double v : values) {
    if (std::isfinite(v)) kept.push_back(v);
  }
  return kept;
}

}  // namespace

double median(std::vector<double> values) {
  if (values.empty()) return std::nan("");
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

double median_noise(std::vector<double> values) {
  const size_t n = values.size();
  if (n < 6) return std::numeric_limits<double>::infinity();
  std::sort(values.begin(), values.end());
  const double spread = 1.96 * std::sqrt(static_cast<double>(n));
  const double low_rank = std::floor((static_cast<double>(n) - spread) / 2.0);
  const size_t low = low_rank < 1 ? 0 : static_cast<size_t>(low_rank) - 1;
  const size_t high = n - 1 - low;
  const double middle = n % 2 == 1 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
  return middle > 0 ? 0.5 * (values[high] - values[low]) / middle : std::numeric_limits<double>::infinity();
}

double SampleTable::worst_noise(const std::vector<bool>& dense) const {
  size_t baseline = values_.size();
  double best = std::numeric_limits<double>::infinity();
  double worst = 0;
  for (size_t i = 0; i < values_.size(); ++i) {
    const std::vector<double> kept = finite(values_[i]);
    if (values_[i].empty()) continue;
    worst = std::max(worst, median_noise(kept));
    const double middle = median(kept);
    if (dense[i] && middle < best) {
      best = middle;
      baseline = i;
    }
  }
  if (baseline == values_.size()) return worst;
  for (size_t i = 0; i < values_.size(); ++i) {
    if (i == baseline || values_[i].empty()) continue;
    std::vector<double> ratios;
    const size_t rounds = std::min(values_[i].size(), values_[baseline].size());
    for (size_t r = 0; r < rounds; ++r) {
      const double ratio = values_[baseline][r] / values_[i][r];
      if (std::isfinite(ratio)) ratios.push_back(ratio);
    }
    worst = std::max(worst, median_noise(std::move(ratios)));
  }
  return worst;
}

}  // namespace polar
