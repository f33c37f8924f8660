#include "detect/rolling_zscore.h"

namespace heal {

// Two passes over the window.
void RollingMoments::Recompute(std::span<const double> window) {
  updates_ = 0;
  double sum = 0;
  for (const double value : window) sum += value * inverse_;
  double squares = 0;
  double rest = 0;
  for (const double value : window) {
    const double distance = value - sum;
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
