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
// Cost: kWindows * kLength differences, about 70 ns; no allocation.
// Requires: values of at most 1e150 (squares are summed).
class WindowNovelty {
 public:
  // Root mean square distance per value; negative while too little is known.
  double Learn(double value);

 private:
  static constexpr size_t kLength = 8;
  static constexpr size_t kWindows = 32;  // 64 and 128 found nothing more
  static constexpr size_t kBlock = 8;     // windows compared at a time; divides kWindows

  double Nearest() const;

  // Value i of all windows lies together, so that the compiler vectorises over windows.
  std::array<std::array<double, kWindows>, kLength> windows_{};
  std::array<double, kLength> last_{};
  size_t seen_ = 0;    // values, at most kLength
  size_t stored_ = 0;  // windows, at most kWindows
  size_t next_ = 0;
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_WINDOW_NOVELTY_H_
