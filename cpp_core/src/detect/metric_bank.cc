#include "detect/metric_bank.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

namespace heal {
namespace {

constexpr int kDefaultWindow = 1000;
constexpr int kLargestWindow = 4096;
// A level that lasts this long without being an incident is the new normal.
constexpr int kHeldBack = 30;
constexpr double kLargestScore = 1000;
constexpr double kCalmShare = 0.5;    // of the threshold: hysteresis
constexpr double kNormalIqr = 1.349;  // interquartile range of N(0, 1)
constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

struct Quantum {
  const char* unit;
  double value;
};

// Below these differences a change means nothing, however constant the
// baseline was. Other units: none beyond the share of the mean.
constexpr Quantum kQuanta[] = {
    {"sessions", 0.5}, {"transactions", 0.5}, {"standbys", 0.1}, {"slots", 0.1},
    {"tables", 0.1},   {"indexes", 0.1},      {"workers", 0.5},  {"fraction", 0.01},
    {"s", 1},          {"ms", 0.5},           {"ms/s", 1},       {"1/s", 0.01},
    {"bytes", 65536},  {"bytes/s", 8192},     {"rows", 100},     {"multixacts", 100},
};

double SmallestDeviation(const MetricDef& def, double mean) {
  double quantum = 1e-9;
  for (const Quantum& known : kQuanta) {
    if (std::string_view(def.unit) == known.unit) quantum = known.value;
  }
  return std::max(quantum, 0.01 * std::abs(mean));
}

bool IsBad(BadDirection bad, double deviation) {
  switch (bad) {
    case BadDirection::kUp:
      return deviation > 0;
    case BadDirection::kDown:
      return deviation < 0;
    case BadDirection::kBoth:
      return true;
    case BadDirection::kNone:
      break;
  }
  return false;
}

double Clamp(double score) { return std::clamp(score, -kLargestScore, kLargestScore); }

// At the threshold 0.75, near 1 far beyond it; less where the two methods
// disagree or the baseline is young.
double Confidence(double score, double threshold, bool both, double samples, double min_samples) {
  const double strength = 1 - 0.25 * std::min(1.0, threshold / score);
  const double age = std::min(1.0, 0.9 + 0.1 * samples / (3 * min_samples));
  return strength * age * (both ? 1 : 0.95);
}

int Confirmations(const hc_settings& settings) { return std::max(1, settings.confirm_samples); }

}  // namespace

MetricBank::MetricBank() : series_(HC_METRIC_COUNT) { ClearStatus(); }

void MetricBank::ClearStatus() {
  for (hc_metric_status& status : status_) {
    status = {kUnknown, kUnknown, kUnknown, kUnknown, kUnknown, kUnknown, kUnknown, kUnknown, 0, 0};
  }
}

void MetricBank::Observe(const hc_observation& observation, std::vector<Anomaly>* out) {
  if (observation.full_tick == 0 || observation.metrics == nullptr || observation.settings == nullptr) {
    return;
  }
  const int wanted = observation.settings->window_size;
  const int window = wanted <= 0 ? kDefaultWindow : std::clamp(wanted, 2, kLargestWindow);
  if (window != window_) Resize(window);
  for (size_t metric = 0; metric < HC_METRIC_COUNT; ++metric) {
    ObserveOne(observation, metric, out);
  }
}

// A new window size starts the baselines afresh.
void MetricBank::Resize(int window) {
  window_ = window;
  for (Series& series : series_) {
    series.zscore = RollingZScore();
    series.iqr = RollingIqr();
  }
  ClearStatus();
}

// The gauge, or the counter's rate since the last sample; NaN where unknown.
double MetricBank::Value(const hc_observation& observation, size_t metric, Series* series) const {
  const double raw = observation.metrics[metric];
  if (!std::isfinite(raw)) return kUnknown;
  if (Metrics()[metric].kind == MetricKind::kGauge) return raw;
  const double change = raw - series->last_raw;
  const int64_t elapsed = observation.mono_us - series->last_mono;
  const bool usable = series->has_last && change >= 0 && elapsed > 0;
  series->last_raw = raw;
  series->last_mono = observation.mono_us;
  series->has_last = true;
  return usable ? change * 1e6 / static_cast<double>(elapsed) : kUnknown;
}

void MetricBank::ObserveOne(const hc_observation& observation, size_t metric, std::vector<Anomaly>* out) {
  Series& series = series_[metric];
  const hc_settings& settings = *observation.settings;
  const double value = Value(observation, metric, &series);
  if (!std::isfinite(value)) {
    // Neither abnormal nor calm: a burst in progress stays as it is.
    Publish(observation, metric, kUnknown, kUnknown);
    return;
  }
  if (series.zscore.window() == 0) {
    series.zscore = RollingZScore(static_cast<size_t>(window_));
    series.iqr = RollingIqr(static_cast<size_t>(window_));
  }
  double zscore = kUnknown;
  if (series.zscore.count() >= Needed(settings)) {
    const Judgement judgement = Judge(series, Metrics()[metric], settings, value);
    zscore = judgement.zscore;
    Track(observation, metric, value, judgement, out);
  }
  if (MayLearn(series, settings)) {
    series.zscore.Push(value);
    series.iqr.Push(value);
  }
  Publish(observation, metric, value, zscore);
}

MetricBank::Judgement MetricBank::Judge(const Series& series, const MetricDef& def,
                                        const hc_settings& settings, double value) const {
  const double threshold = settings.anomaly_threshold;
  const double floor = SmallestDeviation(def, series.zscore.mean());
  Judgement judgement;
  judgement.zscore = Clamp(series.zscore.Score(value, floor));
  const double q1 = series.iqr.q1();
  const double q3 = series.iqr.q3();
  const double range = q3 - q1;
  const double reach = settings.iqr_multiplier * range;
  // A baseline that is mostly one value has no quartile range to measure with.
  if (range > floor * kNormalIqr && (value < q1 - reach || value > q3 + reach)) {
    judgement.robust = Clamp((value - series.iqr.median()) * kNormalIqr / range);
  }
  judgement.by_iqr = std::abs(judgement.robust) > std::abs(judgement.zscore);
  judgement.deviation = judgement.by_iqr ? judgement.robust : judgement.zscore;
  judgement.both = std::abs(judgement.robust) >= threshold && std::abs(judgement.zscore) >= threshold;
  return judgement;
}

void MetricBank::Track(const hc_observation& observation, size_t metric, double value,
                       const Judgement& judgement, std::vector<Anomaly>* out) {
  Series& series = series_[metric];
  const MetricDef& def = Metrics()[metric];
  const hc_settings& settings = *observation.settings;
  const double threshold = settings.anomaly_threshold;
  const double deviation = judgement.deviation;
  const double size = std::abs(deviation);
  const int sign = deviation < 0 ? -1 : 1;

  if (size < threshold || !IsBad(def.bad, deviation)) {
    if (!series.raised) series.abnormal = 0;
    series.recent[static_cast<size_t>(series.next_recent)] = deviation;
    series.next_recent = (series.next_recent + 1) % kRecent;
    series.n_recent = std::min(series.n_recent + 1, kRecent);
    if (size >= threshold * kCalmShare && IsBad(def.bad, deviation)) {
      series.calm = 0;  // between the two limits: neither over nor worse
      if (series.raised) ++series.abnormal;
      return;
    }
    if (++series.calm >= Confirmations(settings)) {
      series.raised = false;
      series.abnormal = 0;
    }
    return;
  }

  series.calm = 0;
  if (series.abnormal == 0 || (sign != series.sign && !series.raised)) {
    series.abnormal = 0;
    series.first = value;
  }
  series.sign = sign;
  series.abnormal = std::min(series.abnormal + 1, 1 << 20);
  if (series.raised || series.abnormal < Confirmations(settings)) return;
  series.raised = true;

  Anomaly anomaly;
  anomaly.confidence = Confidence(size, threshold, judgement.both, static_cast<double>(series.zscore.count()),
                                  std::max(1, settings.min_baseline_samples));
  if (anomaly.confidence < settings.min_confidence) {
    series.raised = false;  // a stronger sample of the same burst may follow
    return;
  }
  anomaly.metric = static_cast<hc_metric_id>(metric);
  anomaly.def = &def;
  anomaly.observed_at = observation.now_us;
  anomaly.value = value;
  anomaly.score = size;
  anomaly.method = judgement.by_iqr ? "iqr" : "zscore";
  anomaly.direction = sign > 0 ? "up" : "down";
  anomaly.shape = Shape(series, value, Confirmations(settings));
  out->push_back(anomaly);
}

// What the burst looks like when it is confirmed.
const char* MetricBank::Shape(const Series& series, double value, int confirmations) const {
  const double mean = series.zscore.mean();
  if (series.sign < 0 && mean > 0 && value <= 0.01 * mean) return "void";
  double before = 0;
  for (int i = 0; i < series.n_recent; ++i) {
    before += series.recent[static_cast<size_t>(i)] * series.sign;
  }
  // Was it on its way for a while? Noise alone averages to nothing.
  if (series.n_recent == kRecent && before >= kRecent) return "drift";
  if (confirmations < 2) return "spike";
  // Both ends of the streak alike: it stands on a new level.
  const double reached = std::abs(value - mean);
  return std::abs(value - series.first) <= 0.5 * reached ? "level_shift" : "spike";
}

// Samples before a value is judged.
size_t MetricBank::Needed(const hc_settings& settings) const {
  return static_cast<size_t>(std::clamp(settings.min_baseline_samples, 2, window_));
}

bool MetricBank::MayLearn(const Series& series, const hc_settings& settings) const {
  if (frozen_) return false;
  const bool complete = series.zscore.count() >= Needed(settings);
  if (settings.auto_baseline == 0 && complete) return false;
  return series.abnormal == 0 || series.abnormal > kHeldBack;
}

void MetricBank::Publish(const hc_observation& observation, size_t metric, double value, double zscore) {
  const Series& series = series_[metric];
  hc_metric_status& status = status_[metric];
  status.value = value;
  status.zscore = zscore;
  status.samples = static_cast<int64_t>(series.zscore.count());
  status.observed_at = observation.now_us;
  if (series.zscore.count() < Needed(*observation.settings)) return;
  const double q1 = series.iqr.q1();
  const double q3 = series.iqr.q3();
  const double reach = observation.settings->iqr_multiplier * (q3 - q1);
  status.baseline_mean = series.zscore.mean();
  status.baseline_stddev = series.zscore.stddev();
  status.iqr_low = q1 - reach;
  status.iqr_high = q3 + reach;
}

}  // namespace heal
