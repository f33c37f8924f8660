#include "detect/window_novelty.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace heal {
namespace {

// Numbers the compiler keeps in one register, on any machine.
using Four __attribute__((vector_size(4 * sizeof(float)))) = float;
using Two __attribute__((vector_size(2 * sizeof(float)))) = float;
using Pair __attribute__((vector_size(2 * sizeof(double)))) = double;

constexpr float kNever = 1e37F;  // square of a distance to a value that was not there

template <typename Vector, typename Number>
Vector Load(const Number* from) {
  Vector vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}

}  // namespace

WindowNovelty::WindowNovelty() {
  values_.fill(0);
  for (auto& row : squares_) row.fill(kNever);
}

double WindowNovelty::Learn(double value) {
  const double* const before = values_.data() + next_;  // the last kWindows, oldest first
  float* const squares = squares_[row_].data();
  const Pair here = {value, value};
  Four nearest = {kNever, kNever, kNever, kNever};
  for (size_t i = 0; i < kWindows; i += 4) {
    // Differences in double precision: the level may dwarf them. What is too
    // large for the square becomes infinite and is never the nearest.
    const Two low = __builtin_convertvector(here - Load<Pair>(before + i), Two);
    const Two high = __builtin_convertvector(here - Load<Pair>(before + i + 2), Two);
    const Four distance = {low[0], low[1], high[0], high[1]};
    const Four square = distance * distance;
    std::memcpy(squares + i, &square, sizeof(square));
    const auto row = [&](size_t r) { return Load<Four>(squares_[r].data() + i); };
    static_assert(kLength == 8);
    const Four sum = ((row(0) + row(1)) + (row(2) + row(3))) + ((row(4) + row(5)) + (row(6) + row(7)));
    nearest = sum < nearest ? sum : nearest;
  }
  // Values that were not there yet are near to nothing.
  if (seen_ < kWindows) std::fill_n(squares, kWindows - seen_, kNever);
  values_[next_] = values_[next_ + kWindows] = value;
  next_ = (next_ + 1) % kWindows;
  row_ = (row_ + 1) % kLength;
  if (seen_ < kWindows) ++seen_;
  if (seen_ < kLength + kFirst) return -1;
  const float least = std::min(std::min(nearest[0], nearest[1]), std::min(nearest[2], nearest[3]));
  return std::sqrt(static_cast<double>(least) / static_cast<double>(kLength));
}

}  // namespace heal
