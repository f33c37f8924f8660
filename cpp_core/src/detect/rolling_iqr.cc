#include "detect/rolling_iqr.h"

#include <cstring>

namespace heal {
namespace {

// First position whose value is not below the given one. Written without a
// branch on the data: a mispredicted branch per step would cost more than the
// whole search.
size_t LowerBound(const double* sorted, size_t n, double value) {
  const double* base = sorted;
  while (n > 1) {
    const size_t half = n / 2;
    base += base[half - 1] < value ? half : 0;
    n -= half;
  }
  return static_cast<size_t>(base - sorted) + (n == 1 && *base < value ? 1 : 0);
}

}  // namespace

void RollingIqr::Push(double value) {
  if (ring_.empty()) return;
  double* sorted = sorted_.data();
  size_t to = LowerBound(sorted, count_, value);
  if (count_ < ring_.size()) {
    std::memmove(sorted + to + 1, sorted + to, (count_ - to) * sizeof(double));
    ++count_;
  } else {
    const size_t from = LowerBound(sorted, count_, ring_[next_]);
    if (to > from) {
      --to;  // the oldest value leaves from below
      std::memmove(sorted + from, sorted + from + 1, (to - from) * sizeof(double));
    } else {
      std::memmove(sorted + to + 1, sorted + to, (from - to) * sizeof(double));
    }
  }
  sorted[to] = value;
  ring_[next_] = value;
  if (++next_ == ring_.size()) next_ = 0;
}

double RollingIqr::Quantile(double q) const {
  const double position = q * static_cast<double>(count_ - 1);
  const size_t below = static_cast<size_t>(position);
  const double low = sorted_[below];
  if (below + 1 >= count_) return low;
  return low + (sorted_[below + 1] - low) * (position - static_cast<double>(below));
}

}  // namespace heal
