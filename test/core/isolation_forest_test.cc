// The isolation forest: scores, determinism, the fit in steps, awkward samples.

#include "detect/isolation_forest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <new>
#include <vector>

#include "counting_allocator.h"
#include "core_error.h"

namespace heal {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

// Sums of four uniform values: mean 0, deviation 0.58.
float Bell(SplitMix* random) {
  double sum = 0;
  for (int i = 0; i < 4; ++i) sum += static_cast<double>(random->Next() >> 11) / 9007199254740992.0;
  return static_cast<float>(sum - 2);
}

std::vector<float> Cloud(size_t rows, size_t features, uint64_t seed) {
  SplitMix random(seed);
  std::vector<float> values(rows * features);
  for (float& value : values) value = Bell(&random);
  return values;
}

std::vector<double> Scores(IsolationForest* forest, const std::vector<float>& points) {
  std::vector<double> scores;
  for (size_t i = 0; i < points.size(); i += forest->features()) {
    scores.push_back(forest->Score({points.data() + i, forest->features()}));
  }
  return scores;
}

TEST(AveragePathLength, IsThatOfABinarySearchTree) {
  EXPECT_EQ(AveragePathLength(0), 0);
  EXPECT_EQ(AveragePathLength(1), 0);
  EXPECT_DOUBLE_EQ(AveragePathLength(2), 1);
  EXPECT_DOUBLE_EQ(AveragePathLength(3), 5.0 / 3);
  EXPECT_DOUBLE_EQ(AveragePathLength(4), 2 * (1 + 0.5 + 1.0 / 3) - 1.5);
  // The paper's estimate of the harmonic number is good for many rows.
  const double estimate = 2 * (std::log(255.0) + 0.5772156649) - 2 * 255.0 / 256;
  EXPECT_NEAR(AveragePathLength(256), estimate, 0.005);
}

TEST(IsolationForest, FindsPlantedOutliers) {
  const size_t features = 6;
  std::vector<float> samples = Cloud(1000, features, 1);
  // One feature far out; and a combination of moderate values.
  for (size_t row : {size_t{10}, size_t{500}}) samples[row * features + 2] = 12;
  for (size_t feature = 0; feature < features; ++feature) samples[999 * features + feature] = 2.2F;
  IsolationForest forest(features, 1000);
  forest.Fit(samples, 7);
  const std::vector<double> scores = Scores(&forest, samples);
  std::vector<double> sorted = scores;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_GE(scores[10], sorted[970]);
  EXPECT_GE(scores[500], sorted[970]);
  EXPECT_EQ(scores[999], sorted[999]);
  EXPECT_GT(sorted[0], 0.3);
  EXPECT_LT(sorted[500], 0.5);
  EXPECT_GT(sorted[999], 0.6);
  EXPECT_LT(sorted[999], 1);
}

TEST(IsolationForest, ScoresLieBetweenZeroAndOne) {
  IsolationForest forest(3, 300);
  forest.Fit(Cloud(300, 3, 2), 1);
  const float extremes[] = {0, 1e30F, -1e30F, kInf, -kInf, kNaN, 1e-42F};
  for (float a : extremes) {
    for (float b : extremes) {
      const float point[] = {a, b, 0.1F};
      const double score = forest.Score(point);
      EXPECT_GT(score, 0);
      EXPECT_LT(score, 1);
    }
  }
}

// Two rows at distance: every tree is one cut, both paths have length 1 = c(2).
TEST(IsolationForest, KnownPathsOfTwoRows) {
  IsolationForest forest(1, 2);
  forest.Fit(std::vector<float>{0, 1}, 1);
  EXPECT_EQ(forest.nodes(), 300u);
  for (float value : {-5.0F, 0.0F, 1.0F, 5.0F}) EXPECT_DOUBLE_EQ(forest.Score({&value, 1}), 0.5);
}

// Three rows in a line, the right one far away: the first cut falls between the
// near two with probability 1/100. The height limit is 2, so paths are 1 or 2.
TEST(IsolationForest, KnownPathsOfThreeRows) {
  IsolationForest forest(1, 3, {10000, 256});
  forest.Fit(std::vector<float>{0, 1, 100}, 1);
  const double c = AveragePathLength(3);
  const float far = 100, near = 0, middle = 1;
  EXPECT_NEAR(forest.Score({&far, 1}), std::exp2(-(1 + 0.01) / c), 0.002);
  EXPECT_NEAR(forest.Score({&near, 1}), std::exp2(-(2 - 0.01) / c), 0.002);
  EXPECT_NEAR(forest.Score({&middle, 1}), std::exp2(-2 / c), 1e-6);
}

// Cuts fall between -0.5 and 1.5, the height limit is 1. A point far to the right
// is left with both rows by a quarter of the cuts, with one or none by the others.
TEST(IsolationForest, KnownPathsWithAMargin) {
  IsolationForest forest(1, 2, {10000, 256, 0.5});
  forest.Fit(std::vector<float>{0, 1}, 1);
  const float far = 5, row = 0;
  EXPECT_NEAR(forest.Score({&far, 1}), std::exp2(-1.25), 0.005);
  EXPECT_NEAR(forest.Score({&row, 1}), std::exp2(-1.5), 0.005);
}

TEST(IsolationForest, AMarginShowsWhatIsOutside) {
  const std::vector<float> samples = Cloud(256, 8, 1);
  std::vector<float> point(8, 0.0F);
  point[3] = 12;  // 20 deviations
  for (const double margin : {0.0, 0.5}) {
    IsolationForest forest(8, 256, {100, 256, margin});
    forest.Fit(samples, 1);
    std::vector<double> scores = Scores(&forest, samples);
    std::sort(scores.begin(), scores.end());
    if (margin > 0) {
      EXPECT_GT(forest.Score(point), scores[240]);
    } else {
      EXPECT_LT(forest.Score(point), scores[240]) << "then the margin is not needed";
    }
  }
}

TEST(IsolationForest, EqualSeedsGiveEqualScores) {
  const std::vector<float> samples = Cloud(600, 5, 3);
  const std::vector<float> points = Cloud(50, 5, 4);
  IsolationForest a(5, 600), b(5, 600), other(5, 600);
  a.Fit(samples, 42);
  // A forest that was used before is no different.
  b.Fit(points, 1);
  b.Fit(samples, 42);
  other.Fit(samples, 43);
  EXPECT_EQ(Scores(&a, points), Scores(&b, points));
  EXPECT_NE(Scores(&a, points), Scores(&other, points));
}

// The numbers themselves, so that a change of the trees is seen to be one.
TEST(IsolationForest, TheSameOnEveryMachine) {
  SplitMix random(0);
  EXPECT_EQ(random.Next(), 0xe220a8397b1dcdafULL);  // the published first value
  EXPECT_EQ(random.Next(), 0x6e789e6aa1b965f4ULL);
}

TEST(IsolationForest, AFitInStepsIsTheFitAtOnce) {
  const std::vector<float> points = Cloud(50, 4, 6);
  IsolationForest whole(4, 400);
  whole.Fit(Cloud(400, 4, 5), 9);
  const std::vector<double> expected = Scores(&whole, points);
  for (size_t budget : {size_t{1}, size_t{3}, size_t{100}, size_t{100000}}) {
    std::vector<float> samples = Cloud(400, 4, 5);
    IsolationForest forest(4, 400);
    forest.Begin(samples, 9);
    // The caller's samples may change under way.
    std::fill(samples.begin(), samples.end(), 0.0F);
    size_t steps = 1;
    EXPECT_FALSE(forest.Step(0));
    while (!forest.Step(budget)) {
      ++steps;
      ASSERT_LE(forest.nodes(), 2 * steps * budget + 1);
      ASSERT_EQ(forest.Score({points.data(), 4}), 0.5) << "scored before it was ready";
    }
    EXPECT_EQ(steps, (whole.nodes() + budget - 1) / budget);
    EXPECT_EQ(Scores(&forest, points), expected);
    EXPECT_TRUE(forest.Step(budget));
  }
}

TEST(IsolationForest, ANewFitForgetsAnUnfinishedOne) {
  const std::vector<float> points = Cloud(20, 4, 6);
  IsolationForest clean(4, 400), interrupted(4, 400);
  clean.Fit(Cloud(400, 4, 5), 9);
  interrupted.Begin(Cloud(400, 4, 8), 1);
  interrupted.Step(1000);
  interrupted.Fit(Cloud(400, 4, 5), 9);
  EXPECT_EQ(Scores(&clean, points), Scores(&interrupted, points));
}

TEST(IsolationForest, NothingToTellApart) {
  const float point[] = {1, 2, 3};
  IsolationForest forest(3, 100);
  EXPECT_EQ(forest.Score(point), 0.5);
  forest.Fit({}, 1);
  EXPECT_FALSE(forest.ready());
  EXPECT_EQ(forest.Score(point), 0.5);
  forest.Fit(std::vector<float>{4, 5, 6}, 1);
  EXPECT_TRUE(forest.ready());
  EXPECT_EQ(forest.Score(point), 0.5);
  forest.Fit(std::vector<float>(300, 7), 1);
  EXPECT_TRUE(forest.ready());
  EXPECT_EQ(forest.nodes(), 100u);
  EXPECT_NEAR(forest.Score(point), 0.5, 1e-6);
}

TEST(IsolationForest, NoFeaturesNoTreesNoCapacity) {
  IsolationForest no_features(0, 10), no_capacity(2, 0), no_trees(2, 10, {0, 256}), no_rows(2, 10, {5, 0});
  const std::vector<float> samples = Cloud(10, 2, 1);
  for (IsolationForest* forest : {&no_features, &no_capacity, &no_trees, &no_rows}) {
    forest->Fit(samples, 1);
    EXPECT_EQ(forest->Score({samples.data(), 2}), 0.5);
  }
}

// A constant feature is never cut: what it is in a point makes no difference.
TEST(IsolationForest, ConstantFeaturesAreNotCut) {
  std::vector<float> samples = Cloud(300, 4, 1);
  for (size_t row = 0; row < 300; ++row) {
    samples[row * 4 + 1] = 5;
    samples[row * 4 + 3] = row % 2 == 0 ? kNaN : -3.0F;  // constant where present
  }
  IsolationForest forest(4, 300);
  forest.Fit(samples, 3);
  const float usual[] = {0.1F, 5, 0.2F, -3};
  const float strange[] = {0.1F, -999, 0.2F, 999};
  const float missing[] = {0.1F, kNaN, 0.2F, kNaN};
  EXPECT_EQ(forest.Score(usual), forest.Score(strange));
  EXPECT_EQ(forest.Score(usual), forest.Score(missing));
  // The features that vary are cut as ever.
  const float outlier[] = {9, 5, 9, -3};
  EXPECT_GT(forest.Score(outlier), forest.Score(usual) + 0.2);
}

// Half the rows at 0, half at 1 in one feature: the second is the only cut.
TEST(IsolationForest, RepeatedRowsAreALeaf) {
  std::vector<float> samples;
  for (int i = 0; i < 256; ++i) samples.push_back(i < 128 ? 0.0F : 1.0F);
  IsolationForest forest(1, 256);
  forest.Fit(samples, 1);
  EXPECT_EQ(forest.nodes(), 300u);
  const double expected = std::exp2(-(1 + AveragePathLength(128)) / AveragePathLength(256));
  for (float value : {0.0F, 1.0F}) EXPECT_NEAR(forest.Score({&value, 1}), expected, 1e-6);
}

// 3 rows at 0, 1 at 1: a missing value goes with the larger side, whichever that is.
TEST(IsolationForest, AMissingValueOfAPointFollowsTheLargerChild) {
  for (const bool mirrored : {false, true}) {
    std::vector<float> samples(256, mirrored ? 1.0F : 0.0F);
    samples[0] = mirrored ? 0.0F : 1.0F;
    IsolationForest forest(1, 256);
    forest.Fit(samples, 1);
    const float many = samples[1], one = samples[0], missing = kNaN;
    EXPECT_LT(forest.Score({&many, 1}), forest.Score({&one, 1}) - 0.3);
    EXPECT_EQ(forest.Score({&missing, 1}), forest.Score({&many, 1})) << "mirrored " << mirrored;
  }
}

TEST(IsolationForest, MissingValuesOfSamplesFollowTheLargerSide) {
  for (const bool mirrored : {false, true}) {
    // 100 missing, 90 at one end, 66 at the other.
    std::vector<float> samples(256, kNaN);
    for (size_t i = 0; i < 156; ++i) samples[i] = (i < 90) != mirrored ? 0.0F : 1.0F;
    IsolationForest forest(1, 256);
    forest.Fit(samples, 1);
    EXPECT_EQ(forest.nodes(), 300u);
    const float larger = samples[0], smaller = samples[100], missing = kNaN;
    const double c = AveragePathLength(256);
    EXPECT_NEAR(forest.Score({&larger, 1}), std::exp2(-(1 + AveragePathLength(190)) / c), 1e-6);
    EXPECT_NEAR(forest.Score({&missing, 1}), std::exp2(-(1 + AveragePathLength(190)) / c), 1e-6);
    EXPECT_NEAR(forest.Score({&smaller, 1}), std::exp2(-(1 + AveragePathLength(66)) / c), 1e-6);
  }
}

// Mirroring every feature changes which child is the larger, not the isolation.
TEST(IsolationForest, AMirroredCloudScoresAlike) {
  std::vector<float> samples = Cloud(256, 2, 1);
  for (float& value : samples) value = std::exp(value);  // skewed
  std::vector<float> mirrored = samples;
  for (float& value : mirrored) value = -value;
  IsolationForest a(2, 256, {2000, 256}), b(2, 256, {2000, 256});
  a.Fit(samples, 1);
  b.Fit(mirrored, 2);
  for (size_t i = 0; i < 256; ++i) {
    EXPECT_NEAR(a.Score({&samples[2 * i], 2}), b.Score({&mirrored[2 * i], 2}), 0.02);
  }
}

TEST(IsolationForest, ScaleAndShiftDoNotMatter) {
  const std::vector<float> samples = Cloud(256, 3, 1);
  std::vector<float> scaled = samples;
  for (float& value : scaled) value = value * 1024 + 4096;
  IsolationForest a(3, 256), b(3, 256);
  a.Fit(samples, 1);
  b.Fit(scaled, 1);
  for (size_t i = 0; i < 256; ++i) {
    EXPECT_NEAR(a.Score({&samples[3 * i], 3}), b.Score({&scaled[3 * i], 3}), 0.01);
  }
}

TEST(IsolationForest, HostileSamples) {
  SplitMix random(5);
  const float hostile[] = {kNaN, kInf, -kInf, 3e38F, -3e38F, 1e-45F, -1e-45F, 0.0F, -0.0F, 1.0F};
  for (uint64_t seed = 0; seed < 50; ++seed) {
    std::vector<float> samples(200 * 4);
    for (float& value : samples) value = hostile[random.Below(10)];
    IsolationForest forest(4, 200, {20, 64, seed % 2 == 0 ? 0 : 0.5});
    forest.Fit(samples, seed);
    ASSERT_TRUE(forest.ready());
    for (const double score : Scores(&forest, samples)) {
      ASSERT_GT(score, 0);
      ASSERT_LT(score, 1);
    }
  }
}

// The threshold can only be the lower of the two, so a value equals it.
TEST(IsolationForest, NeighbouringValuesAreToldApart) {
  const float low = 1, high = std::nextafter(1.0F, 2.0F);
  for (const bool mirrored : {false, true}) {
    const float one = mirrored ? low : high, many = mirrored ? high : low;
    std::vector<float> samples(256, many);
    samples[0] = one;
    IsolationForest forest(1, 256);
    forest.Fit(samples, 1);
    EXPECT_GT(forest.Score({&one, 1}), forest.Score({&many, 1}) + 0.3) << "mirrored " << mirrored;
  }
}

TEST(IsolationForest, RowsBeyondTheCapacityAreLeftOut) {
  const std::vector<float> samples = Cloud(100, 2, 1);
  IsolationForest small(2, 60), exact(2, 60);
  small.Fit(samples, 1);
  exact.Fit({samples.data(), 121}, 1);  // with half a row
  EXPECT_EQ(Scores(&small, samples), Scores(&exact, samples));
}

TEST(IsolationForest, AShortPointLacksItsLastFeatures) {
  IsolationForest forest(3, 100);
  forest.Fit(Cloud(100, 3, 1), 1);
  const float point[] = {0.1F, 3, kNaN};
  EXPECT_EQ(forest.Score({point, 2}), forest.Score(point));
}

TEST(IsolationForest, ToFeatureStaysInRange) {
  EXPECT_EQ(IsolationForest::ToFeature(1.5), 1.5F);
  EXPECT_EQ(IsolationForest::ToFeature(1e300), std::numeric_limits<float>::max());
  EXPECT_EQ(IsolationForest::ToFeature(-INFINITY), -std::numeric_limits<float>::max());
  EXPECT_TRUE(std::isnan(IsolationForest::ToFeature(NAN)));
}

TEST(IsolationForest, LimitsOfTheLayout) {
  EXPECT_THROW(IsolationForest(32768, 1), LimitError);
  EXPECT_THROW(IsolationForest(1, 1, {1, 32768}), LimitError);
  // The largest distances a node can hold.
  std::vector<float> samples(32767);
  SplitMix random(1);
  for (float& value : samples) value = Bell(&random);
  IsolationForest forest(1, samples.size(), {2, samples.size()});
  forest.Fit(samples, 1);
  EXPECT_TRUE(forest.ready());
  const float outlier = 50;
  EXPECT_GT(forest.Score({&outlier, 1}), forest.Score({&samples[0], 1}));
}

TEST(IsolationForest, NoAllocationAfterTheConstructor) {
  const std::vector<float> samples = Cloud(512, 20, 1);
  const std::vector<float> distinct = Cloud(512, 20, 2);
  IsolationForest forest(20, 512);
  const uint64_t before = allocations;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    forest.Begin(seed % 2 == 0 ? samples : distinct, seed);
    while (!forest.Step(1000)) {
    }
    for (size_t i = 0; i < 512; ++i) forest.Score({samples.data() + i * 20, 20});
  }
  EXPECT_EQ(allocations, before);
}

}  // namespace
}  // namespace heal
