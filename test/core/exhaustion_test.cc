// Times to a limit, and how often the interval holds the truth.

#include "predict/exhaustion.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <vector>

#include "generated_series.h"

namespace heal {
namespace {

using State = Exhaustion::State;

constexpr int64_t kStart = 1700000000000000;
constexpr int64_t kMinute = 60000000;

class ExhaustionTest : public testing::Test {
 protected:
  template <typename Signal>
  Exhaustion Predict(size_t n, double limit, Signal signal) {
    std::vector<TimedValue> values;
    for (size_t i = 0; i < n; ++i) {
      values.push_back({kStart + static_cast<int64_t>(i) * kMinute, signal(static_cast<double>(i))});
    }
    return TimeToLimit(fitter_->Fit(values, {}), limit, {});
  }

  std::unique_ptr<TrendFitter> fitter_ = std::make_unique<TrendFitter>();
};

TEST_F(ExhaustionTest, ALineReachesItsLimitOnTime) {
  const Exhaustion result = Predict(100, 200, [](double i) { return i; });
  ASSERT_EQ(result.state, State::kPredicted);
  EXPECT_NEAR(static_cast<double>(result.eta_us - kStart), 200.0 * kMinute, 0.01 * kMinute);
  EXPECT_LE(*result.eta_low_us, result.eta_us);
  EXPECT_GE(*result.eta_high_us, result.eta_us);
  EXPECT_GT(result.confidence, 0.99);
  EXPECT_NEAR(result.slope, 1.0 / 60, 1e-9);
}

TEST_F(ExhaustionTest, NothingFromTooFewSamples) {
  EXPECT_EQ(Predict(29, 100, [](double i) { return i; }).state, State::kNoTrend);
  EXPECT_EQ(Predict(30, 100, [](double i) { return i; }).state, State::kPredicted);
}

TEST_F(ExhaustionTest, NothingFromWhatDoesNotRise) {
  Random random(1);
  EXPECT_EQ(Predict(100, 200, [](double) { return 5.0; }).state, State::kFlat);
  EXPECT_EQ(Predict(100, 200, [](double i) { return 100 - i; }).state, State::kFlat);
  EXPECT_EQ(Predict(100, 200, [&](double i) { return 100 - i + random.Normal(); }).state, State::kFlat);
}

TEST_F(ExhaustionTest, SteadyNoiseSeldomPredictsAnything) {
  int predicted = 0;
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    Random random(seed);
    predicted += Predict(180, 105, [&](double) { return 100 + random.Normal(); }).state == State::kPredicted;
  }
  EXPECT_LE(predicted, 10);
}

TEST_F(ExhaustionTest, NothingBeyondTheHorizon) {
  EXPECT_EQ(Predict(101, 490, [](double i) { return i; }).state, State::kPredicted);
  const Exhaustion result = Predict(101, 510, [](double i) { return i; });
  EXPECT_EQ(result.state, State::kBeyond);
  EXPECT_EQ(result.horizon_us, kStart + 500 * kMinute);
  EXPECT_LT(result.confidence, 0.1);
}

TEST_F(ExhaustionTest, AtTheLimitItIsNow) {
  const Exhaustion result = Predict(100, 50, [](double i) { return i; });
  EXPECT_EQ(result.state, State::kReached);
  EXPECT_EQ(result.eta_us, kStart + 99 * kMinute);
}

TEST_F(ExhaustionTest, AnOpenEndIsAbsent) {
  int open = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Random random(seed);
    const Exhaustion result = Predict(60, 200, [&](double i) { return i + 18 * random.Normal(); });
    if (result.state != State::kPredicted || result.eta_high_us) continue;
    ++open;
    EXPECT_LT(result.confidence, 0.9 + 1e-9);
    EXPECT_GE(result.confidence, 0.5);
  }
  EXPECT_GT(open, 0);
}

TEST_F(ExhaustionTest, AnAcceleratingSeriesIsNotExtrapolatedAsALine) {
  Random random(2);
  const Exhaustion result = Predict(100, 400, [&](double i) { return 0.01 * i * i + 0.3 * random.Normal(); });
  ASSERT_EQ(result.state, State::kPredicted);
  EXPECT_NEAR(static_cast<double>(result.eta_us - kStart) / kMinute, 200, 8);
}

TEST_F(ExhaustionTest, ALimitThatIsNoNumberGivesNothing) {
  const auto line = [](double i) { return i; };
  EXPECT_EQ(Predict(100, std::numeric_limits<double>::quiet_NaN(), line).state, State::kNoTrend);
  EXPECT_EQ(Predict(100, std::numeric_limits<double>::infinity(), line).state, State::kNoTrend);
  EXPECT_EQ(Predict(100, 1e300, line).state, State::kBeyond);
}

TEST_F(ExhaustionTest, AMovedLimitMovesTheTime) {
  const auto line = [](double i) { return i; };
  EXPECT_GT(Predict(100, 300, line).eta_us, Predict(100, 200, line).eta_us + 99 * kMinute);
}

// For each kind of series: how often the 80 % interval holds the time at which
// the signal without noise reaches the limit.
TEST_F(ExhaustionTest, TheIntervalKeepsItsRate) {
  constexpr int kRounds = 1000;
  std::printf("%-22s %8s %8s %8s %8s %8s %8s\n", "kind", "given %", "cover %", "early %", "late %", "open %",
              "width");
  for (size_t kind = 0; kind < static_cast<size_t>(Kind::kCount); ++kind) {
    int given = 0;
    int before = 0;
    int after = 0;
    int open = 0;
    std::vector<double> widths;
    for (uint64_t seed = 0; seed < kRounds; ++seed) {
      const GeneratedSeries series = SeriesGenerator(static_cast<Kind>(kind), seed).Make();
      const Trend trend = fitter_->Fit(series.values, {});
      const Exhaustion result = TimeToLimit(trend, series.limit, {});
      if (result.state != State::kPredicted) continue;
      ++given;
      before += *result.eta_low_us > series.truth_us;
      after += result.eta_high_us && *result.eta_high_us < series.truth_us;
      open += !result.eta_high_us;
      if (!result.eta_high_us) continue;
      widths.push_back(static_cast<double>(*result.eta_high_us - *result.eta_low_us) /
                       static_cast<double>(series.truth_us - trend.to_us));
    }
    ASSERT_GT(given, kRounds * 7 / 10) << KindName(static_cast<Kind>(kind));
    std::nth_element(widths.begin(), widths.begin() + static_cast<std::ptrdiff_t>(widths.size() / 2),
                     widths.end());
    const double percent = 100.0 / given;
    const double cover = 100 - percent * (before + after);
    // "early": the truth lies before the interval.
    std::printf("%-22s %8.1f %8.1f %8.1f %8.1f %8.1f %8.3f\n", KindName(static_cast<Kind>(kind)),
                100.0 * given / kRounds, cover, percent * before, percent * after, percent * open,
                widths[widths.size() / 2]);
    EXPECT_GE(cover, 75) << KindName(static_cast<Kind>(kind));
    EXPECT_LE(cover, 90) << KindName(static_cast<Kind>(kind));
  }
}

}  // namespace
}  // namespace heal
