#include "detect/detector_grades.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "heal_core/c_api.h"

namespace heal {
namespace {

TEST(DetectorGrades, NothingIsSaidBeforeAnythingWasGraded) {
  const DetectorGrade grade = GradeDetector(0, 0, 0);
  EXPECT_TRUE(std::isnan(grade.precision));
  EXPECT_TRUE(std::isnan(grade.low));
  EXPECT_TRUE(std::isnan(grade.high));
  EXPECT_FALSE(grade.demoted);
}

// Wilson, 8 of 10 at 80 %: computed by hand from the closed form.
TEST(DetectorGrades, IntervalIsWilsons) {
  const DetectorGrade grade = GradeDetector(8, 2, 0);
  EXPECT_DOUBLE_EQ(grade.precision, 0.8);
  const double z2 = 1.2815515655446004 * 1.2815515655446004 / 10;
  const double reach = std::sqrt(z2 * (0.16 + z2 / 4));
  EXPECT_NEAR(grade.low, (0.8 + z2 / 2 - reach) / (1 + z2), 1e-12);
  EXPECT_NEAR(grade.high, (0.8 + z2 / 2 + reach) / (1 + z2), 1e-12);
  EXPECT_NEAR(grade.low, 0.6016, 1e-4);
  EXPECT_FALSE(grade.demoted);
}

TEST(DetectorGrades, ThreeRefutedFindingsAndNoneConfirmedAreNoise) {
  EXPECT_FALSE(GradeDetector(0, 2, 0).demoted);
  EXPECT_TRUE(GradeDetector(0, 3, 0).demoted);
  EXPECT_FALSE(GradeDetector(2, 3, 0).demoted);
  EXPECT_TRUE(GradeDetector(2, 30, 0).demoted);
}

TEST(DetectorGrades, DozensOfUnexplainedFindingsAreNoise) {
  EXPECT_FALSE(GradeDetector(0, 0, 20).demoted);
  EXPECT_TRUE(GradeDetector(0, 0, 40).demoted);
  EXPECT_FALSE(GradeDetector(4, 0, 40).demoted);
}

TEST(DetectorGrades, HostileCountsCountAsNothing) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  for (const double hostile : {std::nan(""), kInf, -kInf, -5.0, -0.0}) {
    EXPECT_TRUE(std::isnan(GradeDetector(hostile, hostile, hostile).precision)) << hostile;
    EXPECT_FALSE(GradeDetector(3, hostile, hostile).demoted) << hostile;
  }
}

TEST(DetectorGrades, KnowsTheDemotedOnesOfAConfiguration) {
  const std::vector<hc_detector_counts> counts = {
      {"zscore", "wal_bytes", 0, 5, 0}, {"zscore", "lock_waiters", 5, 0, 0}, {"ddl_lock_queue", "", 0, 9, 0}};
  DetectorGrades grades;
  grades.Set(counts);
  EXPECT_TRUE(grades.Demoted("zscore", "wal_bytes"));
  EXPECT_FALSE(grades.Demoted("zscore", "lock_waiters"));
  EXPECT_FALSE(grades.Demoted("iqr", "wal_bytes"));
  EXPECT_TRUE(grades.Demoted("ddl_lock_queue", ""));
  grades.Set({});
  EXPECT_FALSE(grades.Demoted("ddl_lock_queue", ""));
}

TEST(DetectorGrades, BoundaryGivesTheSame) {
  const hc_grade grade = hc_detector_grade(1, 9, 0);
  EXPECT_DOUBLE_EQ(grade.precision, 0.1);
  EXPECT_EQ(grade.demoted, 1);
}

}  // namespace
}  // namespace heal
