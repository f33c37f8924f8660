// rolling_iqr.h: exact quartiles over the last n values.

#ifndef HEAL_CORE_DETECT_ROLLING_IQR_H_
#define HEAL_CORE_DETECT_ROLLING_IQR_H_

#include <cstddef>
#include <vector>

namespace heal {

// Exact quantiles of a sliding window: the values in order of time beside the
// same values in sorted order. A new value takes the place of the oldest by one
// move of what lies between the two positions, which for windows of some
// thousand values is faster than any tree.
//
// Cost: two binary searches and one memmove of n/3 values on average; no
// allocation after the constructor.
// Requires: finite values.
class RollingIqr {
 public:
  explicit RollingIqr(size_t window = 0) : ring_(window), sorted_(window) {}

  void Push(double value);

  size_t count() const { return count_; }
  size_t window() const { return ring_.size(); }

  // Linear interpolation between order statistics (R type 7, numpy's default).
  // Requires: count() > 0, 0 <= q <= 1.
  double Quantile(double q) const;
  double q1() const { return Quantile(0.25); }
  double median() const { return Quantile(0.5); }
  double q3() const { return Quantile(0.75); }

 private:
  std::vector<double> ring_;
  std::vector<double> sorted_;  // first count_ are in use
  size_t count_ = 0;
  size_t next_ = 0;
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_ROLLING_IQR_H_
