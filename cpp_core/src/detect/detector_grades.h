// detector_grades.h: how often each detector was right, and which are noise.

#ifndef HEAL_CORE_DETECT_DETECTOR_GRADES_H_
#define HEAL_CORE_DETECT_DETECTOR_GRADES_H_

#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "heal_core/observation.h"

namespace heal {

// Share of a detector's findings that were real, with its 80 % interval.
// All NaN before anything was graded.
struct DetectorGrade {
  double precision = 0;
  double low = 0;
  double high = 0;
  bool demoted = false;
};

// Counts may be fractions: they fade with age. What is not finite or negative
// counts as nothing. A finding nobody could explain counts a tenth of a refuted
// one: a detector that raises dozens of them without ever being confirmed is
// noise even if nobody bothers to say so.
// Demoted: three graded findings or more, and even the upper end of the interval
// is below one half.
//
// Source of the interval: Wilson, "Probable inference, the law of succession, and
// statistical inference", JASA 22 (1927).
DetectorGrade GradeDetector(double confirmed, double refuted, double unexplained);

// The demoted detectors of a configuration.
class DetectorGrades {
 public:
  void Set(std::span<const hc_detector_counts> counts);

  // detector: a failure type with subject "", or a method with its metric.
  bool Demoted(std::string_view detector, std::string_view subject) const;

 private:
  // Detector -> subjects.
  std::map<std::string, std::set<std::string, std::less<>>, std::less<>> demoted_;
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_DETECTOR_GRADES_H_
