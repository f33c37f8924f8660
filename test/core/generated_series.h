// Series of known shape whose time of exhaustion is known.

#ifndef HEAL_TEST_GENERATED_SERIES_H_
#define HEAL_TEST_GENERATED_SERIES_H_

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "predict/trend.h"

namespace heal {

// Deterministic numbers (SplitMix64).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  double Uniform() {
    state_ += 0x9E3779B97F4A7C15ULL;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return (static_cast<double>((z ^ (z >> 31)) >> 11) + 0.5) / 9007199254740992.0;
  }
  double Between(double low, double high) { return low + (high - low) * Uniform(); }
  double Normal() { return std::sqrt(-2 * std::log(Uniform())) * std::cos(6.283185307179586 * Uniform()); }

 private:
  uint64_t state_;
};

enum class Kind {
  kLinearQuiet,
  kLinear,
  kLinearNoisy,
  kLinearVeryNoisy,
  kAccelerating,
  kDailyCycle,
  kResets,
  kSawtooth,
  kAutocorrelated,
  kSteps,
  kHostile,
  kRandomGrowth,
  kCount
};

inline const char* KindName(Kind kind) {
  constexpr std::array<const char*, static_cast<size_t>(Kind::kCount)> kNames = {"linear, noise 0.5 %",
                                                                                 "linear, noise 2 %",
                                                                                 "linear, noise 5 %",
                                                                                 "linear, noise 15 %",
                                                                                 "accelerating",
                                                                                 "daily cycle",
                                                                                 "resets",
                                                                                 "regular cleanups",
                                                                                 "AR(1) noise",
                                                                                 "integer steps",
                                                                                 "NaN, spikes, clock",
                                                                                 "random growth"};
  return kNames[static_cast<size_t>(kind)];
}

struct GeneratedSeries {
  std::vector<TimedValue> values;  // up to the cut
  double limit = 0;
  int64_t truth_us = 0;  // the signal without noise is at the limit
};

// Shares are of the rise from the first value to the limit, which the signal
// makes in `total` samples; it is cut after 30 to 90 % of them.
class SeriesGenerator {
 public:
  SeriesGenerator(Kind kind, uint64_t seed)
      : kind_(kind), random_(seed * 1000003 + static_cast<uint64_t>(kind)) {}

  GeneratedSeries Make() {
    Shape();
    GeneratedSeries series;
    const double size = std::pow(10, random_.Between(0, 11));
    const double base = size * random_.Between(0, 2);
    const int64_t start = kEpoch + static_cast<int64_t>(random_.Uniform() * 86400e6);
    start_ = start;
    double rise = 1;
    if (kind_ == Kind::kSteps) rise = std::floor(random_.Between(20, 200));
    const double scale = kind_ == Kind::kSteps ? 1 : size;
    const double floor = kind_ == Kind::kSteps ? std::floor(random_.Between(0, 100)) : base;
    const double truth = Crossing(rise);
    const int64_t cut = start + static_cast<int64_t>(truth * cut_);
    double noise = 0;
    for (int64_t time = start; time < cut; time += step_) {
      const double clean = Signal(static_cast<double>(time - start), rise);
      noise = phi_ * noise + sigma_ * std::sqrt(1 - phi_ * phi_) * random_.Normal();
      double value = clean + noise;
      if (kind_ == Kind::kSteps) value = std::floor(clean);
      TimedValue sample{time, floor + scale * value};
      if (kind_ == Kind::kHostile) Spoil(&sample, scale);
      series.values.push_back(sample);
    }
    series.limit = floor + scale * rise;
    series.truth_us = start + static_cast<int64_t>(truth);
    return series;
  }

 private:
  static constexpr int64_t kEpoch = 1700000000000000;

  void Shape() {
    const double steps[] = {1e6, 10e6, 60e6};
    step_ = static_cast<int64_t>(steps[static_cast<int>(random_.Uniform() * 3)]);
    total_ = random_.Between(150, 900);
    sigma_ = 0.02;
    cut_ = random_.Between(0.3, 0.9);
    switch (kind_) {
      case Kind::kLinearQuiet:
        sigma_ = 0.005;
        break;
      case Kind::kLinearNoisy:
        sigma_ = 0.05;
        break;
      case Kind::kLinearVeryNoisy:
        sigma_ = 0.15;
        break;
      case Kind::kAccelerating:
        sigma_ = random_.Between(0.005, 0.03);
        curve_ = random_.Between(0.3, 0.9);
        break;
      case Kind::kDailyCycle:
        step_ = 1800000000;
        total_ = 48 * random_.Between(8, 20);
        sigma_ = random_.Between(0.005, 0.03);
        for (double& part : harmonic_) part = random_.Between(-0.1, 0.1);
        break;
      case Kind::kResets:
        for (int n = 1 + static_cast<int>(random_.Uniform() * 3); n > 0; --n) {
          resets_.push_back({random_.Between(0.2, 1) * cut_, random_.Between(0.3, 0.9)});
        }
        std::sort(resets_.begin(), resets_.end(), [](const Drop& a, const Drop& b) { return a.at < b.at; });
        sigma_ = random_.Between(0.002, 0.01);
        break;
      case Kind::kSawtooth:
        total_ = random_.Between(300, 900);
        tooth_ = random_.Between(0.03, 0.1);
        fall_ = random_.Between(0.3, 0.8);
        sigma_ = random_.Between(0.001, 0.005);
        break;
      case Kind::kAutocorrelated:
        sigma_ = random_.Between(0.02, 0.08);
        phi_ = random_.Between(0.3, 0.9);
        break;
      case Kind::kRandomGrowth:
        sigma_ = 0;
        walk_.assign(1, 0);
        break;
      default:
        break;
    }
  }

  // us from the start at which the signal reaches the limit first.
  double Crossing(double rise) {
    const double fine = static_cast<double>(step_) / 16;
    for (double time = fine; time < 1e16; time += fine) {
      if (Signal(time, rise) >= rise) return time;
    }
    return 0;
  }

  double Signal(double time, double rise) {
    double x = time / (static_cast<double>(step_) * total_);
    if (kind_ == Kind::kRandomGrowth) {
      const size_t index = static_cast<size_t>(time / static_cast<double>(step_));
      while (walk_.size() <= index)
        walk_.push_back(walk_.back() - std::log(random_.Uniform()) * rise / total_);
      return walk_[index];
    }
    double signal = rise * ((1 - curve_) * x + curve_ * x * x);
    if (kind_ == Kind::kDailyCycle) {
      const double angle = 6.283185307179586 * (static_cast<double>(start_) + time) / 86400e6;
      for (int k = 0; k < 2; ++k) {
        signal +=
            harmonic_[2 * k] * std::cos((k + 1) * angle) + harmonic_[2 * k + 1] * std::sin((k + 1) * angle);
      }
    }
    if (tooth_ > 0) signal = (x - fall_ * tooth_ * std::floor(x / tooth_)) / (1 - fall_);
    if (!resets_.empty()) {
      // Each takes a share of what is there; all lie before the cut.
      double back = 0;
      for (const Drop& drop : resets_) {
        if (x > drop.at) back += drop.by * (drop.at - back);
      }
      signal = x - back;
    }
    return signal;
  }

  void Spoil(TimedValue* sample, double scale) {
    const double dice = random_.Uniform();
    if (dice < 0.05) sample->value = std::numeric_limits<double>::quiet_NaN();
    if (dice > 0.05 && dice < 0.07) sample->value += scale * random_.Between(-3, 3);
    if (dice > 0.07 && dice < 0.09) sample->time_us -= 3 * step_;
    if (dice > 0.09 && dice < 0.10) sample->value = std::numeric_limits<double>::infinity();
  }

  struct Drop {
    double at;
    double by;
  };

  Kind kind_;
  Random random_;
  int64_t step_ = 0;
  int64_t start_ = 0;
  double total_ = 0;
  double cut_ = 0;
  double sigma_ = 0;
  double phi_ = 0;
  double curve_ = 0;
  double tooth_ = 0;
  double fall_ = 0;
  std::array<double, 4> harmonic_{};
  std::vector<Drop> resets_;
  std::vector<double> walk_;
};

}  // namespace heal

#endif  // HEAL_TEST_GENERATED_SERIES_H_
