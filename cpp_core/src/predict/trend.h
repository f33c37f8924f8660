// trend.h: where a series of numbers is going, and how well that is known.

#ifndef HEAL_CORE_PREDICT_TREND_H_
#define HEAL_CORE_PREDICT_TREND_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace heal {

struct TimedValue {
  int64_t time_us = 0;
  double value = 0;
};

struct TrendOptions {
  size_t min_samples = 30;                  // fewer of them, in all or since a cleanup: no trend
  int64_t cycle_us = int64_t{86400000000};  // the cycle looked for; 0: none
  double rate = 0.8;                        // of the interval of the slope
};

// One way to read the series: a straight line or a parabola, with or without
// a cycle. Times are in units of the observed span, 0 the last observation.
struct TrendModel {
  static constexpr size_t kColumns = 10;  // 1, x, x^2, three harmonics, time since the last cleanup

  bool curved = false;
  bool cyclic = false;
  size_t size = 0;  // columns in use, in that order
  std::array<double, kColumns> coefficient{};
  std::array<double, kColumns * kColumns> covariance{};
  double sigma = 0;     // deviation of the noise
  double phi = 0;       // its correlation from one sample to the next
  double residual = 0;  // what the last observation differs by
  double freedom = 1;   // degrees, in effective samples
  double weight = 0;    // posterior probability
};

struct Trend {
  enum class State { kValid, kTooFewSamples, kNoSpan };
  struct Point {
    double mean;
    double deviation;
  };

  State state = State::kTooFewSamples;
  size_t samples = 0;  // finite, in order
  int64_t from_us = 0;
  int64_t to_us = 0;
  double level = 0;      // the signal at to_us, without noise
  double slope = 0;      // units per second at to_us
  double slope_low = 0;  // interval at options.rate
  double slope_high = 0;
  double rising = 0;     // probability that the signal rises at to_us
  double theil_sen = 0;  // median slope of the window, units per second
  double noise = 0;      // deviation about the signal
  double autocorrelation = 0;
  bool accelerating = false;  // the parabola is more likely than the line
  bool cyclic = false;        // the cycle explains variance and was seen twice

  // Cleanups: drops much larger than the noise. When at least three come
  // at regular intervals they are expected to go on.
  size_t resets = 0;
  int64_t last_reset_us = 0;
  double drop_every = 0;  // us between cleanups; 0: not regular
  double drop_by = 0;

  size_t n_models = 0;
  std::array<TrendModel, 4> models{};

  // The signal at a later time as one model sees it, cleanups included, and
  // the deviation of that estimate. Cost: O(size^2), about 50 ns.
  Point At(const TrendModel& model, int64_t time_us) const;

  int64_t cycle_us = 0;  // 0: no cycle was looked for
  double step_us = 0;    // median distance of the samples

 private:
  void Row(const TrendModel& model, int64_t time_us, double* row) const;
};

// Fits trends. Holds only working space: one fitter serves any number of series.
//
// The window is thinned to at most 192 block means, freed of single outliers
// (Hampel's identifier), cut at the last cleanup unless they are regular, and turned into the middles of its
// steps where it moves in steps. Line and parabola, with and without a cycle,
// are fitted by generalised least squares with first-order autoregressive noise
// (Prais and Winsten 1954), whose covariance is honest about correlated samples:
// it is the analytic counterpart of an effective sample size. The models are
// weighted by their posterior probability from BIC (Raftery 1995, Bayesian model
// selection in social research), so that a curve or a cycle counts as far as the
// data show it. The Theil-Sen slope (Sen 1968) is computed beside them: a trend
// that it contradicts in sign is not believed.
// Departures: phi is corrected for its small-sample bias (Marriott and Pope 1954,
// here p + (p + 2) phi over n for p columns); noise that wanders more slowly than a tenth of the window is
// part of the signal. Cost: about 50 us, 130 us where a cycle is looked for; no allocation. Memory: 45 kB.
class TrendFitter {
 public:
  static constexpr size_t kPoints = 192;

  // Values that are not finite and times that do not advance are left out.
  Trend Fit(std::span<const TimedValue> window, const TrendOptions& options);

 private:
  static constexpr size_t kColumns = TrendModel::kColumns;
  static constexpr size_t kSlopePoints = 64;

  struct Reset {
    size_t index;  // first sample after it
    double time;   // us since the first sample
    double drop;
  };

  void Collect(std::span<const TimedValue> window, Trend* trend);
  void CompressSteps(std::span<const TimedValue> window, int64_t first_us);
  void Thin(std::span<const TimedValue> window, int64_t first_us, int64_t last_us, size_t samples);
  double Quantum(std::span<const TimedValue> window, int64_t first_us) const;
  void DropOutliers();
  void FindResets(Trend* trend);
  void AddReset(size_t index, double time, double drop);
  double Tooth(const Trend& trend, double time) const;
  void ExpectResets(Trend* trend) const;
  bool CutAtReset(const TrendOptions& options, const Trend& trend);
  bool Normalise(Trend* trend);
  void TheilSen(Trend* trend);
  void BuildDesign(const Trend& trend);
  void FitModel(bool curved, bool cyclic, Trend* trend);
  void Correlate(double phi);
  bool Solve(TrendModel* model);
  double Correlation(const TrendModel& model) const;
  void Weigh(Trend* trend);
  static double SlopeQuantile(const Trend& trend, double goal);
  void Summarise(const TrendOptions& options, Trend* trend) const;
  double Median(size_t n);  // of sorted_[0..n)

  size_t n_ = 0;
  std::array<double, kPoints> time_{};  // us since the first sample of the window
  std::array<double, kPoints> value_{};
  std::array<double, kPoints> gap_{};  // steps to the sample before
  std::array<double, kPoints> rho_{};  // correlation of the noise across the gap
  std::array<double, kPoints> residual_{};
  std::array<std::array<double, kColumns>, kPoints> design_{};
  std::array<double, kSlopePoints * kSlopePoints / 2> sorted_{};
  std::array<double, 4> bic_{};
  std::array<size_t, kColumns> columns_{};
  std::array<Reset, 16> resets_{};
  size_t n_resets_ = 0;
  double scale_ = 1;  // the values are divided by it
  double origin_ = 0;
};

}  // namespace heal

#endif  // HEAL_CORE_PREDICT_TREND_H_
