#include "detect/seasonal_baseline.h"

#include <algorithm>

namespace heal {

size_t SeasonalBaseline::BinOf(int64_t time_us) const {
  if (bins_.empty()) return 0;
  constexpr int64_t kHour = 3600 * int64_t{1000000};
  const int64_t hour = time_us / kHour - (time_us % kHour < 0 ? 1 : 0);
  if (hour == last_hour_) return last_bin_;  // nearly always: without a division
  const int64_t hours = static_cast<int64_t>(bins_.size());
  const int64_t bin = hour % hours;
  last_hour_ = hour;
  last_bin_ = static_cast<size_t>(bin < 0 ? bin + hours : bin);
  last_ = bins_[last_bin_];
  return last_bin_;
}

bool SeasonalBaseline::Usual(int64_t time_us, double* usual) const {
  if (bins_.empty()) return false;
  BinOf(time_us);
  *usual = last_.mean;
  return last_.visits > 0;
}

void SeasonalBaseline::Learn(int64_t time_us, double value) {
  if (bins_.empty()) return;
  const size_t bin = BinOf(time_us);
  if (bin != current_ && visit_count_ > 0) {
    Bin& left = bins_[current_];
    left.visits = std::min(left.visits + 1, 1 / gain_);
    left.mean += (visit_mean_ - left.mean) / left.visits;
    visit_mean_ = 0;
    visit_count_ = 0;
  }
  current_ = bin;
  ++visit_count_;
  visit_mean_ += (value - visit_mean_) / visit_count_;
}

}  // namespace heal
