#include "detect/window_novelty.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace heal {
namespace {

// Four numbers the compiler keeps in one register, on any machine.
using Four __attribute__((vector_size(4 * sizeof(float)))) = float;

constexpr double kLargest = 1e18;  // its square fits single precision
constexpr float kNever = 1e37F;    // square of a distance to a value that was not there

Four Load(const float* from) {
  Four four;
  std::memcpy(&four, from, sizeof(four));
  return four;
}

float Distance(double a, double b) { return static_cast<float>(std::clamp(a - b, -kLargest, kLargest)); }

}  // namespace

WindowNovelty::WindowNovelty() {
  values_.fill(0);
  for (auto& row : squares_) row.fill(kNever);
}

double WindowNovelty::Learn(double value) {
  const double* const before = values_.data() + next_;  // the last kWindows, oldest first
  float* const squares = squares_[row_].data();
  for (size_t i = 0; i < kWindows; i += 4) {
    const Four distance = {Distance(value, before[i]), Distance(value, before[i + 1]), Distance(value, before[i + 2]),
                           Distance(value, before[i + 3])};
    const Four square = distance * distance;
    std::memcpy(squares + i, &square, sizeof(square));
  }
  // Values that were not there yet are near to nothing.
  if (seen_ < kWindows) std::fill_n(squares, kWindows - seen_, kNever);
  values_[next_] = values_[next_ + kWindows] = value;
  next_ = (next_ + 1) % kWindows;
  row_ = (row_ + 1) % kLength;
  if (seen_ < kWindows) ++seen_;
  if (seen_ < kLength + kFirst) return -1;

  Four nearest = {kNever, kNever, kNever, kNever};
  for (size_t i = 0; i < kWindows; i += 4) {
    Four sum = Load(squares_[0].data() + i);
    for (size_t row = 1; row < kLength; ++row) sum += Load(squares_[row].data() + i);
    nearest = sum < nearest ? sum : nearest;
  }
  const float least = std::min(std::min(nearest[0], nearest[1]), std::min(nearest[2], nearest[3]));
  return std::sqrt(static_cast<double>(least) / static_cast<double>(kLength));
}

}  // namespace heal
