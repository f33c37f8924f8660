// Baselines and anomalies of the metrics.

#include "detect/metric_bank.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace heal {
namespace {

constexpr hc_metric_id kGauge = HC_M_LONGEST_QUERY;      // bad: up
constexpr hc_metric_id kCounter = HC_M_XACT_COMMIT;      // bad: down
constexpr hc_metric_id kRisingCounter = HC_M_WAL_BYTES;  // bad: up

class MetricBankTest : public ::testing::Test {
 protected:
  MetricBankTest() : metrics_(HC_METRIC_COUNT, std::nan("")) {
    settings_.confirm_samples = 2;
    settings_.anomaly_threshold = 3.0;
    settings_.window_size = 1000;
    settings_.iqr_multiplier = 1.5;
    settings_.min_confidence = 0.7;
    settings_.auto_baseline = 1;
    settings_.min_baseline_samples = 30;
  }

  // One sample of one metric, ten seconds after the one before.
  std::vector<Anomaly> Sample(hc_metric_id metric, double value) {
    metrics_[metric] = value;
    mono_ += 10000000;
    return Look(1);
  }
  std::vector<Anomaly> Look(int full_tick) {
    hc_observation observation{};
    observation.now_us = mono_ + 700000000000000;
    observation.mono_us = mono_;
    observation.full_tick = full_tick;
    observation.settings = &settings_;
    observation.metrics = metrics_.data();
    std::vector<Anomaly> found;
    bank_.Observe(observation, &found);
    return found;
  }
  // About normal around a level: the sum of four uniform values.
  double Noise(double level, double deviation) {
    double sum = 0;
    for (int i = 0; i < 4; ++i) {
      state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
      sum += static_cast<double>(state_ >> 11) / 9007199254740992.0 - 0.5;
    }
    return level + deviation * sum / 0.5774;
  }
  void Learn(hc_metric_id metric, double level, double deviation, int n = 200) {
    for (int i = 0; i < n; ++i) {
      for (const Anomaly& anomaly : Sample(metric, Noise(level, deviation))) {
        ADD_FAILURE() << anomaly.score << " at sample " << i;
      }
    }
  }
  // Advances a counter at a rate per second.
  std::vector<Anomaly> Count(hc_metric_id metric, double rate) {
    const double last = std::isfinite(metrics_[metric]) ? metrics_[metric] : 0;
    return Sample(metric, last + 10 * rate);
  }

  hc_settings settings_{};
  MetricBank bank_;
  std::vector<double> metrics_;
  int64_t mono_ = 1000000;
  uint64_t state_ = 42;
};

TEST_F(MetricBankTest, NothingIsJudgedBeforeTheBaseline) {
  for (int i = 0; i < 29; ++i) Sample(kGauge, 100 + i % 3);
  EXPECT_TRUE(std::isnan(bank_.Status()[kGauge].baseline_mean));
  EXPECT_TRUE(std::isnan(bank_.Status()[kGauge].zscore));
  EXPECT_TRUE(Sample(kGauge, 1e6).empty());
  EXPECT_EQ(bank_.Status()[kGauge].samples, 30);
  EXPECT_FALSE(std::isnan(bank_.Status()[kGauge].baseline_mean));
}

TEST_F(MetricBankTest, StatusShowsTheBaseline) {
  Learn(kGauge, 100, 5, 500);
  const hc_metric_status& status = bank_.Status()[kGauge];
  EXPECT_NEAR(status.baseline_mean, 100, 1);
  EXPECT_NEAR(status.baseline_stddev, 5, 1);
  EXPECT_LT(status.iqr_low, 90);
  EXPECT_GT(status.iqr_high, 110);
  EXPECT_EQ(status.value, metrics_[kGauge]);
  EXPECT_TRUE(std::isnan(bank_.Status()[HC_M_DEADLOCKS].value));
}

TEST_F(MetricBankTest, OneBurstIsOneAnomaly) {
  Learn(kGauge, 100, 5);
  EXPECT_TRUE(Sample(kGauge, 150).empty()) << "not confirmed yet";
  const std::vector<Anomaly> found = Sample(kGauge, 150);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].metric, kGauge);
  EXPECT_STREQ(found[0].def->name, "longest_query");
  EXPECT_STREQ(found[0].shape, "level_shift");
  EXPECT_STREQ(found[0].direction, "up");
  EXPECT_GT(found[0].score, 8);
  EXPECT_GE(found[0].confidence, 0.7);
  EXPECT_LE(found[0].confidence, 1.0);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Sample(kGauge, 150).empty());
  // Calm again: the next burst is a new one.
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(Sample(kGauge, 100).empty());
  Sample(kGauge, 150);
  EXPECT_EQ(Sample(kGauge, 150).size(), 1u);
}

TEST_F(MetricBankTest, HysteresisKeepsTheBurstTogether) {
  Learn(kGauge, 100, 5);
  Sample(kGauge, 150);
  ASSERT_EQ(Sample(kGauge, 150).size(), 1u);
  // Two deviations: not abnormal, not calm.
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(Sample(kGauge, 111).empty());
  Sample(kGauge, 150);
  EXPECT_TRUE(Sample(kGauge, 150).empty());
}

TEST_F(MetricBankTest, SingleSpikeNeedsConfirmation) {
  Learn(kGauge, 100, 5);
  EXPECT_TRUE(Sample(kGauge, 500).empty());
  EXPECT_TRUE(Sample(kGauge, 100).empty());
  EXPECT_TRUE(Sample(kGauge, 500).empty());
  EXPECT_TRUE(Sample(kGauge, 100).empty());
  settings_.confirm_samples = 1;
  const std::vector<Anomaly> found = Sample(kGauge, 500);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_STREQ(found[0].shape, "spike");
}

TEST_F(MetricBankTest, GoodDirectionIsNoAnomaly) {
  Learn(kGauge, 100, 5);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(Sample(kGauge, 1).empty());
  Learn(HC_M_SESSIONS_IDLE, 100, 5);  // bad: none
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(Sample(HC_M_SESSIONS_IDLE, 900).empty());
  }
}

TEST_F(MetricBankTest, CountersBecomeRates) {
  for (int i = 0; i < 40; ++i) EXPECT_TRUE(Count(kCounter, 50).empty());
  EXPECT_DOUBLE_EQ(bank_.Status()[kCounter].value, 50);
  EXPECT_DOUBLE_EQ(bank_.Status()[kCounter].baseline_mean, 50);
  EXPECT_EQ(bank_.Status()[kCounter].samples, 39) << "the first has no rate";
}

TEST_F(MetricBankTest, StandstillIsAVoid) {
  for (int i = 0; i < 100; ++i) Count(kCounter, Noise(1000, 50));
  Count(kCounter, 0);
  const std::vector<Anomaly> found = Count(kCounter, 0);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_STREQ(found[0].shape, "void");
  EXPECT_STREQ(found[0].direction, "down");
}

TEST_F(MetricBankTest, StatisticsResetIsNoAnomaly) {
  settings_.confirm_samples = 1;
  for (int i = 0; i < 100; ++i) Count(kCounter, Noise(1000, 50));
  EXPECT_TRUE(Sample(kCounter, 3).empty());
  EXPECT_TRUE(std::isnan(bank_.Status()[kCounter].value));
  EXPECT_TRUE(Count(kCounter, 1000).empty());
  EXPECT_NEAR(bank_.Status()[kCounter].value, 1000, 1e-6);
}

TEST_F(MetricBankTest, RateUsesTheMonotonicClock) {
  settings_.confirm_samples = 1;
  for (int i = 0; i < 100; ++i) Count(kRisingCounter, Noise(1e6, 5e4));
  // A tick that comes late has counted for longer.
  metrics_[kRisingCounter] += 60 * 1e6;
  mono_ += 60000000;
  EXPECT_TRUE(Look(1).empty());
  EXPECT_NEAR(bank_.Status()[kRisingCounter].value, 1e6, 1);
  // A tick without time has no rate.
  metrics_[kRisingCounter] += 1e9;
  EXPECT_TRUE(Look(1).empty());
  EXPECT_TRUE(std::isnan(bank_.Status()[kRisingCounter].value));
}

TEST_F(MetricBankTest, UnknownValuesChangeNothing) {
  Learn(kGauge, 100, 5);
  const hc_metric_status before = bank_.Status()[kGauge];
  EXPECT_TRUE(Sample(kGauge, std::nan("")).empty());
  EXPECT_TRUE(Sample(kGauge, HUGE_VAL).empty());
  EXPECT_TRUE(std::isnan(bank_.Status()[kGauge].value));
  EXPECT_EQ(bank_.Status()[kGauge].samples, before.samples);
  EXPECT_EQ(bank_.Status()[kGauge].baseline_mean, before.baseline_mean);
  // A gap inside a burst does not break it.
  Sample(kGauge, 150);
  Sample(kGauge, std::nan(""));
  EXPECT_EQ(Sample(kGauge, 150).size(), 1u);
}

TEST_F(MetricBankTest, OnlyFullTicksCount) {
  Learn(kGauge, 100, 5);
  const int64_t samples = bank_.Status()[kGauge].samples;
  metrics_[kGauge] = 900;
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(Look(0).empty());
  EXPECT_EQ(bank_.Status()[kGauge].samples, samples);
}

TEST_F(MetricBankTest, AFaultIsNotLearntWhileFrozen) {
  Learn(kGauge, 100, 5);
  const double mean = bank_.Status()[kGauge].baseline_mean;
  bank_.Freeze(true);
  for (int i = 0; i < 500; ++i) Sample(kGauge, 300);
  EXPECT_EQ(bank_.Status()[kGauge].baseline_mean, mean);
  bank_.Freeze(false);
  for (int i = 0; i < 5; ++i) Sample(kGauge, 100);
  EXPECT_NEAR(bank_.Status()[kGauge].baseline_mean, mean, 1);
}

TEST_F(MetricBankTest, ABurstIsKeptOutOfTheBaselineAndALevelIsLearnt) {
  Learn(kGauge, 100, 5);
  const double mean = bank_.Status()[kGauge].baseline_mean;
  for (int i = 0; i < 30; ++i) Sample(kGauge, 300);
  // The first of them was learnt, as if it were a little further out than any before.
  EXPECT_NEAR(bank_.Status()[kGauge].baseline_mean, mean, 1);
  for (int i = 0; i < 1500; ++i) Sample(kGauge, Noise(300, 5));
  EXPECT_NEAR(bank_.Status()[kGauge].baseline_mean, 300, 5);
}

TEST_F(MetricBankTest, BaselineCanBeFixed) {
  settings_.auto_baseline = 0;
  Learn(kGauge, 100, 5, 30);
  const double mean = bank_.Status()[kGauge].baseline_mean;
  for (int i = 0; i < 50; ++i) Sample(kGauge, 105);
  EXPECT_EQ(bank_.Status()[kGauge].samples, 30);
  EXPECT_EQ(bank_.Status()[kGauge].baseline_mean, mean);
}

TEST_F(MetricBankTest, QuartilesSeeWhatOutliersHide) {
  // Rare huge values make the deviation useless, not the quartiles.
  settings_.confirm_samples = 3;
  for (int i = 0; i < 29; ++i) {
    Sample(kGauge, i % 10 == 0 ? 5000 : 100 + i % 7);
  }
  for (int i = 0; i < 300; ++i) Sample(kGauge, 100 + i % 7);
  Sample(kGauge, 300);
  Sample(kGauge, 300);
  const std::vector<Anomaly> found = Sample(kGauge, 300);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_STREQ(found[0].method, "iqr");
}

TEST_F(MetricBankTest, CreepingUpIsADrift) {
  Learn(kGauge, 100, 5, 900);
  std::vector<Anomaly> found;
  for (double value = 100; value < 130 && found.empty(); value += 1) {
    found = Sample(kGauge, value);
  }
  ASSERT_EQ(found.size(), 1u);
  EXPECT_STREQ(found[0].shape, "drift");
}

TEST_F(MetricBankTest, AlternatingHeightsAreASpike) {
  Learn(kGauge, 100, 5);
  Sample(kGauge, 900);
  const std::vector<Anomaly> found = Sample(kGauge, 130);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_STREQ(found[0].shape, "spike");
}

TEST_F(MetricBankTest, MeaninglessDifferencesOfAConstantAreNoAnomaly) {
  for (int i = 0; i < 100; ++i) Sample(HC_M_CONNECTIONS_USED, 0.2);
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(Sample(HC_M_CONNECTIONS_USED, 0.21).empty());
  }
  Sample(HC_M_CONNECTIONS_USED, 0.9);
  EXPECT_EQ(Sample(HC_M_CONNECTIONS_USED, 0.9).size(), 1u);
}

TEST_F(MetricBankTest, CalmSeriesStayCalm) {
  int anomalies = 0;
  for (int i = 0; i < 20000; ++i) {
    anomalies += static_cast<int>(Sample(kGauge, Noise(100, 5)).size());
  }
  EXPECT_LE(anomalies, 2);
}

TEST_F(MetricBankTest, ANewWindowStartsAfresh) {
  Learn(kGauge, 100, 5);
  settings_.window_size = 50;
  Sample(kGauge, 100);
  EXPECT_EQ(bank_.Status()[kGauge].samples, 1);
  EXPECT_TRUE(std::isnan(bank_.Status()[kGauge].baseline_mean));
  Learn(kGauge, 100, 5, 200);
  EXPECT_EQ(bank_.Status()[kGauge].samples, 50);
}

}  // namespace
}  // namespace heal
