#include "detect/rolling_zscore.h"

namespace heal {

void RollingZScore::Append(double value) {
  ring_[next_++] = value;
  ++count_;
  inverse_ = 1 / static_cast<double>(count_);
  const double distance = value - mean_;
  mean_ += distance * inverse_;
  squares_ += distance * (value - mean_);
  if (squares_ > peak_) peak_ = squares_;
  if (next_ == ring_.size()) Recompute();
}

// Two passes over the window; also brings the ring's position back to its
// start where it has reached the end.
void RollingZScore::Recompute() {
  if (next_ == ring_.size()) next_ = 0;
  double sum = 0;
  for (size_t i = 0; i < count_; ++i) sum += ring_[i] * inverse_;
  double squares = 0;
  double rest = 0;
  for (size_t i = 0; i < count_; ++i) {
    const double distance = ring_[i] - sum;
    squares += distance * distance;
    rest += distance;
  }
  // Correct the mean by what rounding lost.
  mean_ = sum + rest * inverse_;
  squares_ = squares - rest * rest * inverse_;
  if (squares_ < 0) squares_ = 0;
  peak_ = squares_;
}

}  // namespace heal
