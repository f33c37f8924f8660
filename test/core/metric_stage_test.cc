// The statistical stage as a whole: every metric, users' metrics, frames; silence
// on healthy load and on hostile numbers, and what must be found all the same.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "counting_allocator.h"
#include "detect/metric_bank.h"
#include "detect/rarity.h"
#include "detect/usual_hours.h"
#include "engine.h"
#include "healthy_load.h"

namespace heal {
namespace {

constexpr int64_t kSecond = 1'000'000;
constexpr int64_t kMidnight = 1'700'006'400 * kSecond;
constexpr hc_metric_id kGauge = HC_M_HORIZON_AGE;  // bad: up
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

hc_settings Defaults() {
  hc_settings s{};
  s.confirm_samples = 2;
  s.anomaly_threshold = 3;
  s.window_size = 1000;
  s.iqr_multiplier = 1.5;
  s.min_confidence = 0.7;
  s.auto_baseline = 1;
  s.min_baseline_samples = 30;
  return s;
}

// A bank fed every ten seconds.
class Stage {
 public:
  Stage() : metrics(HC_METRIC_COUNT, kNaN) {}

  std::vector<Anomaly> Tick() {
    mono_us += 10 * kSecond;
    return Look();
  }
  std::vector<Anomaly> Look() {
    hc_observation o{};
    o.settings = &settings;
    o.full_tick = 1;
    o.mono_us = mono_us;
    o.now_us = kMidnight + mono_us + wall_jump_us;
    o.metrics = metrics.data();
    o.user_metrics = users.data();
    o.n_user_metrics = static_cast<uint32_t>(users.size());
    std::vector<Anomaly> found;
    bank.Observe(o, &found);
    raised += found.size();
    return found;
  }
  std::vector<Anomaly> Sample(hc_metric_id metric, double value) {
    metrics[metric] = value;
    return Tick();
  }
  // Samples until an anomaly of that metric, or -1.
  int Until(hc_metric_id metric, int samples, const std::function<double(int)>& value, Anomaly* anomaly = nullptr) {
    for (int i = 0; i < samples; ++i) {
      for (const Anomaly& found : Sample(metric, value(i))) {
        if (found.metric != metric) continue;
        if (anomaly != nullptr) *anomaly = found;
        return i;
      }
    }
    return -1;
  }
  hc_user_metric& AddUser(const char* name, int32_t bad = 1, int32_t counter = 0) {
    users.push_back({name, "shop", "performance", "orders", counter, bad, kNaN, 0});
    return users.back();
  }

  hc_settings settings = Defaults();
  MetricBank bank;
  std::vector<double> metrics;
  std::vector<hc_user_metric> users;
  int64_t mono_us = 0;
  int64_t wall_jump_us = 0;
  size_t raised = 0;
};

// ---- calibration ----

// P(score > 1 - p) is about p or less on stationary noise of any distribution.
TEST(AnomalyScoreTest, IsCalibrated) {
  LoadRandom random(5);
  double walk = 0;
  const std::pair<const char*, std::function<double()>> noises[] = {
      {"normal", [&] { return random.Normal(); }},
      {"uniform", [&] { return random.Uniform(); }},
      {"lognormal", [&] { return random.Lognormal(1.5); }},
      {"exponential", [&] { return random.Exponential(); }},
      {"pareto", [&] { return random.Pareto(1.5); }},
      {"cauchy", [&] { return std::tan(3.14159265358979 * (random.Uniform() - 0.5)); }},
      {"poisson", [&] { return random.Poisson(3) * 1e-6; }},
      {"rare events", [&] { return random.Poisson(0.02) * 1e-6; }},
      {"with a memory", [&] { return walk = 0.7 * walk + random.Normal(); }},
  };
  for (const auto& [name, noise] : noises) {
    Stage stage;
    for (int i = 0; i < 1200; ++i) stage.Sample(kGauge, 1e8 * noise());
    const int n = 40000;
    int over[3] = {0, 0, 0};
    const double tails[3] = {0.1, 0.01, 0.001};
    for (int i = 0; i < n; ++i) {
      stage.Sample(kGauge, 1e8 * noise());
      const double score = stage.bank.Status()[kGauge].anomaly_score;
      ASSERT_TRUE(score >= 0 && score <= 1) << name;
      for (int t = 0; t < 3; ++t) over[t] += score > 1 - tails[t] ? 1 : 0;
    }
    for (int t = 0; t < 3; ++t) {
      const double share = static_cast<double>(over[t]) / n;
      // Of the Cauchy distribution not even the tail has a mean.
      const double slack = std::string(name) == "cauchy" ? 2 : 1.2;
      EXPECT_LE(share, slack * tails[t] + 3 * std::sqrt(tails[t] / n)) << name << " at " << tails[t];
      std::printf("  %-14s P(score > 1 - %.3f) = %.5f\n", name, tails[t], share);
    }
  }
}

TEST(AnomalyScoreTest, SaysHowFarOut) {
  Stage stage;
  LoadRandom random(1);
  for (int i = 0; i < 1000; ++i) stage.Sample(kGauge, 1e6 + 1e4 * random.Normal());
  stage.Sample(kGauge, 1e6);
  EXPECT_LT(stage.bank.Status()[kGauge].anomaly_score, 0.2);
  stage.Sample(kGauge, 1e6 + 3e4);
  EXPECT_GT(stage.bank.Status()[kGauge].anomaly_score, 0.98);
  stage.Sample(kGauge, 1e6 - 8e4);
  EXPECT_GT(stage.bank.Status()[kGauge].anomaly_score, 0.9999);
}

// ---- what must be found ----

TEST(MetricStageTest, FindsSpikesShiftsAndDriftsInPlainNoise) {
  int spikes = 0, shifts = 0, drifts = 0;
  const int trials = 20;
  for (int t = 0; t < trials; ++t) {
    LoadRandom random(static_cast<uint64_t>(t + 1));
    const auto noise = [&] { return 1e9 + 1e8 * random.Normal(); };
    Stage stage;
    for (int i = 0; i < 1200; ++i) stage.Sample(kGauge, noise());
    ASSERT_LE(stage.raised, 1u);
    spikes += stage.Until(kGauge, 3, [&](int) { return noise() + 10e8; }) >= 0 ? 1 : 0;
    for (int i = 0; i < 300; ++i) stage.Sample(kGauge, noise());
    shifts += stage.Until(kGauge, 60, [&](int) { return noise() + 4e8; }) >= 0 ? 1 : 0;

    Stage creeping;
    for (int i = 0; i < 1200; ++i) creeping.Sample(kGauge, noise());
    drifts += creeping.Until(kGauge, 400, [&](int i) { return noise() + 6e8 * std::min(1.0, i / 300.0); }) >= 0 ? 1 : 0;
  }
  EXPECT_GE(spikes, trials - 1);
  EXPECT_GE(shifts, trials - 1);
  EXPECT_GE(drifts, trials - 2);
}

TEST(MetricStageTest, ASmallShiftIsSeenByTheSeriesAlone) {
  LoadRandom random(3);
  Stage stage;
  for (int i = 0; i < 1500; ++i) stage.Sample(kGauge, 1e9 + 1e8 * random.Normal());
  stage.raised = 0;
  const int64_t onset = kMidnight + stage.mono_us + 10 * kSecond;
  Anomaly anomaly;
  ASSERT_GE(stage.Until(kGauge, 100, [&](int) { return 1.22e9 + 1e8 * random.Normal(); }, &anomaly), 1);
  EXPECT_STREQ(anomaly.method, "series");
  EXPECT_STREQ(anomaly.direction, "up");
  EXPECT_GE(anomaly.onset_at, onset - 100 * kSecond);
  EXPECT_LE(anomaly.onset_at, anomaly.observed_at);
  // The good direction is none of our business.
  Stage falling;
  for (int i = 0; i < 1500; ++i) falling.Sample(kGauge, 1e9 + 1e8 * random.Normal());
  EXPECT_EQ(falling.Until(kGauge, 300, [&](int) { return 4e8 + 1e8 * random.Normal(); }), -1);
}

TEST(MetricStageTest, OnsetIsTheFirstOddSample) {
  LoadRandom random(4);
  Stage stage;
  for (int i = 0; i < 600; ++i) stage.Sample(kGauge, 1e9 + 1e8 * random.Normal());
  const int64_t onset = kMidnight + stage.mono_us + 10 * kSecond;
  Anomaly anomaly;
  ASSERT_EQ(stage.Until(kGauge, 3, [&](int) { return 3e9; }, &anomaly), 1);
  EXPECT_EQ(anomaly.onset_at, onset);
  EXPECT_EQ(anomaly.observed_at, onset + 10 * kSecond);
}

// Many metrics a little off at once: no one alone would do.
TEST(MetricStageTest, AFrameIsOddThoughNoMetricIs) {
  const hc_metric_id metrics[] = {HC_M_EXEC_LATENCY_MEAN, HC_M_EXEC_LATENCY_P99, HC_M_SESSIONS_ACTIVE,
                                  HC_M_LONGEST_QUERY,     HC_M_LOCK_WAITERS,     HC_M_LONGEST_LOCK_WAIT,
                                  HC_M_HORIZON_AGE,       HC_M_DEAD_TUPLES,      HC_M_REPLICATION_LAG,
                                  HC_M_LONGEST_TRANSACTION, HC_M_SESSIONS_IDLE_IN_TRANSACTION};
  LoadRandom random(6);
  Stage stage;
  const auto tick = [&](double off) {
    for (const hc_metric_id metric : metrics) stage.metrics[metric] = 1e9 + 1e8 * (off + random.Normal());
    return stage.Tick();
  };
  for (int i = 0; i < 2000; ++i) tick(0);
  EXPECT_GT(stage.bank.Status()[HC_M_HORIZON_AGE].forest_score, 0.3);
  EXPECT_TRUE(std::isnan(stage.bank.Status()[HC_M_DISK_FREE].forest_score)) << "resource has no values";
  stage.raised = 0;
  int forest = 0;
  for (int i = 0; i < 6; ++i) {
    for (const Anomaly& anomaly : tick(2.7)) {
      if (std::string(anomaly.method) != "forest") continue;
      ++forest;
      EXPECT_STREQ(anomaly.direction, "up");
      EXPECT_NE(anomaly.metric, HC_METRIC_COUNT);
    }
  }
  EXPECT_GE(forest, 1);
}

TEST(MetricStageTest, WhatTheLoadExplainsIsNoAnomaly) {
  LoadRandom random(8);
  const auto run = [&](double load, double wal) {
    Stage stage;
    double commits = 0, bytes = 0;
    size_t found = 0;
    for (int i = 0; i < 1300; ++i) {
      const bool later = i >= 1200;
      const double tps = 500 * (later ? load : 1) * random.Lognormal(0.05);
      commits += 10 * tps;
      bytes += 10 * tps * 3000 * random.Lognormal(0.05) * (later ? wal : 1);
      stage.metrics[HC_M_XACT_COMMIT] = commits;
      stage.metrics[HC_M_WAL_BYTES] = bytes;
      const size_t n = stage.Tick().size();
      if (later) found += n;
    }
    return found;
  };
  EXPECT_EQ(run(3, 1), 0u) << "three times the transactions";
  EXPECT_GE(run(1, 3), 1u) << "three times the WAL of the same transactions";
}

// ---- days ----

TEST(MetricStageTest, ANightlyBatchIsUsualFromTheThirdNightOn) {
  LoadRandom random(9);
  Stage stage;
  std::vector<size_t> nights;
  for (int day = 0; day < 6; ++day) {
    stage.raised = 0;
    for (int i = 0; i < 8640; ++i) {
      const bool batch = i >= 720 + 30 * (day % 2) && i < 900;
      stage.Sample(kGauge, 1e9 + 1e8 * random.Normal() + (batch ? 3e9 : 0));
    }
    nights.push_back(stage.raised);
  }
  EXPECT_GE(nights[0], 1u);
  for (size_t night = 3; night < nights.size(); ++night) EXPECT_EQ(nights[night], 0u) << night;
}

TEST(MetricStageTest, WhatIsUsualDependsOnTheHour) {
  MetricTraits traits;
  traits.bad = BadDirection::kUp;
  MetricSeries series(traits);
  const hc_settings settings = Defaults();
  SeriesTick tick;
  tick.settings = &settings;
  tick.window = 1000;
  Anomaly anomaly;
  LoadRandom random(10);
  for (int i = 0; i < 3 * 8640; ++i) {
    const int at = i % 8640;
    tick.now_us = kMidnight + i * 10 * kSecond;
    series.Observe(tick, 100 + random.Normal() + (at >= 720 && at < 900 ? 60 : 0), &anomaly);
  }
  const int64_t day = kMidnight + 3 * 86400 * kSecond;
  EXPECT_TRUE(series.Usually(day + 2 * 3600 * kSecond, 160));
  EXPECT_FALSE(series.Usually(day + 2 * 3600 * kSecond, 200)) << "more than on other nights";
  EXPECT_FALSE(series.Usually(day + 10 * 3600 * kSecond, 160)) << "at another time";
}

TEST(UsualHoursTest, TwoOfThreeDaysMakeItUsual) {
  UsualHours hours;
  const int64_t hour = 3600 * kSecond;
  const auto day = [&](int n, double at_two) {
    for (int h = 0; h < 24; ++h) hours.Learn((24 * n + h) * hour, h == 2 ? at_two : 10);
  };
  day(0, 90);
  day(1, 10);
  EXPECT_EQ(hours.High(50 * hour), 10) << "one bad night hides nothing";
  day(2, 80);
  EXPECT_EQ(hours.High((24 * 3 + 2) * hour), 80);
  for (int h = 0; h < 4; ++h) hours.Learn((24 * 3 + h) * hour, 10);
  EXPECT_EQ(hours.High((24 * 3 + 3) * hour), 80) << "an hour late";
  EXPECT_EQ(hours.High((24 * 3 + 7) * hour), 10);
  EXPECT_EQ(hours.Low((24 * 3 + 2) * hour), 10);
  for (const int64_t time : {INT64_MIN, INT64_MAX, int64_t{-1}}) {
    hours.Learn(time, 1e300);
    (void)hours.High(time);
  }
}

TEST(RarityTest, KnowsItsOwnTail) {
  const Rarity::Options options = {.start = 1, .prior_share = 0.02, .prior_excess = 0.5};
  Rarity light, heavy;
  LoadRandom random(2);
  for (int i = 0; i < 20000; ++i) {
    light.Learn(0.4 * random.Exponential(), options);
    heavy.Learn(random.Pareto(2) - 1, options);
  }
  EXPECT_EQ(light.Of(0.5, options), 0);
  EXPECT_NEAR(light.Of(4, options), 10, 1.5);  // e^-10
  EXPECT_NEAR(heavy.Of(9, options), std::log(100), 1.2);
  EXPECT_LT(heavy.Of(50, options), 12);
  EXPECT_GT(light.Of(50, options), 60);
  EXPECT_TRUE(std::isfinite(light.Of(1e300, options)));
}

// ---- hostile numbers ----

TEST(HostileNumbersTest, NeverCrashAndNeverAlert) {
  const double values[] = {kNaN, HUGE_VAL, -HUGE_VAL, 5e-324, -5e-324, 2.2e-308, 1.79e308, -1.79e308, 0, -0.0, 1e150};
  const int64_t jumps[] = {0, -86400 * kSecond, 3600 * kSecond, INT64_MIN / 4, INT64_MAX / 4};
  LoadRandom random(11);
  Stage stage;
  stage.AddUser("a");
  stage.AddUser("b", 0, 1);
  for (int i = 0; i < 3000; ++i) {
    for (double& value : stage.metrics) value = values[static_cast<size_t>(random.Uniform() * 11)];
    for (hc_user_metric& user : stage.users) {
      user.value = values[static_cast<size_t>(random.Uniform() * 11)];
      user.observed_at = static_cast<int64_t>(random.Uniform() * 1e18) * (random.Uniform() < 0.5 ? -1 : 1);
    }
    stage.wall_jump_us = jumps[static_cast<size_t>(random.Uniform() * 5)];
    stage.Tick();
    for (int m = 0; m < HC_METRIC_COUNT; ++m) {
      const hc_metric_status& s = stage.bank.Status()[m];
      ASSERT_FALSE(std::isinf(s.baseline_mean) || std::isinf(s.baseline_stddev) || std::isinf(s.zscore)) << m;
    }
  }
  // Values that are not known, constant or meaningless raise nothing.
  for (const double value : {kNaN, HUGE_VAL, 5e-324, 0.0, 1e150, -1e150}) {
    Stage calm;
    for (double& metric : calm.metrics) metric = value;
    for (int i = 0; i < 400; ++i) calm.Tick();
    EXPECT_EQ(calm.raised, 0u) << value;
  }
}

TEST(HostileNumbersTest, ASpoiltValueAmongGoodOnesRaisesNothing) {
  LoadRandom random(12);
  Stage stage;
  for (int i = 0; i < 3000; ++i) {
    double value = 1e9 + 1e8 * random.Normal();
    if (i % 50 == 49) value = i % 100 == 49 ? kNaN : HUGE_VAL;
    stage.Sample(kGauge, value);
  }
  EXPECT_EQ(stage.raised, 0u);
}

TEST(HostileNumbersTest, CountersThatResetAndClocksThatGoBackRaiseNothing) {
  LoadRandom random(13);
  Stage stage;
  double wal = 0;
  for (int i = 0; i < 3000; ++i) {
    wal += 1e7 * random.Lognormal(0.1);
    if (i % 400 == 399) wal = 0;
    if (i % 300 == 299) stage.wall_jump_us -= 7200 * kSecond;
    if (i % 500 == 499) stage.wall_jump_us += 86400 * kSecond;
    stage.Sample(HC_M_WAL_BYTES, wal);
    if (i % 100 == 50) stage.Look();  // no time has passed
  }
  EXPECT_EQ(stage.raised, 0u);
}

TEST(HostileNumbersTest, AConstantThatChangesByLittleRaisesNothing) {
  const struct {
    hc_metric_id metric;
    double level, change;
  } cases[] = {{HC_M_CONNECTIONS_USED, 0.2, 0.02}, {HC_M_SESSIONS_ACTIVE, 3, 1},     {HC_M_LOG_ERRORS, 0, 0.02},
               {HC_M_REPLICATION_LAG, 0, 130000},  {HC_M_EXEC_LATENCY_MEAN, 2, 0.9}, {HC_M_DEAD_TUPLES, 1000, 250},
               {HC_M_XID_AGE, 1e8, 1e5},           {HC_M_HOST_MEMORY_USED, 0.5, 1e-9}};
  for (const auto& c : cases) {
    Stage stage;
    for (int i = 0; i < 500; ++i) stage.Sample(c.metric, c.level);
    for (int i = 0; i < 50; ++i) stage.Sample(c.metric, c.level + c.change);
    EXPECT_EQ(stage.raised, 0u) << Metrics()[c.metric].name;
  }
}

// ---- users' metrics ----

class UserMetricTest : public ::testing::Test {
 protected:
  std::vector<Anomaly> Tick(double value) {
    stage_.users[0].value = value;
    stage_.users[0].observed_at = kMidnight + stage_.mono_us + 10 * kSecond;
    return stage_.Tick();
  }
  const hc_metric_status& Status(size_t i = 0) { return stage_.bank.UserStatus()[i]; }

  Stage stage_;
  LoadRandom random_{21};
};

TEST_F(UserMetricTest, GetsTheSameTreatment) {
  stage_.AddUser("orders_waiting");
  for (int i = 0; i < 800; ++i) Tick(100 + 5 * random_.Normal());
  EXPECT_EQ(stage_.raised, 0u);
  EXPECT_EQ(Status().samples, 800);
  EXPECT_NEAR(Status().baseline_mean, 100, 1);
  EXPECT_FALSE(std::isnan(Status().anomaly_score));
  EXPECT_FALSE(std::isnan(Status().forest_score));
  Tick(180);
  const std::vector<Anomaly> found = Tick(180);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_STREQ(found[0].def->name, "orders_waiting");
  EXPECT_STREQ(found[0].def->component, "shop");
  EXPECT_STREQ(found[0].def->category, "performance");
  EXPECT_EQ(found[0].metric, HC_METRIC_COUNT);
}

TEST_F(UserMetricTest, TheSameTimeIsNoNewSample) {
  stage_.AddUser("orders_waiting");
  Tick(5);
  for (int i = 0; i < 5; ++i) stage_.Tick();
  EXPECT_EQ(Status().samples, 1);
  EXPECT_EQ(Status().value, 5);
  Tick(5);
  EXPECT_EQ(Status().samples, 2);
}

TEST_F(UserMetricTest, CountersUseTheirOwnClock) {
  stage_.AddUser("orders", -1, 1);
  Tick(100);
  EXPECT_TRUE(std::isnan(Status().value));
  for (int i = 0; i < 5; ++i) stage_.Tick();
  Tick(400);  // sixty seconds later
  EXPECT_DOUBLE_EQ(Status().value, 5);
  Tick(3);
  EXPECT_TRUE(std::isnan(Status().value)) << "a reset";
}

TEST_F(UserMetricTest, IsFoundByName) {
  stage_.AddUser("a");
  stage_.AddUser("b");
  const auto tick = [&] {
    for (hc_user_metric& user : stage_.users) {
      user.value = user.name[0] == 'a' ? 1 : 1000;
      user.observed_at = kMidnight + stage_.mono_us;
    }
    stage_.Tick();
  };
  for (int i = 0; i < 40; ++i) tick();
  std::swap(stage_.users[0], stage_.users[1]);
  for (int i = 0; i < 10; ++i) tick();
  EXPECT_EQ(Status(0).baseline_mean, 1000);
  EXPECT_EQ(Status(1).baseline_mean, 1);
  EXPECT_EQ(Status(1).samples, 50);
  // Not listed for a while: remembered. For long: forgotten.
  const hc_user_metric a = stage_.users[1];
  stage_.users.pop_back();
  for (int i = 0; i < 50; ++i) tick();
  stage_.users.push_back(a);
  tick();
  EXPECT_EQ(Status(1).samples, 51);
  stage_.users.pop_back();
  for (int i = 0; i < MetricBank::kForgetTicks + 1; ++i) tick();
  stage_.users.push_back(a);
  tick();
  EXPECT_EQ(Status(1).samples, 1);
  // Another meaning is another series.
  stage_.users[0].bad = -1;
  tick();
  EXPECT_EQ(Status(0).samples, 1);
}

TEST_F(UserMetricTest, AtMostAsManyAsAgreed) {
  std::vector<std::string> names;
  for (int i = 0; i < HC_MAX_USER_METRICS + 50; ++i) names.push_back("m" + std::to_string(i));
  for (const std::string& name : names) stage_.AddUser(name.c_str());
  const auto tick = [&] {
    for (hc_user_metric& user : stage_.users) user.value = 1, user.observed_at = kMidnight + stage_.mono_us;
    stage_.Tick();
  };
  tick();
  EXPECT_EQ(stage_.bank.UserCount(), static_cast<uint32_t>(HC_MAX_USER_METRICS));
  // Others in their place: those not listed make room.
  std::reverse(stage_.users.begin(), stage_.users.end());
  tick();
  EXPECT_EQ(stage_.bank.UserCount(), static_cast<uint32_t>(HC_MAX_USER_METRICS));
  EXPECT_EQ(Status(0).samples, 1);
}

// ---- learning ----

TEST(MetricStageTest, FreezesByComponent) {
  Stage stage;
  for (int i = 0; i < 100; ++i) {
    stage.metrics[HC_M_INVALID_INDEXES] = 0;
    stage.Sample(kGauge, 1e9 + i % 7);
  }
  stage.bank.FreezeComponents({"indexes"});
  for (int i = 0; i < 50; ++i) stage.Sample(kGauge, 1e9 + i % 7);
  EXPECT_EQ(stage.bank.Status()[HC_M_INVALID_INDEXES].samples, 100);
  EXPECT_EQ(stage.bank.Status()[kGauge].samples, 150);
  stage.bank.Freeze(true);
  for (int i = 0; i < 50; ++i) stage.Sample(kGauge, 1e9);
  EXPECT_EQ(stage.bank.Status()[kGauge].samples, 150);
  stage.bank.Freeze(false);
  stage.Tick();
  EXPECT_EQ(stage.bank.Status()[kGauge].samples, 151);
  EXPECT_EQ(stage.bank.Status()[HC_M_INVALID_INDEXES].samples, 101);
}

TEST(MetricStageTest, ABaselineCanBeForgotten) {
  Stage stage;
  stage.AddUser("mine");
  for (int i = 0; i < 100; ++i) {
    stage.users[0].value = 1;
    stage.users[0].observed_at = i + 1;
    stage.metrics[HC_M_DISK_FREE] = 1e9;
    stage.Sample(kGauge, 5);
  }
  EXPECT_EQ(stage.bank.Reset("no_such_metric"), 0u);
  EXPECT_EQ(stage.bank.Reset("horizon_age"), 1u);
  EXPECT_EQ(stage.bank.Status()[kGauge].samples, 0);
  EXPECT_TRUE(std::isnan(stage.bank.Status()[kGauge].baseline_mean));
  EXPECT_EQ(stage.bank.Status()[HC_M_DISK_FREE].samples, 100);
  EXPECT_EQ(stage.bank.Reset("mine"), 1u);
  EXPECT_EQ(stage.bank.UserStatus()[0].samples, 0);
  EXPECT_EQ(stage.bank.Reset(""), static_cast<size_t>(HC_METRIC_COUNT) + 1);
  EXPECT_EQ(stage.bank.Status()[HC_M_DISK_FREE].samples, 0);
  stage.Sample(kGauge, 7);
  EXPECT_EQ(stage.bank.Status()[kGauge].samples, 1);
}

TEST(MetricStageTest, AllocatesNothingInTheSteadyStateAndItsMemoryIsFlat) {
  Stage stage;
  stage.settings.min_confidence = 2;  // nothing is reported
  std::vector<std::string> names;
  for (int i = 0; i < HC_MAX_USER_METRICS; ++i) names.push_back("m" + std::to_string(i));
  for (const std::string& name : names) stage.AddUser(name.c_str());
  LoadRandom random(31);
  const auto tick = [&] {
    for (double& value : stage.metrics) value = 1e6 * random.Lognormal(1);
    for (hc_user_metric& user : stage.users) {
      user.value = random.Normal();
      user.observed_at = stage.mono_us;
    }
    hc_observation o{};
    o.settings = &stage.settings;
    o.full_tick = 1;
    o.mono_us = stage.mono_us += 10 * kSecond;
    o.now_us = kMidnight + o.mono_us;
    o.metrics = stage.metrics.data();
    o.user_metrics = stage.users.data();
    o.n_user_metrics = static_cast<uint32_t>(stage.users.size());
    static std::vector<Anomaly> found;
    stage.bank.Observe(o, &found);
  };
  for (int i = 0; i < 50; ++i) tick();  // a counter needs a rise to have a rate
  const uint64_t before = allocations;
  const size_t bytes = stage.bank.Bytes();
  for (int i = 0; i < 3000; ++i) tick();  // several fits of every forest
  EXPECT_EQ(allocations, before);
  EXPECT_EQ(stage.bank.Bytes(), bytes);
  EXPECT_LE(bytes, size_t{10} << 20);
}

// ---- silence ----

// Three hours of each kind through the whole engine: no incident at all.
TEST(SilenceTest, HealthyLoadOpensNoIncident) {
  hc_settings settings = Defaults();
  settings.monitoring_interval_ms = 10000;
  settings.inference_min_confidence = 0.7;
  settings.inference_max_path_depth = 5;
  settings.inference_min_edge_probability = 0.3;
  settings.inference_multi_hop = 1;
  settings.rollback_max_attempts = settings.rollback_max_depth = 3;
  settings.rollback_timeout_ms = 30000;
  settings.max_retries = settings.retry_delay_ms = settings.recovery_timeout_ms = -1;
  settings.concurrent_recoveries = 2;
  hc_server server{};
  server.max_connections = 100;
  server.autovacuum_max_workers = 3;
  server.max_wal_size_mb = 4096;
  server.checkpoint_timeout_s = 300;
  server.wal_disk_free_bytes = int64_t{500} << 30;
  server.wal_disk_total_bytes = int64_t{1000} << 30;
  int incidents = 0;
  for (int kind = 0; kind < HealthyLoad::kKinds; ++kind) {
    HealthyLoad load(static_cast<HealthyLoad::Kind>(kind), 3, 10);
    Engine engine(hc_limits{}, 1);
    for (int i = 0; i < 1080; ++i) {
      load.Step();
      hc_observation o{};
      o.settings = &settings;
      o.server = &server;
      o.full_tick = o.sessions_known = o.locks_known = 1;
      o.mono_us = static_cast<int64_t>(load.time_s * 1e6);
      o.now_us = kMidnight + o.mono_us;
      o.metrics = load.metrics.data();
      hc_decisions decisions{};
      engine.Step(o, &decisions);
      for (uint32_t r = 0; r < decisions.n_records; ++r) incidents += decisions.records[r].table == HC_T_INCIDENTS;
      EXPECT_EQ(decisions.n_commands, 0u);
    }
  }
  EXPECT_EQ(incidents, 0);
}

// A day of each kind of healthy load: hardly an anomaly, once the first hours are over.
TEST(SilenceTest, HealthyLoadIsLeftAlone) {
  size_t anomalies = 0;
  int64_t samples = 0;
  for (int kind = 0; kind < HealthyLoad::kKinds; ++kind) {
    HealthyLoad load(static_cast<HealthyLoad::Kind>(kind), 1, 10);
    Stage stage;
    std::vector<std::string> names;
    for (int i = 0; i < 8640; ++i) {
      load.Step();
      std::copy(load.metrics.begin(), load.metrics.end(), stage.metrics.begin());
      const std::vector<Anomaly> found = stage.Tick();
      if (i < 2160) continue;  // six hours
      samples += HC_METRIC_COUNT;
      anomalies += found.size();
      for (const Anomaly& anomaly : found) names.push_back(std::string(anomaly.def->name) + " " + anomaly.method);
    }
    for (const std::string& name : names) std::printf("  %s: %s\n", HealthyLoad::kNames[kind], name.c_str());
  }
  const double rate = static_cast<double>(anomalies) / static_cast<double>(samples);
  std::printf("  %zu anomalies in %lld samples: %.2e\n", anomalies, static_cast<long long>(samples), rate);
  EXPECT_LE(rate, 1e-5);
}

}  // namespace
}  // namespace heal
