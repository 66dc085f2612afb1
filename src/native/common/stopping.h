// When enough samples were taken. Only the stopping rule lives here: medians and intervals that people see are computed
// from the raw samples, with a bootstrap, by whoever reads them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace polar {

// Relative half-width of a distribution-free 95 % interval of the median, from order statistics (binomial, normal
// approximation of the ranks). Infinity for fewer than 6 values, where no such interval exists.
double median_noise(std::vector<double> values);

double median(std::vector<double> values);

// The samples of one cell: [candidate][round], NaN where a round has none.
class SampleTable {
 public:
  explicit SampleTable(size_t candidates) : values_(candidates) {}
  void add(size_t candidate, double ns) { values_[candidate].push_back(ns); }
  void drop(size_t candidate) { values_[candidate].clear(); }
  // The worst relative half-width among all medians and all speedups over the fastest candidate with dense[i] set.
  double worst_noise(const std::vector<bool>& dense) const;

 private:
  std::vector<std::vector<double>> values_;
};

}  // namespace polar
