// rolling_zscore.h: mean and deviation over the last n values.

#ifndef HEAL_CORE_DETECT_ROLLING_ZSCORE_H_
#define HEAL_CORE_DETECT_ROLLING_ZSCORE_H_

#include <cmath>
#include <cstddef>
#include <vector>

namespace heal {

// Mean and standard deviation (population) of a sliding window.
//
// Source: Welford's update, in its replacing form for a full window. Departure:
// the sums are recomputed from the window each time it has turned once, and
// whenever the sum of squares has fallen to a millionth of its peak, because
// then what an outlier left behind by rounding would dominate. So the relative
// error of the variance stays below about 1e-7 for any input.
// Cost: O(1) amortised, no allocation after the constructor.
// Requires: finite values.
class RollingZScore {
 public:
  explicit RollingZScore(size_t window = 0) : ring_(window) {}

  void Push(double value) {
    if (count_ == ring_.size()) {
      if (count_ != 0) Replace(value);
    } else {
      Append(value);
    }
  }

  size_t count() const { return count_; }
  size_t window() const { return ring_.size(); }
  double mean() const { return mean_; }
  double variance() const { return count_ == 0 ? 0 : squares_ / static_cast<double>(count_); }
  double stddev() const { return std::sqrt(variance()); }

  // Deviations from the mean, with a lower bound for the deviation.
  double Score(double value, double floor) const {
    const double deviation = stddev();
    return (value - mean_) / (deviation > floor ? deviation : floor);
  }

 private:
  void Replace(double value) {
    const double old = ring_[next_];
    ring_[next_] = value;
    const double change = value - old;
    const double mean = mean_ + change * inverse_;
    squares_ += change * (value - mean + old - mean_);
    mean_ = mean;
    ++next_;
    if (squares_ > peak_) peak_ = squares_;
    if (next_ == count_ || squares_ < peak_ * kCancellation) Recompute();
  }

  void Append(double value);
  void Recompute();

  static constexpr double kCancellation = 1e-6;

  std::vector<double> ring_;
  size_t count_ = 0;
  size_t next_ = 0;
  double inverse_ = 0;  // 1 / count_
  double mean_ = 0;
  double squares_ = 0;  // sum of squared distances from the mean
  double peak_ = 0;     // largest squares_ since the last recomputation
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_ROLLING_ZSCORE_H_
