// seasonal_baseline.h: the usual value by hour of the day or of the week.

#ifndef HEAL_CORE_DETECT_SEASONAL_BASELINE_H_
#define HEAL_CORE_DETECT_SEASONAL_BASELINE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace heal {

// A profile of hourly means over a period. A visit to an hour enters the profile
// when it is over, so a value is compared with earlier days (weeks) alone.
// Cost: O(1), no allocation after the constructor.
// Requires: finite values. Times in any order; hours are those of UTC.
class SeasonalBaseline {
 public:
  // hours: 24 or 168. gain: share of the last visit in the profile.
  SeasonalBaseline(size_t hours, double gain) : bins_(hours), gain_(gain) {}

  // The profile at that time in *usual; false where it is not known.
  bool Usual(int64_t time_us, double* usual) const;
  void Learn(int64_t time_us, double value);

 private:
  struct Bin {
    double mean = 0;
    double visits = 0;
  };
  size_t BinOf(int64_t time_us) const;

  std::vector<Bin> bins_;
  double gain_;
  size_t current_ = 0;
  double visit_mean_ = 0;
  double visit_count_ = 0;
  // The hour asked for last, its bin and what that holds. A bin changes only when
  // another hour is seen, so the copy is never stale; most samples need nothing else.
  mutable int64_t last_hour_ = INT64_MIN;
  mutable size_t last_bin_ = 0;
  mutable Bin last_{};
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_SEASONAL_BASELINE_H_
