#include "../../src/native/common/stopping.h"

#include <cmath>
#include <limits>

#include "check.h"

using polar::median;
using polar::median_noise;
using polar::SampleTable;

TEST("median of an odd and an even number of values") {
  CHECK_EQ(median({3, 1, 2}), 2.0);
  CHECK_EQ(median({4, 1, 3, 2}), 2.5);
  CHECK(std::isnan(median({})));
}

TEST("no distribution-free interval below six values") {
  CHECK(std::isinf(median_noise({1, 1, 1, 1, 1})));
  CHECK_EQ(median_noise({1, 1, 1, 1, 1, 1}), 0.0);
}

TEST("half-width from ranks 2 and 9 of ten values") {
  // n = 10: (10 - 1.96 sqrt(10)) / 2 = 1.9 -> rank 1; the interval is [x1, x10], half-width 4.5 around a median of 5.5.
  CHECK_NEAR(median_noise({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}), 4.5 / 5.5, 1e-12);
}

TEST("noise of a table is the worst of latencies and speedups") {
  SampleTable table(2);
  // Both candidates drift together: latencies look noisy, the per-round ratio is exact.
  for (int i = 0; i < 20; ++i) {
    table.add(0, 100.0 + i);
    table.add(1, 2 * (100.0 + i));
  }
  const double drift = table.worst_noise({true, false});
  CHECK(drift > 0.03);
  SampleTable steady(2);
  for (int i = 0; i < 20; ++i) {
    steady.add(0, 100.0);
    steady.add(1, i % 2 == 0 ? 100.0 : 110.0);
  }
  CHECK(steady.worst_noise({true, false}) > 0.04);
}

TEST("a dropped candidate and missing rounds do not count") {
  SampleTable table(2);
  for (int i = 0; i < 10; ++i) {
    table.add(0, i == 3 ? std::nan("") : 100.0);
    table.add(1, 50.0 * (i + 1));
  }
  table.drop(1);
  CHECK_EQ(table.worst_noise({true, false}), 0.0);
}
