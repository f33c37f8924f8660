// Rolling mean, deviation and quartiles against plain recomputation.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <new>
#include <vector>

#include "detect/metric_bank.h"
#include "counting_allocator.h"
#include "detect/rolling_iqr.h"
#include "detect/rolling_zscore.h"

namespace heal {
namespace {

// Deterministic values in [0, 1).
class Random {
 public:
  double Next() {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<double>(state_ >> 11) / 9007199254740992.0;
  }

 private:
  uint64_t state_ = 1;
};

class Reference {
 public:
  explicit Reference(size_t window) : window_(window) {}
  void Push(double value) {
    values_.push_back(value);
    if (values_.size() > window_) values_.pop_front();
  }
  double Mean() const {
    long double sum = 0;
    for (double value : values_) sum += value;
    return static_cast<double>(sum / static_cast<long double>(values_.size()));
  }
  double Stddev() const {
    long double sum = 0;
    for (double value : values_) sum += value;
    const long double mean = sum / static_cast<long double>(values_.size());
    long double squares = 0;
    for (double value : values_) squares += (value - mean) * (value - mean);
    return static_cast<double>(std::sqrt(squares / static_cast<long double>(values_.size())));
  }
  double Quantile(double q) const {
    std::vector<double> sorted(values_.begin(), values_.end());
    std::sort(sorted.begin(), sorted.end());
    const double position = q * static_cast<double>(sorted.size() - 1);
    const size_t below = static_cast<size_t>(position);
    const size_t above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (sorted[above] - sorted[below]) * (position - static_cast<double>(below));
  }

 private:
  size_t window_;
  std::deque<double> values_;
};

TEST(RollingZScore, AgreesWithRecomputation) {
  for (const size_t window : {size_t{1}, size_t{2}, size_t{7}, size_t{100}}) {
    Random random;
    RollingZScore rolling(window);
    Reference reference(window);
    for (int i = 0; i < 2000; ++i) {
      const double value = 1e6 + random.Next();
      rolling.Push(value);
      reference.Push(value);
      ASSERT_NEAR(rolling.mean(), reference.Mean(), 1e-9);
      ASSERT_NEAR(rolling.stddev(), reference.Stddev(), 1e-6) << "window " << window << " step " << i;
    }
  }
}

TEST(RollingZScore, AnOutlierLeavesNothingBehind) {
  Random random;
  RollingZScore rolling(100);
  Reference reference(100);
  for (int i = 0; i < 130; ++i) {
    const double value = i == 3 ? 1e15 : random.Next();
    rolling.Push(value);
    reference.Push(value);
    if (i < 103) continue;
    ASSERT_NEAR(rolling.mean(), reference.Mean(), 1e-9) << "step " << i;
    ASSERT_NEAR(rolling.stddev(), reference.Stddev(), 1e-9) << "step " << i;
  }
}

TEST(RollingZScore, ALevelShiftLeavesNothingBehind) {
  Random random;
  RollingZScore rolling(100);
  Reference reference(100);
  for (int i = 0; i < 1000; ++i) {
    const double value = (i < 450 ? 1e9 : 0) + random.Next();
    rolling.Push(value);
    reference.Push(value);
  }
  EXPECT_NEAR(rolling.stddev(), reference.Stddev(), 1e-9);
}

TEST(RollingZScore, ConstantSeries) {
  RollingZScore rolling(50);
  for (int i = 0; i < 500; ++i) rolling.Push(0.1);
  EXPECT_DOUBLE_EQ(rolling.mean(), 0.1);
  EXPECT_NEAR(rolling.stddev(), 0, 1e-12);
  EXPECT_NEAR(rolling.Score(0.3, 0.05), 4, 1e-9);
}

TEST(RollingZScore, EmptyWindowIsHarmless) {
  RollingZScore rolling;
  rolling.Push(1);
  EXPECT_EQ(rolling.count(), 0u);
}

TEST(RollingIqr, IsExact) {
  for (const size_t window : {size_t{1}, size_t{2}, size_t{3}, size_t{8}, size_t{101}, size_t{1000}}) {
    Random random;
    RollingIqr rolling(window);
    Reference reference(window);
    for (int i = 0; i < 3000; ++i) {
      // Many ties among them.
      const double value = i % 3 == 0 ? std::floor(random.Next() * 5) : random.Next() * 5;
      rolling.Push(value);
      reference.Push(value);
      if (i % 7 != 0 && i > 20) continue;
      for (const double q : {0.0, 0.25, 0.5, 0.75, 1.0}) {
        ASSERT_EQ(rolling.Quantile(q), reference.Quantile(q))
            << "window " << window << " step " << i << " q " << q;
      }
    }
  }
}

TEST(RollingIqr, SortedAndReversedInput) {
  RollingIqr rolling(10);
  Reference reference(10);
  for (int i = 0; i < 60; ++i) {
    const double value = i < 30 ? i : 60 - i;
    rolling.Push(value);
    reference.Push(value);
    ASSERT_EQ(rolling.q1(), reference.Quantile(0.25));
    ASSERT_EQ(rolling.q3(), reference.Quantile(0.75));
  }
}

// What the window holds, kept sorted.
class SortedWindow {
 public:
  explicit SortedWindow(size_t window) : window_(window) {}
  void Push(double value) {
    values_.push_back(value);
    sorted_.insert(std::upper_bound(sorted_.begin(), sorted_.end(), value), value);
    if (values_.size() <= window_) return;
    sorted_.erase(std::lower_bound(sorted_.begin(), sorted_.end(), values_.front()));
    values_.pop_front();
  }
  const std::vector<double>& sorted() const { return sorted_; }
  size_t Below(double value) const {
    return static_cast<size_t>(std::lower_bound(sorted_.begin(), sorted_.end(), value) - sorted_.begin());
  }
  size_t UpTo(double value) const {
    return static_cast<size_t>(std::upper_bound(sorted_.begin(), sorted_.end(), value) - sorted_.begin());
  }

 private:
  size_t window_;
  std::deque<double> values_;
  std::vector<double> sorted_;
};

// Courses that enter and leave the order at different places.
double Course(int course, int step, Random* random) {
  switch (course) {
    case 0:
      return random->Next();
    case 1:
      return std::floor(random->Next() * 3);  // ties
    case 2:
      return step;
    case 3:
      return -step;
    case 4:
      return std::sin(step * 0.01) + random->Next() * 0.001;
    case 5:
      return (step / 700 % 2 == 0 ? 1e9 : -1e-300) + std::floor(random->Next() * 2);  // jumps
    case 6:
      return step % 2 == 0 ? step : -step;  // both ends
    case 7:
      return (step % 3 == 0 ? -0.0 : 0.0);
    default:
      return random->Next() < 0.01 ? 1e300 * (random->Next() - 0.5) : step % 97 + random->Next();
  }
}

TEST(RollingIqr, IsExactForEachWindowAndCourse) {
  for (const size_t window : {1, 2, 3, 31, 32, 33, 64, 200, 1000, 4096}) {
    for (int course = 0; course <= 8; ++course) {
      Random random;
      RollingIqr rolling(window);
      SortedWindow reference(window);
      const int steps = 4 * static_cast<int>(window) + 5000;
      for (int i = 0; i < steps; ++i) {
        const double value = Course(course, i, &random);
        const double probe = random.Next() < 0.5 || i == 0 ? value : rolling.At(i % rolling.count());
        ASSERT_EQ(rolling.CountUpTo(probe), reference.UpTo(probe)) << window << " " << course << " " << i;
        ASSERT_EQ(rolling.CountBelow(probe), reference.Below(probe)) << window << " " << course << " " << i;
        rolling.Push(value);
        reference.Push(value);
        const std::vector<double>& sorted = reference.sorted();
        ASSERT_EQ(rolling.count(), sorted.size());
        ASSERT_EQ(rolling.At(0), sorted.front());
        ASSERT_EQ(rolling.At(rolling.count() - 1), sorted.back());
        const size_t rank = static_cast<size_t>(random.Next() * static_cast<double>(sorted.size()));
        ASSERT_EQ(rolling.At(rank), sorted[rank]) << window << " " << course << " " << i << " rank " << rank;
        const double third = 0.75 * static_cast<double>(sorted.size() - 1);
        const size_t below = static_cast<size_t>(third);
        const double next = sorted[std::min(below + 1, sorted.size() - 1)];
        ASSERT_EQ(rolling.q3(), sorted[below] + (next - sorted[below]) * (third - static_cast<double>(below)));
        if (i % 500 != 0) continue;
        for (size_t r = 0; r < sorted.size(); ++r) ASSERT_EQ(rolling.At(r), sorted[r]);
      }
    }
  }
}

TEST(RollingIqr, GivesBackTheOldestValue) {
  Random random;
  RollingIqr rolling(50);
  std::deque<double> values;
  for (int i = 0; i < 500; ++i) {
    const double value = random.Next();
    values.push_back(value);
    const double left = rolling.Push(value);
    ASSERT_EQ(left, values.size() > 50 ? values.front() : value);
    if (values.size() > 50) values.pop_front();
  }
}

// Such values are not allowed; that they do no harm is all that is promised.
TEST(RollingIqr, WhatIsNoNumberDoesNoHarm) {
  for (const size_t window : {1, 2, 40, 300}) {
    Random random;
    RollingIqr rolling(window);
    for (int i = 0; i < 5000; ++i) {
      const double kind = random.Next();
      double value = random.Next();
      if (i % 2000 < 1000 && kind < 0.2) value = std::nan("");
      if (i % 2000 < 1000 && kind > 0.8) value = kind > 0.9 ? HUGE_VAL : -HUGE_VAL;
      rolling.CountUpTo(value);
      rolling.CountBelow(value);
      rolling.Push(value);
      for (size_t r = 0; r < rolling.count(); r += 7) rolling.At(r);
      rolling.median();
      ASSERT_EQ(rolling.count(), std::min<size_t>(window, static_cast<size_t>(i) + 1));
    }
  }
}

TEST(Rolling, NoAllocationAfterTheConstructor) {
  RollingZScore zscore(1000);
  RollingIqr iqr(1000);
  const uint64_t before = allocations;
  Random random;
  for (int i = 0; i < 5000; ++i) {
    const double value = random.Next();
    zscore.Push(value);
    iqr.Push(value);
  }
  EXPECT_EQ(allocations, before);
}

TEST(Rolling, TheMetricBankAllocatesNothingInTheSteadyState) {
  hc_settings settings{};
  settings.confirm_samples = 2;
  settings.anomaly_threshold = 3;
  settings.window_size = 100;
  settings.iqr_multiplier = 1.5;
  settings.min_baseline_samples = 30;
  settings.auto_baseline = 1;
  settings.min_confidence = 2;  // no anomaly is reported
  std::vector<double> metrics(HC_METRIC_COUNT);
  hc_observation observation{};
  observation.full_tick = 1;
  observation.settings = &settings;
  observation.metrics = metrics.data();
  MetricBank bank;
  std::vector<Anomaly> anomalies;
  Random random;
  uint64_t before = 0;
  for (int i = 0; i < 1000; ++i) {
    if (i == 3) before = allocations;
    observation.mono_us += 1000000;
    for (double& value : metrics) value += random.Next();
    bank.Observe(observation, &anomalies);
  }
  EXPECT_EQ(allocations, before);
}

}  // namespace
}  // namespace heal
