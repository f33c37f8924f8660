// window_novelty.h: how far the last values are from any short stretch before.

#ifndef HEAL_CORE_DETECT_WINDOW_NOVELTY_H_
#define HEAL_CORE_DETECT_WINDOW_NOVELTY_H_

#include <array>
#include <cstddef>

namespace heal {

// Distance of the window of the last values to its nearest neighbour among the
// windows before it: small wherever the shape of the series was seen recently.
//
// Source: KNN-CAD, Burnaev and Ishimtsev, arXiv:1608.04585. Departures: one
// neighbour, Euclidean distance, and the conformal p-value is left to the caller's
// tail model.
// The windows compared are those that end 1..kWindows values before, so each new
// value needs only its own differences to the last kWindows values; the squares of
// the kLength - 1 values before it are remembered.
// Cost: kWindows squares and kWindows * kLength sums in single precision, about
// 20 ns; no allocation.
// Requires: finite values. A difference beyond 1e18 counts as about 1e18.
class WindowNovelty {
 public:
  WindowNovelty();

  // Root mean square distance per value; negative while too little is known.
  double Learn(double value);

 private:
  static constexpr size_t kLength = 8;
  static constexpr size_t kWindows = 32;  // 64 and 128 found nothing more
  static constexpr size_t kFirst = 8;     // windows before the first answer

  // The last kWindows values lie together: each is stored twice, kWindows apart.
  std::array<double, 2 * kWindows> values_;
  size_t next_ = 0;
  // Row r: squared distances of one of the last kLength values to those before it.
  alignas(16) std::array<std::array<float, kWindows>, kLength> squares_;
  size_t row_ = 0;
  size_t seen_ = 0;  // values, as many as are needed for the first answer
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_WINDOW_NOVELTY_H_
