// wall_clock.h: ages of wall-clock timestamps that survive clock jumps.

#ifndef HEAL_CORE_DETECT_WALL_CLOCK_H_
#define HEAL_CORE_DETECT_WALL_CLOCK_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace heal {

// The server stamps its facts with the wall clock, which may jump; the
// monotonic clock tells by how much. Time is cut into epochs between jumps, and
// a timestamp is read in the latest epoch it can belong to: where it is
// ambiguous the age is the smaller one, so a jump can delay a match, never make
// one.
class WallClock {
 public:
  void Observe(int64_t now_us, int64_t mono_us);

  // Age of a timestamp in microseconds, never negative; 0 for none.
  int64_t AgeUs(int64_t timestamp) const;
  double AgeSeconds(int64_t timestamp) const { return static_cast<double>(AgeUs(timestamp)) / 1e6; }
  int64_t now_us() const { return now_us_; }

 private:
  static constexpr size_t kEpochs = 8;
  static constexpr int64_t kJumpUs = 1000000;

  struct Epoch {
    int64_t first;   // wall clock at its first observation
    int64_t last;    // and at its last
    int64_t offset;  // wall clock minus monotonic clock at its end
  };

  std::array<Epoch, kEpochs> epochs_{};  // oldest first
  size_t n_epochs_ = 0;
  int64_t now_us_ = 0;
  int64_t mono_us_ = 0;
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_WALL_CLOCK_H_
