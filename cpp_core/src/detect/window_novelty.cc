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

Pair Square(Pair pair) { return pair * pair; }

Pair Lesser(Pair a, Pair b) { return a < b ? a : b; }

}  // namespace

double WindowNovelty::Nearest() const {
  Pair nearest = {HUGE_VAL, HUGE_VAL};
  for (size_t block = 0; block + kBlock <= stored_; block += kBlock) {
    Pair a = {}, b = {}, c = {}, d = {};
    for (size_t i = 0; i < kLength; ++i) {
      const Pair value = {last_[i], last_[i]};
      const double* const column = windows_[i].data() + block;
      a += Square(value - Load(column));
      b += Square(value - Load(column + 2));
      c += Square(value - Load(column + 4));
      d += Square(value - Load(column + 6));
    }
    nearest = Lesser(nearest, Lesser(Lesser(a, b), Lesser(c, d)));
  }
  return std::sqrt(std::min(nearest[0], nearest[1]) / static_cast<double>(kLength));
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
