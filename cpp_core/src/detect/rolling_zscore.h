// rolling_zscore.h: mean and deviation over the last n values.

#ifndef HEAL_CORE_DETECT_ROLLING_ZSCORE_H_
#define HEAL_CORE_DETECT_ROLLING_ZSCORE_H_

#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

namespace heal {

// Mean and standard deviation (population) of values kept elsewhere.
//
// Source: Welford's update, in its replacing form for a full window. Departure:
// the sums are recomputed from the window each time it has turned once, and
// whenever the sum of squares has fallen to a millionth of its peak, because
// then what an outlier left behind by rounding would dominate. So the relative
// error of the variance stays below about 1e-7 for any input.
// Cost: O(1) amortised, no allocation.
// Requires: finite values.
class RollingMoments {
 public:
  // Call one of these after the window has changed; `window` is what it holds now.
  void Append(double value, std::span<const double> window) {
    inverse_ = 1 / static_cast<double>(window.size());
    const double distance = value - mean_;
    mean_ += distance * inverse_;
    squares_ += distance * (value - mean_);
    Check(window);
  }
  void Replace(double old, double value, std::span<const double> window) {
    const double change = value - old;
    const double mean = mean_ + change * inverse_;
    squares_ += change * (value - mean + old - mean_);
    mean_ = mean;
    Check(window);
  }

  double mean() const { return mean_; }
  double variance() const { return squares_ * inverse_; }
  double stddev() const { return std::sqrt(variance()); }

 private:
  void Check(std::span<const double> window) {
    if (squares_ > peak_) peak_ = squares_;
    if (++updates_ >= window.size() || squares_ < peak_ * kCancellation) Recompute(window);
  }
  void Recompute(std::span<const double> window);

  static constexpr double kCancellation = 1e-6;

  size_t updates_ = 0;  // since the last recomputation
  double inverse_ = 0;  // 1 / values in the window
  double mean_ = 0;
  double squares_ = 0;  // sum of squared distances from the mean
  double peak_ = 0;     // largest squares_ since the last recomputation
};

// Mean and standard deviation (population) of a sliding window.
// No allocation after the constructor.
class RollingZScore {
 public:
  explicit RollingZScore(size_t window = 0) : ring_(window) {}

  void Push(double value) {
    if (ring_.empty()) return;
    const double old = ring_[next_];
    ring_[next_] = value;
    if (++next_ == ring_.size()) next_ = 0;
    if (count_ == ring_.size()) {
      moments_.Replace(old, value, ring_);
    } else {
      ++count_;
      moments_.Append(value, {ring_.data(), count_});
    }
  }

  size_t count() const { return count_; }
  size_t window() const { return ring_.size(); }
  double mean() const { return moments_.mean(); }
  double variance() const { return moments_.variance(); }
  double stddev() const { return moments_.stddev(); }

  // Deviations from the mean, with a lower bound for the deviation.
  double Score(double value, double floor) const {
    const double deviation = stddev();
    return (value - mean()) / (deviation > floor ? deviation : floor);
  }

 private:
  std::vector<double> ring_;
  size_t count_ = 0;
  size_t next_ = 0;
  RollingMoments moments_;
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_ROLLING_ZSCORE_H_
