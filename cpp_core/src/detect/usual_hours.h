// usual_hours.h: what a metric reached at this time of the day before.

#ifndef HEAL_CORE_DETECT_USUAL_HOURS_H_
#define HEAL_CORE_DETECT_USUAL_HOURS_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace heal {

// Extremes of each hour of the last three days. What two of the three reached
// within an hour of the same time is usual: a batch that runs each night is no
// anomaly from its third night on, and one bad night hides nothing.
// Cost: about 3 ns to learn, 10 ns to ask; 840 bytes; no allocation.
// Requires: finite values. Times in any order; hours are those of UTC.
class UsualHours {
 public:
  UsualHours();

  void Learn(int64_t time_us, double value);

  // The value that two of the last three days reached around that hour, upwards or
  // downwards; infinite the other way where they are not known.
  double High(int64_t time_us) const;
  double Low(int64_t time_us) const;

 private:
  static constexpr size_t kHours = 24;
  static constexpr size_t kDays = 3;
  static constexpr size_t kKept = kDays + 1;  // today's too, once the hour is over

  struct Extremes {
    float high;
    float low;
  };

  std::array<std::array<Extremes, kKept>, kHours> hours_;
  std::array<uint8_t, kHours> newest_{};
  int64_t hour_ = INT64_MIN;  // being seen, since 1970
  Extremes now_;
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_USUAL_HOURS_H_
