#include "detect/metric_series.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

namespace heal {
namespace {

constexpr double kLargestScore = 1000;
constexpr double kCalmShare = 0.5;    // of a limit: hysteresis
constexpr double kNormalIqr = 1.349;  // interquartile range of N(0, 1)
constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
// Squares and differences of such values stay finite.
constexpr double kLargestValue = 1e150;

// Evidence counts where the value itself is off by so much at least.
constexpr double kLeastBadness = 1;
// What lies this much further out than on the days before is still usual.
constexpr double kUsualMargin = 0.25;
// Largest values the tail of the anomaly score is estimated from, as a share.
constexpr double kTailShare = 0.02;

// Where the tails of the statistics begin, and what is taken for usual at first.
constexpr Rarity::Options kTails[] = {{.start = 1.5, .prior_share = 0.02, .prior_excess = 0.5, .young = 1},
                                      {.start = 10, .prior_share = 0.02, .prior_excess = 5, .young = 2},
                                      {.start = 0.6, .prior_share = 0.05, .prior_excess = 0.13, .young = 3},
                                      {.start = 0.5, .prior_share = 0.05, .prior_excess = 0.12, .young = 3}};
constexpr double kFastGain = 1.0 / 8;  // of the means
constexpr double kSlowGain = 1.0 / 32;
constexpr double kLargestPart = 6;  // of one deviation in them
constexpr double kLeastMean = 1.25;  // deviations that a mean must reach
constexpr int kLearntOfBurst = 10;   // samples: what happens often is usual
constexpr double kYoungNats = 7;  // of a first sample, on top of the bar
constexpr double kYoungSamples = 200;
constexpr double kHeldBackFades = 1000;  // samples for each one kept out
// A value alone that is further out than any before is learnt as if it were this
// many ranges further out: one record must not hide the next.
constexpr double kLargestRecord = 3;

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

double Clamp(double score) { return std::clamp(score, -kLargestScore, kLargestScore); }

int Confirmations(const hc_settings& settings, size_t most) {
  return std::clamp(settings.confirm_samples, 1, static_cast<int>(most));
}

// At the limit 0.75, near 1 far beyond it; less where the methods disagree or the
// baseline is young.
double Confidence(double reached, double limit, bool both, double samples, double min_samples) {
  const double strength = 1 - 0.25 * std::min(1.0, limit / reached);
  const double age = std::min(1.0, 0.9 + 0.1 * samples / (3 * min_samples));
  return strength * age * (both ? 1 : 0.95);
}

SeriesDetectorSettings DetectorSettings() {
  SeriesDetectorSettings settings;
  settings.raise_at = MetricSeries::kSeriesBar;
  return settings;
}

template <size_t kSize>
double LeastOf(const std::array<double, kSize>& ring, size_t next, int n) {
  double least = std::numeric_limits<double>::max();
  for (int i = 1; i <= n; ++i) least = std::min(least, ring[(next + kSize - static_cast<size_t>(i)) % kSize]);
  return least;
}

}  // namespace

double QuantumOf(const char* unit) {
  for (const Quantum& known : kQuanta) {
    if (std::string_view(unit) == known.unit) return known.value;
  }
  return 1e-9;
}

hc_metric_status MetricSeries::UnknownStatus() {
  return {kUnknown, kUnknown, kUnknown, kUnknown, kUnknown, kUnknown, kUnknown, kUnknown, 0, 0};
}

void MetricSeries::Redefine(const MetricTraits& traits) {
  Reset();
  traits_ = traits;
  has_last_ = false;
  event_ = 0;
}

void MetricSeries::Reset() {
  learnt_.reset();
  status_ = UnknownStatus();
  deviation_ = badness_ = kUnknown;
  calm_ = streak_ = n_recent_ = 0;
  held_back_ = fast_mean_ = slow_mean_ = 0;
  keep_out_ = raised_ = false;
  since_raised_ = 1 << 20;
  badnesses_.fill(0);
  evidences_.fill(0);
}

size_t MetricSeries::Bytes() const {
  if (!learnt_) return sizeof(*this);
  return sizeof(*this) + sizeof(Learnt) + learnt_->values.window() * (sizeof(double) + sizeof(uint16_t)) +
         192 * 2 * sizeof(double);  // the seasonal profiles
}

double MetricSeries::ValueOf(double raw, int64_t at_us) {
  if (!std::isfinite(raw)) return kUnknown;
  if (traits_.kind == MetricKind::kGauge) return std::clamp(raw, -kLargestValue, kLargestValue);
  const double change = raw - last_raw_;
  // As doubles: the difference of two clocks may overflow an integer.
  const double elapsed = static_cast<double>(at_us) - static_cast<double>(last_us_);
  const bool usable = has_last_ && change >= 0 && elapsed > 0;
  last_raw_ = raw;
  last_us_ = at_us;
  has_last_ = true;
  const double rate = usable ? change * 1e6 / elapsed : kUnknown;
  if (usable && traits_.events) event_ = std::min(1e6 / elapsed, kLargestValue);
  return std::isfinite(rate) ? std::min(rate, kLargestValue) : kUnknown;
}

size_t MetricSeries::Needed(const SeriesTick& tick) const {
  return static_cast<size_t>(std::clamp(tick.settings->min_baseline_samples, 2, tick.window));
}

double MetricSeries::Usual(const hc_settings& settings) const {
  const auto needed = static_cast<size_t>(std::max(settings.min_baseline_samples, 2));
  return learnt_ && learnt_->values.count() >= needed ? learnt_->moments.mean() : kUnknown;
}

bool MetricSeries::Observe(const SeriesTick& tick, double value, Anomaly* out) {
  if (!std::isfinite(value)) {
    // Neither abnormal nor calm: a burst in progress stays as it is.
    deviation_ = badness_ = kUnknown;
    Publish(tick, kUnknown, kUnknown, kUnknown);
    return false;
  }
  if (!learnt_ || learnt_->values.window() != static_cast<size_t>(tick.window)) {
    Reset();  // a new window size starts the baseline afresh
    learnt_ = std::make_unique<Learnt>(tick.window, DetectorSettings());
  }
  // Needed after the detector, which takes longer than these need to come.
  __builtin_prefetch(&learnt_->late[learnt_->next_late]);
  learnt_->values.Prefetch();
  bool began = false;
  double zscore = kUnknown;
  double score = kUnknown;
  deviation_ = badness_ = kUnknown;
  const bool complete = learnt_->values.count() >= Needed(tick);
  const bool learns = !tick.frozen && (tick.settings->auto_baseline != 0 || !complete);
  if (learns) learnt_->detector.Observe(tick.now_us, value);
  if (complete) {
    const Judgement judgement = Judge(tick, value);
    zscore = judgement.zscore;
    deviation_ = judgement.deviation;
    badness_ = judgement.badness;
    score = ScoreOf(value, judgement.least);
    began = Track(tick, value, judgement, out);
  }
  if (learns) Learn(tick, value);
  Publish(tick, value, zscore, score);
  return began;
}

// Deviations of the value; of a metric that follows the load, those of what is
// left when the load is as usual.
MetricSeries::Judgement MetricSeries::Judge(const SeriesTick& tick, double value) const {
  const double threshold = tick.settings->anomaly_threshold;
  const double mean = learnt_->moments.mean();
  Judgement judgement;
  judgement.least = std::max({traits_.quantum, event_, 0.01 * std::abs(mean)});
  const double deviation = std::max(learnt_->moments.stddev(), judgement.least);
  judgement.zscore = Clamp((value - mean) / deviation);

  double judged = value;
  if (traits_.follows_load && tick.load > 1 && value > mean) judged = std::max(mean, value / tick.load);
  const double plain = Clamp((judged - mean) / deviation);
  const double q1 = learnt_->q1;
  const double q3 = learnt_->q3;
  const double range = q3 - q1;
  const double reach = tick.settings->iqr_multiplier * range;
  // A baseline that is mostly one value has no quartile range to measure with.
  if (range > judgement.least * kNormalIqr && (judged < q1 - reach || judged > q3 + reach)) {
    judgement.robust = Clamp((judged - learnt_->median) * kNormalIqr / range);
  }
  judgement.by_iqr = std::abs(judgement.robust) > std::abs(plain);
  judgement.deviation = judgement.by_iqr ? judgement.robust : plain;
  judgement.badness = Bad(judgement.deviation);
  judgement.both = std::abs(judgement.robust) >= threshold && std::abs(plain) >= threshold;
  return judgement;
}

double MetricSeries::Bad(double deviation) const {
  switch (traits_.bad) {
    case BadDirection::kUp:
      return deviation;
    case BadDirection::kDown:
      return -deviation;
    case BadDirection::kBoth:
      return std::abs(deviation);
    case BadDirection::kNone:
      break;
  }
  return 0;
}

// 1 - p, p the probability of a value that far out on either side: by rank among
// the values of the window, beyond the farthest by a tail of which a share of
// (1 + distance / mean)^-2 is further out, the mean being that of the farthest
// fiftieth: heavier than most, so that it errs to the side of too low a score. Calibrated as long as values are
// exchangeable: ranks of the new one are all equally likely.
double MetricSeries::ScoreOf(double value, double least) {
  RollingIqr& values = learnt_->values;
  const size_t n = values.count();
  const double middle = learnt_->median;
  if (std::abs(value - middle) < least) return 0;
  const bool above = value > middle;
  const size_t beyond = above ? n - values.CountBelow(value) : values.CountUpTo(value);
  const double of = static_cast<double>(n + 1);
  if (beyond > 0) return std::max(0.0, 1 - 2 * static_cast<double>(beyond + 1) / of);
  const size_t tail = std::min(n - 1, static_cast<size_t>(4 + kTailShare * static_cast<double>(n)));
  const double start = values.At(above ? n - 1 - tail : tail);
  double sum = 0;
  for (size_t i = 0; i < tail; ++i) sum += std::abs(values.At(above ? n - 1 - i : i) - start);
  const double mean = std::max(sum / static_cast<double>(tail), least / 4);
  const double further = std::abs(value - values.At(above ? n - 1 : 0));
  const double share = 1 / (1 + further / mean);
  return 1 - std::min(1.0, 2 / of * share * share);
}

// What is compared with the past, of this sample and those before it.
MetricSeries::Statistics MetricSeries::Gather(const SeriesTick& tick, const Judgement& judgement, double evidence) {
  const double part = std::clamp(judgement.deviation, -kLargestPart, kLargestPart);
  fast_mean_ += (part - fast_mean_) * kFastGain;
  slow_mean_ += (part - slow_mean_) * kSlowGain;
  badnesses_[next_held_] = judgement.badness;
  evidences_[next_held_] = evidence;
  next_held_ = (next_held_ + 1) % kHeld;
  const int confirmations = Confirmations(*tick.settings, kHeld);
  const double held = LeastOf(badnesses_, next_held_, confirmations);
  // A jump is evident once; what must be held since is where it went.
  double evident = 0;
  for (size_t i = static_cast<size_t>(confirmations); i <= std::min(static_cast<size_t>(confirmations) + 1, kHeld); ++i) {
    evident = std::max(evident, evidences_[(next_held_ + kHeld - i) % kHeld]);
  }
  return {held, held >= kLeastBadness ? evident : 0, Bad(fast_mean_), Bad(slow_mean_)};
}

bool MetricSeries::Track(const SeriesTick& tick, double value, const Judgement& judgement, Anomaly* out) {
  const hc_settings& settings = *tick.settings;
  const double threshold = settings.anomaly_threshold;
  const double distance = std::abs(value - learnt_->moments.mean());
  const bool counts = judgement.badness >= kLeastBadness && distance >= threshold * judgement.least;
  const double evidence = counts && !tick.frozen ? learnt_->detector.evidence() : 0;
  const Statistics statistics = Gather(tick, judgement, evidence);
  const Statistics limits = {threshold, kSeriesBar, kLeastMean, kLeastMean};

  since_raised_ = std::min(since_raised_ + 1, 1 << 20);
  const bool deviates = judgement.badness >= threshold;
  if (deviates || (counts && std::max(statistics[kFastMean], statistics[kSlowMean]) >= kLeastMean)) {
    if (streak_++ == 0) {
      streak_us_ = tick.now_us;
      first_ = value;
    }
  } else {
    streak_ = 0;
  }
  Calm(tick, judgement, evidence);
  keep_out_ = deviates && (raised_ || (streak_ > 1 && IsNew(value)));

  // How far the best of them is beyond its limits; 1 and more is an anomaly.
  double reached = 0;
  Statistic best = kHeldDeviation;
  if (!raised_) {
    for (size_t i = 0; i < kStatistics; ++i) {
      if (statistics[i] < limits[i]) continue;
      if (i != kHeldDeviation && (!counts || since_raised_ <= kSeriesRest)) continue;
      const double rarity = learnt_->rarities[i].Of(statistics[i], kTails[i]) / Bar(static_cast<Statistic>(i));
      if (rarity < 1) continue;
      reached = rarity;
      best = static_cast<Statistic>(i);
      break;  // in the order of their names
    }
  }
  if (reached < 1 || Usually(tick.now_us, value)) {
    if (!tick.frozen && (!raised_ || since_raised_ < kLearntOfBurst)) LearnRarity(statistics);
    return false;
  }

  Anomaly anomaly;
  const double samples = static_cast<double>(learnt_->values.count());
  const double min_samples = std::max(1, settings.min_baseline_samples);
  anomaly.confidence =
      best == kHeldDeviation ? Confidence(std::abs(judgement.deviation), threshold, judgement.both, samples, min_samples)
                             : Confidence(statistics[best], limits[best], true, samples, min_samples);
  if (anomaly.confidence < settings.min_confidence) return false;  // a stronger sample may follow
  raised_ = true;
  since_raised_ = 0;
  anomaly.def = &traits_;
  anomaly.observed_at = tick.now_us;
  anomaly.onset_at = streak_us_;
  anomaly.value = value;
  anomaly.score = std::abs(judgement.deviation);
  anomaly.method = best != kHeldDeviation ? "series" : judgement.by_iqr ? "iqr" : "zscore";
  anomaly.direction = judgement.deviation > 0 ? "up" : "down";
  anomaly.shape = ShapeNow(settings, value);
  *out = anomaly;
  return true;
}

// In nats; more while the baseline is young and knows little of its own tails.
double MetricSeries::Bar(Statistic statistic) const {
  const double samples = static_cast<double>(learnt_->values.count());
  const double youth = kYoungNats * std::max(0.0, 1 - samples / kYoungSamples);
  return (statistic == kHeldDeviation ? kAlarmNats : kSeriesNats) + youth;
}

// Beyond all values of the window.
bool MetricSeries::IsNew(double value) const {
  const RollingIqr& values = learnt_->values;
  return value > values.At(values.count() - 1) || value < values.At(0);
}

void MetricSeries::LearnRarity(const Statistics& statistics) {
  Learnt& to = *learnt_;
  std::array<float, kStatistics>& slot = to.late[to.next_late];
  for (size_t i = 0; i < kStatistics; ++i) {
    if (to.n_late == kLag) to.rarities[i].Learn(static_cast<double>(slot[i]), kTails[i]);
    slot[i] = static_cast<float>(statistics[i]);
  }
  to.n_late = std::min(to.n_late + 1, kLag);
  to.next_late = (to.next_late + 1) % kLag;
}

// The value was reached at this time on other days.
bool MetricSeries::Usually(int64_t now_us, double value) const {
  if (!learnt_) return false;
  const double mean = learnt_->moments.mean();
  if (value > mean) {
    const double high = learnt_->hours.High(now_us);
    return high > mean && value <= high + kUsualMargin * (high - mean);
  }
  const double low = learnt_->hours.Low(now_us);
  return low < mean && value >= low - kUsualMargin * (mean - low);
}

void MetricSeries::Calm(const SeriesTick& tick, const Judgement& judgement, double evidence) {
  const hc_settings& settings = *tick.settings;
  if (judgement.badness < settings.anomaly_threshold) {
    recent_[next_recent_] = judgement.deviation;
    next_recent_ = (next_recent_ + 1) % kRecent;
    n_recent_ = std::min(n_recent_ + 1, static_cast<int>(kRecent));
  }
  if (judgement.badness >= settings.anomaly_threshold * kCalmShare || evidence >= kSeriesBar * kCalmShare) {
    calm_ = 0;  // between the two limits: neither over nor worse
  } else if (++calm_ >= Confirmations(settings, kHeld)) {
    raised_ = false;
  }
}

void MetricSeries::Learn(const SeriesTick& tick, double value) {
  learnt_->hours.Learn(tick.now_us, value);
  if (keep_out_ && held_back_ < kHeldBack) {
    ++held_back_;
    return;
  }
  if (!keep_out_) held_back_ = std::max(0.0, held_back_ - 1 / kHeldBackFades);
  const size_t count = learnt_->values.count();
  if (count >= Needed(tick)) {
    const double low = learnt_->values.At(0);
    const double high = learnt_->values.At(count - 1);
    const double reach = kLargestRecord * (high - low) + 10 * traits_.quantum + 0.1 * std::abs(learnt_->moments.mean());
    value = std::clamp(value, low - reach, high + reach);
  }
  const bool was_full = learnt_->values.full();
  const double old = learnt_->values.Push(value);
  if (was_full) {
    learnt_->moments.Replace(old, value, learnt_->values.values());
  } else {
    learnt_->moments.Append(value, learnt_->values.values());
  }
  learnt_->q1 = learnt_->values.q1();
  learnt_->median = learnt_->values.median();
  learnt_->q3 = learnt_->values.q3();
}

// What the burst looks like now.
const char* MetricSeries::ShapeNow(const hc_settings& settings, double value) const {
  const double mean = learnt_->moments.mean();
  const double sign = value < mean ? -1 : 1;
  if (sign < 0 && mean > 0 && value <= 0.01 * mean) return "void";
  double before = 0;
  for (int i = 0; i < n_recent_; ++i) before += recent_[static_cast<size_t>(i)] * sign;
  // Was it on its way for a while? Noise alone averages to nothing.
  if (n_recent_ == static_cast<int>(kRecent) && before >= static_cast<double>(kRecent)) return "drift";
  if (Confirmations(settings, kHeld) < 2) return "spike";
  // Both ends of the streak alike: it stands on a new level.
  const double reached = std::abs(value - mean);
  return std::abs(value - first_) <= 0.5 * reached ? "level_shift" : "spike";
}

void MetricSeries::Publish(const SeriesTick& tick, double value, double zscore, double score) {
  status_.value = value;
  status_.zscore = zscore;
  status_.anomaly_score = score;
  status_.observed_at = tick.now_us;
  if (!learnt_) return;
  const RollingIqr& values = learnt_->values;
  status_.samples = static_cast<int64_t>(values.count());
  if (values.count() < Needed(tick)) return;
  const double q1 = learnt_->q1;
  const double q3 = learnt_->q3;
  const double reach = tick.settings->iqr_multiplier * (q3 - q1);
  status_.baseline_mean = learnt_->moments.mean();
  status_.baseline_stddev = learnt_->moments.stddev();
  status_.iqr_low = q1 - reach;
  status_.iqr_high = q3 + reach;
}

}  // namespace heal
