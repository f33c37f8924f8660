// Predictions of what runs out: opened, graded, withdrawn.

#include "predict/forecaster.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "counting_allocator.h"
#include "generated_series.h"

namespace heal {
namespace {

constexpr int64_t kStart = 1700000000000000;
constexpr int64_t kSecond = 1000000;

class ForecasterTest : public testing::Test {
 protected:
  // One value per second (or per step_) for n ticks; gathers what comes back.
  template <typename Signal>
  void Run(int n, double limit, Signal signal) {
    for (int i = 0; i < n; ++i) {
      const ResourceSample sample{Resource::kDisk, "data", signal(static_cast<double>(tick_++)), limit};
      for (const Prediction& event : forecaster_.Observe(now_, {&sample, 1})) events_.push_back(event);
      now_ += step_;
    }
  }

  std::vector<PredictionOutcome> Outcomes() const {
    std::vector<PredictionOutcome> outcomes;
    for (const Prediction& event : events_) outcomes.push_back(event.outcome);
    return outcomes;
  }

  Forecaster forecaster_;
  std::vector<Prediction> events_;
  int64_t now_ = kStart;
  int64_t step_ = kSecond;
  int tick_ = 0;
};

using enum PredictionOutcome;

TEST_F(ForecasterTest, KnowsItsResources) {
  ASSERT_EQ(Resources().size(), static_cast<size_t>(Resource::kCount));
  for (size_t i = 0; i < Resources().size(); ++i) {
    EXPECT_EQ(static_cast<size_t>(Resources()[i].resource), i);
    EXPECT_NE(std::string(Resources()[i].failure_type), "");
  }
}

TEST_F(ForecasterTest, AFillingDiskIsPredictedOnceAndGradedAHit) {
  Random random(1);
  Run(320, 300, [&](double i) { return i + 2 * random.Normal(); });
  ASSERT_EQ(events_.size(), 2u);
  EXPECT_EQ(events_[0].outcome, kOpen);
  EXPECT_LT(events_[0].predicted_at, kStart + 150 * kSecond);
  EXPECT_STREQ(events_[0].subject.data(), "data");
  EXPECT_LE(events_[0].eta_low, events_[0].eta);
  EXPECT_TRUE(events_[0].eta_high == 0 || events_[0].eta <= events_[0].eta_high);
  EXPECT_EQ(events_[1].id, events_[0].id);
  EXPECT_NE(events_[1].outcome, kMiss);
  EXPECT_NE(events_[1].outcome, kWithdrawn);
  EXPECT_NEAR(static_cast<double>(events_[0].eta - kStart), 300.0 * kSecond, 20.0 * kSecond);
}

// The first value at the limit comes earlier than the signal, by noise: the
// grade is that of what the server saw.
TEST_F(ForecasterTest, MostPredictionsAreHits) {
  int hits = 0;
  int graded = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Random random(seed);
    Forecaster forecaster;
    int64_t now = kStart;
    double noise = 0;
    for (int i = 0; i < 700; ++i, now += kSecond) {
      noise = 0.9 * noise + random.Normal();
      const ResourceSample sample{Resource::kDisk, "", 10.0 * i + noise, 5000};
      forecaster.Observe(now, {&sample, 1});
    }
    const Forecaster::Counts& counts = forecaster.Grades(Resource::kDisk);
    hits += static_cast<int>(counts[1]);
    graded += static_cast<int>(counts[1] + counts[2] + counts[3] + counts[4]);
  }
  EXPECT_GE(graded, 58);
  EXPECT_GT(hits, graded * 6 / 10) << graded;
  std::printf("%d hits of %d graded\n", hits, graded);
}

// What the forecaster opens, over whole lives of a series: one value a second
// until the limit is reached. A prediction is opened early in such a life, from
// little history; the grade is that of what the server saw.
TEST_F(ForecasterTest, GradesByKindOfSeries) {
  struct Life {
    const char* kind;
    double (*signal)(double t, double start);  // 1 at the limit
    double noise;
    double phi;
  };
  // start: when the rise begins, 20 to 200 s; it takes 300 s.
  const auto line = [](double t, double) { return t / 300; };
  const auto begins = [](double t, double start) { return 0.1 + 0.9 * std::fmax(0.0, t - start) / 300; };
  const auto faster = [](double t, double) { return 0.3 * t / 300 + 0.7 * t * t / 90000; };
  const auto steps = [](double t, double) { return std::floor(t / 6) / 50; };
  const auto resets = [](double t, double start) { return (t < start ? t : t - 0.5 * start) / 300; };
  const Life lives[] = {{"line, no noise", line, 0, 0},     {"line, noise 1 %", line, 0.01, 0},
                        {"line, noise 5 %", line, 0.05, 0}, {"line, AR(1) noise", line, 0.02, 0.8},
                        {"begins to rise", begins, 0, 0},   {"begins, noise 1 %", begins, 0.01, 0},
                        {"accelerating", faster, 0.005, 0}, {"integer steps", steps, 0, 0},
                        {"a cleanup", resets, 0.003, 0}};
  std::printf("%-20s %8s %8s %8s %8s %8s %9s %10s\n", "kind", "given %", "hit %", "early %", "late %", "miss %",
              "withdrawn", "lead s");
  for (const Life& life : lives) {
    int counts[6] = {};
    int given = 0;
    double lead = 0;
    constexpr int kRounds = 100;
    for (uint64_t seed = 0; seed < kRounds; ++seed) {
      Random random(seed * 77 + 5);
      const double start = random.Between(20, 200);
      ForecasterOptions options;
      options.forecasts_per_tick = 1;
      options.forecast_gap_us = 2900000;
      Forecaster forecaster(options);
      double noise = 0;
      uint64_t first = 0;
      int64_t predicted_at = 0;
      for (int i = 0; i < 1500; ++i) {
        noise = life.phi * noise + life.noise * std::sqrt(1 - life.phi * life.phi) * random.Normal();
        const double value = life.signal(i, start) + noise;
        const ResourceSample sample{Resource::kDisk, "", std::fmin(value, 1), 1};
        for (const Prediction& event : forecaster.Observe(kStart + i * kSecond, {&sample, 1})) {
          if (first == 0) first = event.id, predicted_at = event.predicted_at, ++given;
          if (event.id != first || event.outcome == kOpen) continue;
          ++counts[static_cast<size_t>(event.outcome)];
          lead += static_cast<double>(event.graded_at - predicted_at) / 1e6;
        }
        if (value >= 1) break;
      }
    }
    const double percent = 100.0 / std::max(given, 1);
    std::printf("%-20s %8d %8.0f %8.0f %8.0f %8.0f %9.0f %10.0f\n", life.kind, given * 100 / kRounds,
                percent * counts[1], percent * counts[2], percent * counts[3], percent * counts[4],
                percent * counts[5], lead / std::max(given, 1));
    EXPECT_GE(given, kRounds * 8 / 10) << life.kind;
    // Those that were right until the cleanup are withdrawn; two points of a
    // series without noise are as good as a law.
    EXPECT_GE(counts[1] + counts[5], given * 3 / 4) << life.kind;
    EXPECT_LE(counts[4], given / 20) << life.kind;
  }
}

TEST_F(ForecasterTest, NothingFromFewSamplesOrNoRise) {
  Run(29, 300, [](double i) { return 5 * i; });
  EXPECT_EQ(forecaster_.Latest(Resource::kDisk, "data")->state, Exhaustion::State::kNoTrend);
  EXPECT_TRUE(events_.empty());
  Forecaster quiet;
  Random random(4);
  int64_t now = kStart;
  for (int i = 0; i < 5000; ++i, now += kSecond) {
    const ResourceSample samples[] = {{Resource::kDisk, "constant", 50, 100},
                                      {Resource::kDisk, "noise", 50 + 5 * random.Normal(), 100},
                                      {Resource::kDisk, "falling", 90 - i * 1e-3, 100}};
    EXPECT_TRUE(quiet.Observe(now, samples).empty()) << i;
  }
}

TEST_F(ForecasterTest, AGrowthThatEndsIsAMiss) {
  Run(400, 500, [](double i) { return std::fmin(i, 150.0); });
  Run(3000, 500, [](double) { return 150.0; });
  EXPECT_EQ(Outcomes(), (std::vector<PredictionOutcome>{kOpen, kMiss}));
  EXPECT_EQ(forecaster_.Grades(Resource::kDisk)[static_cast<size_t>(kMiss)], 1u);
  EXPECT_EQ(forecaster_.HitRate(Resource::kDisk, 0.5), 0);
}

TEST_F(ForecasterTest, ASuddenEndIsEarly) {
  Run(200, 600, [](double i) { return i; });
  Run(1, 600, [](double) { return 600.0; });
  EXPECT_EQ(Outcomes(), (std::vector<PredictionOutcome>{kOpen, kEarly}));
}

TEST_F(ForecasterTest, ASlowedGrowthIsLate) {
  Run(200, 400, [](double i) { return i; });
  Run(350, 400, [](double i) { return 200 + 0.667 * (i - 200); });
  EXPECT_EQ(Outcomes(), (std::vector<PredictionOutcome>{kOpen, kLate}));
}

TEST_F(ForecasterTest, ACleanupWithdraws) {
  Run(200, 600, [](double i) { return i; });
  ASSERT_NE(forecaster_.Open(Resource::kDisk, "data"), nullptr);
  Run(200, 600, [](double) { return 10.0; });
  EXPECT_EQ(Outcomes(), (std::vector<PredictionOutcome>{kOpen, kWithdrawn}));
  EXPECT_EQ(forecaster_.HitRate(Resource::kDisk, 0.5), 0.5);
}

TEST_F(ForecasterTest, AMovedLimitWithdrawsAndPredictsAnew) {
  Run(200, 500, [](double i) { return i; });
  Run(100, 900, [](double i) { return i; });
  EXPECT_EQ(Outcomes(), (std::vector<PredictionOutcome>{kOpen, kWithdrawn, kOpen}));
  EXPECT_NEAR(static_cast<double>(events_[2].eta - kStart), 900.0 * kSecond, 10.0 * kSecond);
}

TEST_F(ForecasterTest, TheCallerWithdraws) {
  Run(200, 500, [](double i) { return i; });
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_TRUE(forecaster_.Withdraw(events_[0].id, now_));
  EXPECT_FALSE(forecaster_.Withdraw(events_[0].id, now_));
  EXPECT_FALSE(forecaster_.Withdraw(0, now_));
  EXPECT_EQ(forecaster_.Grades(Resource::kDisk)[static_cast<size_t>(kWithdrawn)], 1u);
}

// A load that comes every night is no runaway once days are known; the same
// rise at another hour is.
TEST_F(ForecasterTest, ADailyRiseIsNoAlarmOnceKnown) {
  step_ = 60 * kSecond;
  Random random(9);
  const auto day = [&](double i) { return 50 + 30 * std::sin(i * 6.283185307 / 1440) + random.Normal(); };
  Run(5 * 1440, 120, day);
  events_.clear();
  Run(2 * 1440, 120, day);
  EXPECT_TRUE(events_.empty());
  const double last = 50;
  int from = tick_;
  Run(110, 120, [&](double i) { return last + 0.62 * (i - from) + 0.1 * random.Normal(); });
  EXPECT_FALSE(events_.empty());
}

TEST_F(ForecasterTest, AClockThatGoesBackStartsAfresh) {
  Run(200, 500, [](double i) { return i; });
  now_ -= 3600 * kSecond;
  Run(1, 500, [](double i) { return i; });
  EXPECT_EQ(Outcomes(), (std::vector<PredictionOutcome>{kOpen, kWithdrawn}));
  Run(100, 500, [](double i) { return i; });
  EXPECT_EQ(events_.back().outcome, kOpen);
}

TEST_F(ForecasterTest, ASmallStepBackIsLeftOut) {
  Run(100, 500, [](double i) { return i; });
  now_ -= 5 * kSecond;
  tick_ -= 5;
  Run(100, 500, [](double i) { return i; });
  ASSERT_EQ(Outcomes(), (std::vector<PredictionOutcome>{kOpen}));
  EXPECT_NEAR(static_cast<double>(events_[0].eta - kStart), 500.0 * kSecond, 5.0 * kSecond);
}

TEST_F(ForecasterTest, HostileSamplesAreLeftOut) {
  const double inf = std::numeric_limits<double>::infinity();
  Random random(2);
  int64_t now = kStart;
  for (int i = 0; i < 5000; ++i) {
    const double value = std::pow(10, random.Between(-320, 308)) * random.Between(-1, 1);
    const ResourceSample samples[] = {{Resource::kDisk, "wild", value, value * 2},
                                      {Resource::kDisk, "nan", std::nan(""), 100},
                                      {Resource::kDisk, "limit", 1, inf},
                                      {static_cast<Resource>(200), "what", 1, 100}};
    forecaster_.Observe(now, samples);
    now += static_cast<int64_t>(random.Between(-2, 5) * 1e6);
  }
  EXPECT_EQ(forecaster_.subjects(), 1u);
  EXPECT_TRUE(forecaster_.Observe(std::numeric_limits<int64_t>::max(), {}).empty());
  EXPECT_TRUE(forecaster_.Observe(std::numeric_limits<int64_t>::min(), {}).empty());
}

TEST_F(ForecasterTest, SubjectsAreBoundedAndForgotten) {
  std::vector<std::string> names;
  for (int i = 0; i < 100; ++i) names.push_back("sequence " + std::to_string(i) + std::string(200, 'x'));
  std::vector<ResourceSample> samples;
  for (int i = 0; i < 100; ++i) samples.push_back({Resource::kSequence, std::to_string(i), 1, 100});
  for (int i = 0; i < 100; ++i) samples[static_cast<size_t>(i)].subject = names[static_cast<size_t>(i)];
  forecaster_.Observe(kStart, samples);
  EXPECT_EQ(forecaster_.subjects(), 64u);
  EXPECT_EQ(forecaster_.refused(), 36u);
  EXPECT_NE(forecaster_.Latest(Resource::kSequence, names[0]), nullptr);
  EXPECT_EQ(forecaster_.Latest(Resource::kSequence, names[99]), nullptr);
  EXPECT_EQ(forecaster_.Latest(Resource::kDisk, names[0]), nullptr);
  forecaster_.Observe(kStart + 3601 * kSecond, {});
  EXPECT_EQ(forecaster_.subjects(), 0u);
}

TEST_F(ForecasterTest, NothingIsAllocatedAfterTheConstructor) {
  Random random(8);
  std::vector<std::string> names;
  for (int i = 0; i < 64; ++i) names.push_back("subject " + std::to_string(i));
  std::vector<ResourceSample> samples(64);
  const uint64_t before = allocations;
  size_t events = 0;
  for (int tick = 0; tick < 800; ++tick) {
    for (size_t i = 0; i < samples.size(); ++i) {
      const double value = std::fmod(static_cast<double>(tick) * static_cast<double>(i + 1),
                                     5000.0 + 100 * static_cast<double>(i));
      samples[i] = {Resource::kSlotWal, names[i], value + random.Normal(), 4500};
    }
    events += forecaster_.Observe(kStart + tick * kSecond, samples).size();
  }
  EXPECT_EQ(allocations, before);
  EXPECT_GT(events, 10u);
}

}  // namespace
}  // namespace heal
