#include "detect/detector_grades.h"

#include <cmath>
#include <limits>

namespace heal {
namespace {

constexpr double kUnexplainedWeight = 0.1;
constexpr double kLeastGraded = 3;
constexpr double kNoise = 0.5;
constexpr double kZ = 1.2815515655446004;  // 90 % quantile of the normal distribution

double Count(double count) { return std::isfinite(count) && count > 0 ? count : 0; }

}  // namespace

DetectorGrade GradeDetector(double confirmed, double refuted, double unexplained) {
  const double right = Count(confirmed);
  const double graded = right + Count(refuted) + kUnexplainedWeight * Count(unexplained);
  if (!(graded > 0)) {
    constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
    return {kUnknown, kUnknown, kUnknown, false};
  }
  const double p = right / graded;
  const double z2 = kZ * kZ / graded;
  const double centre = p + z2 / 2;
  const double reach = std::sqrt(z2 * (p * (1 - p) + z2 / 4));
  DetectorGrade grade{p, (centre - reach) / (1 + z2), (centre + reach) / (1 + z2), false};
  grade.demoted = graded >= kLeastGraded && grade.high < kNoise;
  return grade;
}

void DetectorGrades::Set(std::span<const hc_detector_counts> counts) {
  demoted_.clear();
  for (const hc_detector_counts& row : counts)
    if (GradeDetector(row.confirmed, row.refuted, row.unexplained).demoted)
      demoted_[row.detector].insert(row.subject);
}

bool DetectorGrades::Demoted(std::string_view detector, std::string_view subject) const {
  const auto found = demoted_.find(detector);
  return found != demoted_.end() && found->second.contains(subject);
}

}  // namespace heal
