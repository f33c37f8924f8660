// rolling_iqr.h: exact quartiles over the last n values.

#ifndef HEAL_CORE_DETECT_ROLLING_IQR_H_
#define HEAL_CORE_DETECT_ROLLING_IQR_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace heal {

// Exact quantiles of a sliding window: the values in order of time beside their
// positions in order of size. A new value takes the place of the oldest by one
// move of what lies between the two ranks; a position has two bytes, so the move
// is short and a window of 1000 values takes 10 kB.
//
// Cost: two binary searches side by side and one memmove of n/3 positions on
// average; no allocation after the constructor.
// Requires: finite values; a window of at most kLargestWindow.
class RollingIqr {
 public:
  static constexpr size_t kLargestWindow = 65535;

  explicit RollingIqr(size_t window = 0)
      : ring_(window < kLargestWindow ? window : kLargestWindow), order_(ring_.size()) {}

  // A hint that a value will be pushed soon: fetches the middles of what is searched,
  // and where the quartiles are. Changes nothing.
  void Prefetch() const;

  // Returns the value that left the window; the new one while it is not full.
  double Push(double value);

  size_t count() const { return count_; }
  size_t window() const { return ring_.size(); }
  bool full() const { return count_ == ring_.size(); }
  // The values, in no order that means something.
  std::span<const double> values() const { return {ring_.data(), count_}; }

  // Values below, and values not above. A Push of the value asked for last finds its
  // place without searching again.
  size_t CountBelow(double value);
  size_t CountUpTo(double value);
  // The value of a rank, 0 the smallest. Requires: rank < count().
  double At(size_t rank) const { return ring_[order_[rank]]; }

  // Linear interpolation between order statistics (R type 7, numpy's default).
  // Requires: count() > 0, 0 <= q <= 1.
  double Quantile(double q) const;
  double q1() const { return Quantile(0.25); }
  double median() const { return Quantile(0.5); }
  double q3() const { return Quantile(0.75); }

 private:
  void Locate(double value);

  std::vector<double> ring_;
  std::vector<uint16_t> order_;  // first count_ are in use
  size_t count_ = 0;
  size_t next_ = 0;
  // Where the value asked for last belongs, and where the oldest one stands.
  bool located_ = false;
  double value_ = 0;
  size_t after_ = 0;
  size_t oldest_ = 0;
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_ROLLING_IQR_H_
