#include "detect/window_novelty.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace heal {
namespace {


// Two doubles the compiler keeps in one register, on any machine.
using Pair __attribute__((vector_size(2 * sizeof(double)))) = double;

Pair Load(const double* values) {
  Pair pair;
  std::memcpy(&pair, values, sizeof(pair));
  return pair;
}

}  // namespace

double WindowNovelty::Nearest() const {
  double nearest = HUGE_VAL;
  for (size_t block = 0; block + kBlock <= stored_; block += kBlock) {
    Pair sums[kBlock / 2] = {};
    for (size_t i = 0; i < kLength; ++i) {
      const Pair value = {last_[i], last_[i]};
      const double* const column = windows_[i].data() + block;
      const Pair a = value - Load(column);
      const Pair b = value - Load(column + 2);
      const Pair c = value - Load(column + 4);
      const Pair d = value - Load(column + 6);
      sums[0] += a * a;
      sums[1] += b * b;
      sums[2] += c * c;
      sums[3] += d * d;
    }
    for (const Pair& sum : sums) nearest = std::min(nearest, std::min(sum[0], sum[1]));
  }
  return std::sqrt(nearest / static_cast<double>(kLength));
}

double WindowNovelty::Learn(double value) {
  std::copy(last_.begin() + 1, last_.end(), last_.begin());
  last_.back() = value;
  if (seen_ < kLength && ++seen_ < kLength) return -1;
  const double novelty = stored_ >= kBlock ? Nearest() : -1;
  for (size_t i = 0; i < kLength; ++i) windows_[i][next_] = last_[i];
  next_ = (next_ + 1) % kWindows;
  if (stored_ < kWindows) ++stored_;
  return novelty;
}

}  // namespace heal
