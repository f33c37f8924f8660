// Slopes, cycles, curves and cleanups of series that are known.

#include "predict/trend.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "generated_series.h"
#include "predict/quantiles.h"

namespace heal {
namespace {

constexpr int64_t kStart = 1700000000000000;
constexpr int64_t kMinute = 60000000;

template <typename Signal>
std::vector<TimedValue> Sampled(size_t n, int64_t step_us, Signal signal) {
  std::vector<TimedValue> values;
  for (size_t i = 0; i < n; ++i) {
    values.push_back({kStart + static_cast<int64_t>(i) * step_us, signal(static_cast<double>(i))});
  }
  return values;
}

class TrendTest : public testing::Test {
 protected:
  Trend Fit(const std::vector<TimedValue>& values) { return fitter_->Fit(values, options_); }

  TrendOptions options_;
  std::unique_ptr<TrendFitter> fitter_ = std::make_unique<TrendFitter>();
};

TEST(Quantiles, AgreeWithTables) {
  EXPECT_NEAR(NormalCdf(1.2816), 0.9, 1e-5);
  EXPECT_NEAR(NormalQuantile(0.9), 1.2816, 1e-3);
  EXPECT_NEAR(NormalQuantile(0.1), -1.2816, 1e-3);
  EXPECT_NEAR(StudentOfNormal(NormalQuantile(0.9), 5), 1.476, 0.01);
  EXPECT_NEAR(StudentOfNormal(NormalQuantile(0.9), 30), 1.310, 0.002);
  EXPECT_NEAR(NormalOfStudent(StudentOfNormal(-2, 7), 7), -2, 1e-9);
}

TEST_F(TrendTest, ALineIsExact) {
  const Trend trend = Fit(Sampled(100, kMinute, [](double i) { return 5 + 3 * i; }));
  ASSERT_EQ(trend.state, Trend::State::kValid);
  EXPECT_NEAR(trend.slope, 3.0 / 60, 1e-9);
  EXPECT_NEAR(trend.theil_sen, 3.0 / 60, 1e-9);
  EXPECT_NEAR(trend.level, 5 + 3 * 99, 1e-6);
  EXPECT_FALSE(trend.accelerating);
  EXPECT_GT(trend.rising, 0.999);
}

TEST_F(TrendTest, ManySamplesAreThinned) {
  const Trend trend = Fit(Sampled(10000, kMinute, [](double i) { return 3 * i; }));
  EXPECT_EQ(trend.samples, 10000u);
  EXPECT_NEAR(trend.slope, 3.0 / 60, 1e-9);
  EXPECT_NEAR(trend.level, 3 * 9999, 1);
}

TEST_F(TrendTest, FewerThanTheNeededSamplesGiveNothing) {
  auto values = Sampled(29, kMinute, [](double i) { return i; });
  EXPECT_EQ(Fit(values).state, Trend::State::kTooFewSamples);
  for (int i = 0; i < 10; ++i) {
    values.push_back({values.back().time_us + kMinute, std::numeric_limits<double>::quiet_NaN()});
  }
  EXPECT_EQ(Fit(values).state, Trend::State::kTooFewSamples);
  values.push_back({values.back().time_us + kMinute, 39});
  EXPECT_EQ(Fit(values).state, Trend::State::kValid);
  EXPECT_EQ(Fit({}).state, Trend::State::kTooFewSamples);
}

TEST_F(TrendTest, AConstantDoesNotRise) {
  for (const double value : {0.0, -7.0, 1e12, 1e-300, 5e-324}) {
    const Trend trend = Fit(Sampled(100, kMinute, [=](double) { return value; }));
    EXPECT_NEAR(trend.slope, 0, 1e-12 * std::fabs(value)) << value;
    EXPECT_LE(trend.rising, 0.95) << value;
    EXPECT_EQ(trend.resets, 0u) << value;
  }
}

TEST_F(TrendTest, OutliersDoNotMoveTheSlope) {
  Random random(1);
  const auto clean = Sampled(150, kMinute, [&](double i) { return i + random.Normal(); });
  auto spoilt = clean;
  for (size_t i = 0; i < spoilt.size(); i += 10) spoilt[i].value += 1e6;
  const Trend trend = Fit(spoilt);
  EXPECT_NEAR(trend.slope, 1.0 / 60, 0.0005);
  EXPECT_NEAR(trend.level, 149, 1);
}

TEST_F(TrendTest, HostileNumbersAndTimesAreLeftOut) {
  const double inf = std::numeric_limits<double>::infinity();
  auto values = Sampled(120, kMinute, [](double i) { return 2 * i; });
  for (size_t i = 7; i < values.size(); i += 10) values[i].value = i % 20 == 7 ? inf : -inf;
  for (size_t i = 5; i < values.size(); i += 10) values[i].time_us -= 100 * kMinute;
  for (size_t i = 3; i < values.size(); i += 10) values[i].value = 1e308;
  const Trend trend = Fit(values);
  ASSERT_EQ(trend.state, Trend::State::kValid);
  EXPECT_EQ(trend.samples, 84u);
  EXPECT_NEAR(trend.slope, 2.0 / 60, 1e-6);
}

TEST_F(TrendTest, AnyNumbersAreSurvived) {
  Random random(3);
  for (int round = 0; round < 2000; ++round) {
    std::vector<TimedValue> values;
    const size_t n = static_cast<size_t>(random.Between(0, 400));
    for (size_t i = 0; i < n; ++i) {
      const double size = std::pow(10, random.Between(-320, 308));
      values.push_back({static_cast<int64_t>(random.Between(-9e18, 9e18)), size * random.Between(-1, 1)});
      if (round % 2 == 0) values.back().time_us = static_cast<int64_t>(i) * (1 + round);
    }
    const Trend trend = Fit(values);
    if (trend.state != Trend::State::kValid) continue;
    ASSERT_TRUE(std::isfinite(trend.level)) << round;
    ASSERT_TRUE(std::isfinite(trend.slope)) << round;
  }
}

TEST_F(TrendTest, TheIntervalOfTheSlopeKeepsItsRateUnderCorrelatedNoise) {
  for (const double phi : {0.0, 0.5, 0.8}) {
    int inside = 0;
    constexpr int kRounds = 1000;
    for (int round = 0; round < kRounds; ++round) {
      Random random(static_cast<uint64_t>(round) + 77);
      double noise = random.Normal();
      const Trend trend = Fit(Sampled(150, kMinute, [&](double i) {
        noise = phi * noise + std::sqrt(1 - phi * phi) * random.Normal();
        return 0.05 * i + noise;
      }));
      if (trend.slope_low <= 0.05 / 60 && 0.05 / 60 <= trend.slope_high) ++inside;
    }
    EXPECT_GT(inside, 0.75 * kRounds) << "phi " << phi;
    EXPECT_LT(inside, 0.9 * kRounds) << "phi " << phi;
  }
}

TEST_F(TrendTest, ACurveIsSeenOnlyWhereThereIsOne) {
  int curves = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Random random(seed);
    curves += Fit(Sampled(150, kMinute, [&](double i) { return i + 5 * random.Normal(); })).accelerating;
    Random other(seed);
    EXPECT_TRUE(
        Fit(Sampled(150, kMinute, [&](double i) { return 0.01 * i * i + other.Normal(); })).accelerating);
  }
  EXPECT_LT(curves, 20);
}

TEST_F(TrendTest, ADailyCycleNeedsTwoDaysAndExplainsVariance) {
  const auto day = [](double i) { return 10 * std::sin(i * 3.14159265 / 24) + 0.05 * i; };
  Random random(5);
  const auto with_noise = [&](double i) { return day(i) + random.Normal(); };
  const Trend five = Fit(Sampled(240, 30 * kMinute, with_noise));
  EXPECT_TRUE(five.cyclic);
  EXPECT_NEAR(five.slope, 0.05 / 1800, 0.006 / 1800);
  EXPECT_NEAR(five.noise, 1, 0.3);
  EXPECT_FALSE(Fit(Sampled(90, 30 * kMinute, with_noise)).cyclic);
  EXPECT_FALSE(Fit(Sampled(240, 30 * kMinute, [&](double i) { return 0.05 * i + random.Normal(); })).cyclic);
}

TEST_F(TrendTest, AfterACleanupOnlyWhatCameLaterCounts) {
  Random random(6);
  const Trend trend = Fit(Sampled(
      150, kMinute, [&](double i) { return (i < 80 ? 100 + 4 * i : 2 * (i - 80)) + 0.5 * random.Normal(); }));
  EXPECT_EQ(trend.resets, 1u);
  EXPECT_NEAR(trend.slope, 2.0 / 60, 0.02 / 60);
  EXPECT_NEAR(trend.level, 2 * 69, 1);
}

TEST_F(TrendTest, SoonAfterACleanupNothingIsKnown) {
  Random random(6);
  const auto values =
      Sampled(180, kMinute, [&](double i) { return 2 * i - (i < 140 ? 0 : 250) + 0.5 * random.Normal(); });
  const auto until = [&](size_t n) {
    return std::vector<TimedValue>(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(n));
  };
  EXPECT_EQ(Fit(until(165)).state, Trend::State::kTooFewSamples);
  EXPECT_EQ(Fit(until(175)).state, Trend::State::kValid);
}

TEST_F(TrendTest, RegularCleanupsLeaveTheNetSlope) {
  const Trend trend = Fit(Sampled(150, kMinute, [](double i) { return 2 * i - 30 * std::floor(i / 20); }));
  EXPECT_GE(trend.resets, 6u);
  EXPECT_NEAR(trend.drop_every, 20.0 * kMinute, 0.2 * kMinute);
  EXPECT_NEAR(trend.slope, 0.5 / 60, 0.02 / 60);
}

TEST_F(TrendTest, NoiseIsNoCleanup) {
  int resets = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Random random(seed);
    resets += Fit(Sampled(180, kMinute, [&](double i) { return 0.01 * i + random.Normal(); })).resets > 0;
  }
  EXPECT_LE(resets, 3);
}

TEST_F(TrendTest, StepsStandForTheSignalBehindThem) {
  const Trend trend = Fit(Sampled(180, kMinute, [](double i) { return std::floor(0.113 * i); }));
  EXPECT_NEAR(trend.slope, 0.113 / 60, 0.0005 / 60);
  EXPECT_NEAR(trend.level, 0.113 * 179, 0.06);
}

TEST_F(TrendTest, StepsThatCeasedAreNotContinued) {
  const Trend trend = Fit(Sampled(180, kMinute, [](double i) { return i < 42 ? i : 10.0; }));
  EXPECT_LE(trend.rising, 0.95);
  EXPECT_NEAR(trend.level, 10.5, 1e-6);  // the middle of a step
}

}  // namespace
}  // namespace heal
