// When an output row counts as right: measurement rules of docs/methodology.md, shared by both backends.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "../abi.h"

namespace polar {

// Relative term of the tolerance: one unit in the last place of the storage type, at the row's largest value.
inline double tolerance_epsilon(int32_t dtype) { return dtype == POLAR_BF16 ? 0x1.0p-8 : 0x1.0p-11; }

// What one row measured. A NaN or infinity in the output that the reference does not have makes `error` infinite.
struct RowError {
  double error = 0;      // max|output - reference|
  double naive = 0;      // max|naive - reference|, naive: the same maths with every intermediate rounded to the dtype
  double reference = 0;  // max|reference|
};

inline double row_tolerance(const RowError& row, int32_t dtype) {
  return 2.0 * row.naive + tolerance_epsilon(dtype) * row.reference;
}

// Collects rows into the verdict that crosses the C boundary.
class Verdict {
 public:
  explicit Verdict(int32_t dtype) : dtype_(dtype) {}

  void add(int64_t row_index, const RowError& row) {
    const double tolerance = row_tolerance(row, dtype_);
    // A row whose reference is exactly zero (an unselected head) has no tolerance: it must be exactly zero.
    const double share = row.error == 0                              ? 0.0
                         : tolerance > 0 && std::isfinite(row.error) ? row.error / tolerance
                                                                     : std::numeric_limits<double>::infinity();
    ++rows_;
    if (!(share <= 1.0)) ++failed_;
    if (share > worst_share_ || worst_row_ < 0) {
      worst_share_ = share;
      worst_row_ = row_index;
    }
    if (row.error > max_error_) max_error_ = row.error;
    if (row.reference > max_reference_) max_reference_ = row.reference;
  }

  PolarVerification result(bool repeats_equal) const {
    PolarVerification v{};
    v.max_abs_err = max_error_;
    v.max_rel_err = max_reference_ > 0 ? max_error_ / max_reference_ : max_error_;
    v.tolerance_used = worst_share_;
    v.rows_checked = rows_;
    v.rows_failed = failed_;
    v.worst_row = worst_row_;
    v.repeats_equal = repeats_equal ? 1 : 0;
    v.passed = rows_ > 0 && failed_ == 0 && repeats_equal ? 1 : 0;
    return v;
  }

 private:
  int32_t dtype_;
  int64_t rows_ = 0;
  int64_t failed_ = 0;
  int64_t worst_row_ = -1;
  double worst_share_ = 0;
  double max_error_ = 0;
  double max_reference_ = 0;
};

}  // namespace polar
