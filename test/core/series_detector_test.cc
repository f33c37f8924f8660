// The anomaly detector of one series: what it must see, and what must leave it
// silent.

#include "detect/series_detector.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>
#include <string>
#include <vector>

#include "counting_allocator.h"
#include "detect/window_novelty.h"

namespace heal {
namespace {

constexpr int64_t kSecond = 1000000;
constexpr double kPi = 3.14159265358979323846;

// Deterministic numbers.
class Random {
 public:
  explicit Random(uint64_t seed = 1) : state_(seed) {}
  double Uniform() {  // in (0, 1)
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return (static_cast<double>(state_ >> 11) + 0.5) / 9007199254740992.0;
  }
  double Normal() { return std::sqrt(-2 * std::log(Uniform())) * std::cos(2 * kPi * Uniform()); }

 private:
  uint64_t state_;
};

// A detector fed every five minutes.
class Feed {
 public:
  double Push(double value) {
    const double score = detector.Observe(now_us, value);
    now_us += 300 * kSecond;
    EXPECT_GE(score, 0) << value;
    EXPECT_LE(score, 1) << value;
    EXPECT_EQ(score >= 0.5, detector.raised());
    if (detector.raised()) ++raised;
    return score;
  }
  void Noise(int samples, double level) {
    for (int i = 0; i < samples; ++i) Push(level + random.Normal());
  }
  // Values from make(i); how many anomalies they raised.
  template <typename Make>
  int Count(int samples, Make make) {
    const int before = raised;
    for (int i = 0; i < samples; ++i) Push(make(i));
    return raised - before;
  }

  SeriesDetector detector;
  Random random;
  int64_t now_us = 0;
  int raised = 0;
};

std::string Shape(const Feed& feed) { return SeriesShapeName(feed.detector.shape()); }

TEST(SeriesDetectorTest, SpikeIsRaisedAtOnceAndOnce) {
  Feed feed;
  feed.Noise(1000, 100);
  const int64_t at = feed.now_us;
  feed.raised = 0;
  EXPECT_GE(feed.Push(160), 0.5);
  EXPECT_EQ(feed.detector.direction(), 1);
  EXPECT_EQ(feed.detector.onset_us(), at);
  feed.Noise(200, 100);
  EXPECT_EQ(feed.raised, 1);
  EXPECT_EQ(Shape(feed), "spike");
}

TEST(SeriesDetectorTest, FallIsRaisedDown) {
  Feed feed;
  feed.Noise(1000, 100);
  feed.raised = 0;
  for (int i = 0; i < 5; ++i) feed.Push(50);
  EXPECT_EQ(feed.raised, 1);
  EXPECT_EQ(feed.detector.direction(), -1);
}

TEST(SeriesDetectorTest, LevelShiftIsRaisedThenBecomesNormal) {
  Feed feed;
  feed.Noise(1000, 100);
  feed.raised = 0;
  const int64_t at = feed.now_us;
  feed.Noise(20, 120);
  EXPECT_EQ(feed.raised, 1);
  EXPECT_EQ(feed.detector.onset_us(), at);
  EXPECT_EQ(Shape(feed), "level_shift");
  feed.Noise(2000, 120);
  EXPECT_LE(feed.raised, 6);
  feed.raised = 0;
  feed.Noise(3000, 120);
  EXPECT_LE(feed.raised, 2);
  // The new level is learnt: the old one is odd now.
  feed.raised = 0;
  feed.Noise(5, 100);
  EXPECT_EQ(feed.raised, 1);
}

TEST(SeriesDetectorTest, DriftIsRaised) {
  Feed feed;
  feed.Noise(2000, 100);
  feed.raised = 0;
  for (int i = 0; i < 400; ++i) feed.Push(100 + 0.02 * i + feed.random.Normal());
  EXPECT_GE(feed.raised, 1);
  EXPECT_EQ(feed.detector.direction(), 1);
}

TEST(SeriesDetectorTest, FlatLineIsAVoid) {
  Feed feed;
  feed.Noise(1000, 100);
  feed.raised = 0;
  for (int i = 0; i < 60 && feed.raised == 0; ++i) feed.Push(100);
  EXPECT_EQ(feed.raised, 1);
  EXPECT_EQ(Shape(feed), "void");
}

TEST(SeriesDetectorTest, BurstIsOneAnomaly) {
  Feed feed;
  feed.Noise(1000, 100);
  feed.raised = 0;
  for (int i = 0; i < 60; ++i) feed.Push(i % 3 == 0 ? 170 : 100);
  EXPECT_EQ(feed.raised, 1);
}

TEST(SeriesDetectorTest, HabituatesToWhatIsAlwaysOdd) {
  Feed feed;
  feed.Noise(1000, 100);
  feed.raised = 0;
  // A spike of another height every eighty samples, longer apart than the rest.
  for (int i = 0; i < 100 * 80; ++i) feed.Push(i % 80 == 0 ? 160 + i % 7 : 100 + feed.random.Normal());
  EXPECT_LE(feed.raised, 25);
}

TEST(SeriesDetectorTest, NoiseIsRarelyRaised) {
  // The bar favours finding over silence: about one in a thousand values of
  // pure noise, less the more often it happens.
  Feed gauss, laplace, cauchy;
  EXPECT_LE(gauss.Count(50000, [&](int) { return gauss.random.Normal(); }), 60);
  EXPECT_LE(laplace.Count(50000,
                          [&](int) {
                            const double u = laplace.random.Uniform();
                            return u < 0.5 ? std::log(2 * u) : -std::log(2 - 2 * u);
                          }),
            70);
  EXPECT_LE(cauchy.Count(50000, [&](int) { return std::tan(kPi * (cauchy.random.Uniform() - 0.5)); }), 140);
}

TEST(SeriesDetectorTest, SeasonalSeriesIsNearlySilentAndAMissingDayIsNot) {
  Feed feed;
  const auto day = [&](int i) {
    const int minute = i % 288;
    return (minute >= 96 && minute < 192 ? 80.0 : 20.0) + feed.random.Normal();
  };
  feed.Count(288 * 4, day);
  EXPECT_LE(feed.Count(288 * 30, day), 6);
  EXPECT_GE(feed.Count(288, [&](int) { return 20 + feed.random.Normal(); }), 1);
}

TEST(SeriesDetectorTest, ConstantSeriesIsSilent) {
  for (double level : {0.0, 45.0, -1e9, 0.1, 1e-200, 1e300}) {
    Feed feed;
    EXPECT_EQ(feed.Count(5000, [&](int) { return level; }), 0) << level;
    EXPECT_EQ(feed.detector.evidence(), 0) << level;
  }
}

TEST(SeriesDetectorTest, FirstChangeOfAConstantIsRaised) {
  Feed feed;
  feed.Count(500, [](int) { return 45.0; });
  EXPECT_GE(feed.Push(46), 0.5);
}

TEST(SeriesDetectorTest, ScaleAndLevelDoNotMatter) {
  Feed plain, large, small;
  Random random;
  for (int i = 0; i < 3000; ++i) {
    const double value = 10 + random.Normal() + (i % 700 == 699 ? 30 : 0);
    const double score = plain.Push(value);
    EXPECT_NEAR(large.Push(value * 1e12), score, 1e-6) << i;
    EXPECT_NEAR(small.Push(value * -1e-12), score, 1e-6) << i;
  }
  EXPECT_GE(plain.raised, 1);
}

TEST(SeriesDetectorTest, GapsLeaveNoTrace) {
  Feed plain, gaps;
  Random random;
  for (int i = 0; i < 2000; ++i) {
    const double value = random.Normal();
    const double score = plain.Push(value);
    gaps.now_us = plain.now_us - 300 * kSecond;
    if (i % 10 == 0) {
      EXPECT_EQ(gaps.Push(std::numeric_limits<double>::quiet_NaN()), 0);
      EXPECT_EQ(gaps.Push(std::numeric_limits<double>::infinity()), 0);
      EXPECT_EQ(gaps.Push(-std::numeric_limits<double>::infinity()), 0);
      gaps.now_us = plain.now_us - 300 * kSecond;
    }
    EXPECT_EQ(gaps.Push(value), score);
  }
}

TEST(SeriesDetectorTest, HostileNumbersStayBounded) {
  const double values[] = {
      0,      -0.0,    5e-324, -5e-324, 1e-308, 1e308, -1e308,       1.7976931348623157e308,
      1e-150, -1e-130, 1e150,  1,       -1,     1e20,  std::nan(""), 3e-200};
  Random random;
  Feed feed;
  for (int i = 0; i < 200000; ++i) {
    feed.Push(values[static_cast<size_t>(random.Uniform() * 16)]);
    ASSERT_TRUE(std::isfinite(feed.detector.evidence())) << i;
  }
  // It still works on plain numbers afterwards.
  feed.Noise(30000, 100);
  EXPECT_TRUE(std::isfinite(feed.detector.evidence()));
}

TEST(SeriesDetectorTest, ClockMayJump) {
  Feed feed;
  Random random;
  const int64_t times[] = {0,
                           -1,
                           std::numeric_limits<int64_t>::min(),
                           std::numeric_limits<int64_t>::max(),
                           1700000000 * kSecond,
                           -86400 * kSecond};
  for (int i = 0; i < 20000; ++i) {
    feed.now_us = times[static_cast<size_t>(random.Uniform() * 6)];
    const double score = feed.detector.Observe(feed.now_us, random.Normal());
    ASSERT_TRUE(score >= 0 && score <= 1);
    if (feed.detector.raised()) ++feed.raised;
  }
  EXPECT_LE(feed.raised, 30);
}

TEST(SeriesDetectorTest, DoesNotAllocateAndRepeatsItself) {
  SeriesDetector a, b;
  Random random;
  std::vector<double> values(20000);
  for (double& value : values) value = random.Normal() * (random.Uniform() < 0.01 ? 20 : 1);
  const uint64_t before = allocations;
  bool same = true;
  for (size_t i = 0; i < values.size(); ++i) {
    const int64_t now_us = static_cast<int64_t>(i) * 60 * kSecond;
    same = same && a.Observe(now_us, values[i]) == b.Observe(now_us, values[i]);
  }
  EXPECT_EQ(allocations, before);
  EXPECT_TRUE(same);
}

// Fading means do not gather rounding: after millions of values the estimates
// are those of a detector that saw the last of them only.
TEST(SeriesDetectorTest, IsStableOverLongRuns) {
  Feed old, young;
  Random random;
  for (int i = 0; i < 3000000; ++i) old.detector.Observe(0, 1e6 + random.Normal());
  Random tail(7);
  for (int i = 0; i < 60000; ++i) {
    const double value = 1e6 + tail.Normal();
    old.detector.Observe(0, value);
    young.detector.Observe(0, value);
  }
  EXPECT_GE(old.Push(1e6 + 50), 0.5);
  EXPECT_GE(young.Push(1e6 + 50), 0.5);
  EXPECT_NEAR(old.detector.evidence(), young.detector.evidence(), 1e-3 * young.detector.evidence());
}

TEST(SeasonalBaselineTest, ComparesWithEarlierVisitsOnly) {
  SeasonalBaseline season(24, 0.5);
  double usual = -1;
  const int64_t hour = 3600 * kSecond;
  season.Learn(0, 10);
  season.Learn(1, 20);
  EXPECT_FALSE(season.Usual(2, &usual));
  season.Learn(hour, 99);
  EXPECT_TRUE(season.Usual(24 * hour, &usual));
  EXPECT_DOUBLE_EQ(usual, 15);
  EXPECT_TRUE(season.Usual(-24 * hour + 5, &usual));
  EXPECT_FALSE(season.Usual(-1, &usual));  // the hour before midnight
  // Half of the profile is the last visit once there were two.
  for (int day = 1; day < 4; ++day) {
    season.Learn(24 * day * hour, 31);
    season.Learn((24 * day + 1) * hour, 99);
  }
  EXPECT_TRUE(season.Usual(0, &usual));
  EXPECT_DOUBLE_EQ(usual, 29);
}

TEST(WindowNoveltyTest, IsZeroForAShapeSeenBeforeAndTheDistanceOtherwise) {
  WindowNovelty novelty;
  double last = -1;
  for (int i = 0; i < 15; ++i) EXPECT_EQ(novelty.Learn(i % 4), -1) << i;
  for (int i = 15; i < 200; ++i) EXPECT_EQ(last = novelty.Learn(i % 4), 0) << i;
  // One of eight values is off by four: the root of 16 / 8.
  EXPECT_NEAR(novelty.Learn(4), std::sqrt(2.0), 1e-12);
}

}  // namespace
}  // namespace heal
