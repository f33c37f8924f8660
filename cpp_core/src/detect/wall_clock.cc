#include "detect/wall_clock.h"

#include <algorithm>
#include <cstdlib>

namespace heal {

void WallClock::Observe(int64_t now_us, int64_t mono_us) {
  const int64_t offset = now_us - mono_us;
  const bool jumped = n_epochs_ != 0 && std::abs(offset - epochs_[n_epochs_ - 1].offset) > kJumpUs;
  if (n_epochs_ == 0 || jumped) {
    if (n_epochs_ == kEpochs) {
      std::move(epochs_.begin() + 1, epochs_.end(), epochs_.begin());
      --n_epochs_;
    }
    epochs_[n_epochs_++] = {now_us, now_us, offset};
  }
  epochs_[n_epochs_ - 1].last = now_us;
  epochs_[n_epochs_ - 1].offset = offset;
  now_us_ = now_us;
  mono_us_ = mono_us;
}

int64_t WallClock::AgeUs(int64_t timestamp) const {
  if (timestamp == 0 || n_epochs_ == 0) return 0;
  // The newest epoch began somewhere between its first observation and the one
  // before it; what lies between is read as the newest, hence the younger.
  for (size_t i = n_epochs_; i-- > 0;) {
    const bool in_reach = i == 0 || timestamp > epochs_[i - 1].last || timestamp >= epochs_[i].first;
    if (!in_reach) continue;
    if (timestamp > epochs_[i].last && i + 1 != n_epochs_) continue;
    const int64_t at_mono = timestamp - epochs_[i].offset;
    return std::max<int64_t>(0, mono_us_ - at_mono);
  }
  return 0;
}

}  // namespace heal
