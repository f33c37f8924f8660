#include "detect/series_detector.h"

#include <algorithm>
#include <cmath>

namespace heal {
namespace {

// Beyond these, differences and quotients of values could leave the range of a
// double; nearer to zero, nothing a server measures differs from zero.
constexpr double kLargest = 1e150;
constexpr double kSmallest = 1e-130;
// Changes below this share of the level, or of the usual spread, are rounding.
constexpr double kLevelRounding = 1e-9;
constexpr double kSpreadRounding = 1e-3;
// The least width of a feature that is a logarithm: 2 %.
constexpr double kLogFloor = 0.02;
constexpr double kEvidenceFloor = 0.05;  // nats
// How long an anomaly's shape may be revised, and from when.
constexpr int kShapeSamples = 12;
constexpr int kShapeKnown = 4;

// asinh, in a third of the time; what rounding loses near 0 does not count here.
double Logarithm(double value) {
  const double size = std::fabs(value);
  const double logarithm = size > 1e8 ? std::log(2 * size) : std::log(size + std::sqrt(size * size + 1));
  return value < 0 ? -logarithm : logarithm;
}

}  // namespace

const char* SeriesShapeName(SeriesShape shape) {
  switch (shape) {
    case SeriesShape::kSpike:
      return "spike";
    case SeriesShape::kLevelShift:
      return "level_shift";
    case SeriesShape::kDrift:
      return "drift";
    case SeriesShape::kVoid:
      return "void";
  }
  return "spike";
}

SeriesDetector::SeriesDetector(const SeriesDetectorSettings& settings)
    : settings_(settings), day_(24, settings.season_gain), week_(168, settings.season_gain) {}

double SeriesDetector::Observe(int64_t time_us, double value) {
  raised_ = false;
  evidence_ = 0;
  if (!std::isfinite(value)) return 0;
  value = std::fabs(value) < kSmallest ? 0 : std::clamp(value, -kLargest, kLargest);
  Measure(value);
  evidence_ = Gather(time_us, value);
  return Decide(time_us, value);
}

// While few values are known a mean is that of all of them.
void SeriesDetector::UpdateGains() {
  const auto gain = [this](double span) { return 1 / std::min(samples_, span); };
  gains_ = {gain(settings_.memory), gain(settings_.fast),       gain(settings_.medium),
            gain(settings_.slow),   gain(settings_.volatility), gain(settings_.evidence)};
}

// Level and spread, from which follows what is too small to be told apart.
void SeriesDetector::Measure(double value) {
  const bool first = samples_ == 0;
  if (samples_ < settings_.memory + settings_.slow) {
    ++samples_;
    UpdateGains();
  }
  if (first) last_ = fast_ = medium_ = slow_ = value;
  mean_ += (value - mean_) * gains_.memory;
  spread_ += (std::fabs(value - mean_) - spread_) * gains_.memory;
  floor_ = kLevelRounding * std::fabs(mean_) + kSpreadRounding * spread_ + kSmallest;
}

void SeriesDetector::Feel(Feature feature, double value, double floor) {
  values_[feature] = value;
  floors_[feature] = floor;
  active_[feature] = -1;
}

// Evidence of all features. Every feature is judged before it learns the value.
double SeriesDetector::Gather(int64_t time_us, double value) {
  const double step = value - last_;
  last_ = value;
  Feel(kValue, value, floor_);
  Feel(kStep, step, floor_);
  Feel(kDeparture, value - medium_, floor_);
  fast_ += (value - fast_) * gains_.fast;
  medium_ += (value - medium_) * gains_.medium;
  slow_ += (value - slow_) * gains_.slow;
  volatility_ += (std::fabs(step) - volatility_) * gains_.volatility;
  Feel(kFastMean, fast_, floor_);
  Feel(kSlowMean, slow_, floor_);
  Feel(kFastContrast, fast_ - slow_, floor_);
  Feel(kMediumContrast, medium_ - slow_, floor_);
  repeats_ = step == 0 ? std::min(repeats_ + 1, settings_.memory) : 0;
  Feel(kRepeats, repeats_ == 0 ? 0 : std::log(1 + repeats_), kLogFloor);
  Feel(kVolatility, std::log(volatility_ + floor_), kLogFloor);
  const double day = FeelSeason(time_us, value, &day_, kDayResidual, 3);
  const double week = FeelSeason(time_us, value, &week_, kWeekResidual, 2);
  const double novelty = novelty_.Learn(value);
  active_[kNovelty] = 0;
  if (novelty >= 0) Feel(kNovelty, std::log(novelty + floor_), kLogFloor);
  const double logarithm = Logarithm(value / (floor_ / kSpreadRounding));
  if (samples_ == 1) log_fast_ = log_slow_ = logarithm;
  log_fast_ += (logarithm - log_fast_) * gains_.fast;
  log_slow_ += (logarithm - log_slow_) * gains_.slow;
  Feel(kLogContrast, log_fast_ - log_slow_, kLogFloor);

  channels_.Learn(values_, floors_, active_, settings_, &evidences_);
  for (const Feature feature : {kDayResidual, kDayFast, kDayMedium}) evidences_[feature] *= day;
  for (const Feature feature : {kWeekResidual, kWeekFast}) evidences_[feature] *= week;
  return Weigh();
}

double SeriesDetector::Weigh() {
  const EvidenceChannels::Lanes& e = evidences_;
  static_assert(kNovelty == 12);
  // In four parts, which do not wait for each other.
  double sum = ((e[0] + e[1]) + (e[2] + e[3])) + ((e[4] + e[5]) + (e[6] + e[7])) + ((e[8] + e[9]) + (e[10] + e[11])) + e[12];
  persistence_ += (sum - persistence_) * gains_.evidence;
  if (samples_ > settings_.warm_up) sum += persistent_.Learn(persistence_, kEvidenceFloor, settings_);
  return sum + evidences_[kFastContrast] + evidences_[kMediumContrast] + evidences_[kLogContrast];
}

// Residuals count by the share of the variation their profile explains: nothing
// where it explains none, fully from one half. Returns that weight.
double SeriesDetector::FeelSeason(int64_t time_us, double value, Season* season, Feature first, size_t features) {
  std::fill_n(active_.begin() + first, features, 0);
  double usual = 0;
  const bool known = season->profile.Usual(time_us, &usual);
  season->profile.Learn(time_us, value);
  if (!known) return 0;
  const double residual = value - usual;
  if (season->count < settings_.memory) season->gain = 1 / ++season->count;
  const double limit = 4 * season->error + floor_ / kSpreadRounding;
  season->error += (std::min(std::fabs(residual), limit) - season->error) * season->gain;
  season->spread += (std::fabs(value - mean_) - season->spread) * season->gain;
  const double explained = 1 - season->error / (season->spread + floor_);
  if (explained <= 0) {
    season->fast = season->medium = 0;
    return 0;
  }
  season->fast += (residual - season->fast) * gains_.fast;
  season->medium += (residual - season->medium) * gains_.medium;
  const std::array<double, 3> values = {residual, season->fast, season->medium};
  for (size_t i = 0; i < features; ++i) Feel(static_cast<Feature>(first + i), values[i], floor_);
  return std::min(1.0, 2 * explained);
}

// Raises where the evidence reaches the bar; otherwise the score stays below 0.5.
double SeriesDetector::Decide(int64_t time_us, double value) {
  habituation_ -= habituation_ / settings_.habituation_memory;
  if (evidence_ < settings_.raise_at / 4) {
    in_streak_ = false;
  } else if (!in_streak_) {
    in_streak_ = true;
    streak_us_ = time_us;
  }
  const double bar = settings_.raise_at * (1 + habituation_);
  const double score = 1 - std::exp2(-evidence_ / bar);
  if (rest_ > 0) {
    --rest_;
    Revise(value);
    return score / 2;
  }
  if (evidence_ < bar) return score;
  Begin(time_us, value);
  return score;
}

void SeriesDetector::Begin(int64_t time_us, double value) {
  raised_ = true;
  rest_ = settings_.rest;
  habituation_ += settings_.habituation;
  onset_us_ = in_streak_ ? streak_us_ : time_us;
  level_before_ = slow_;
  displacement_ = value - slow_;
  followed_ = stayed_ = 0;
  direction_ = displacement_ < 0 ? -1 : 1;
  const double sudden = std::max({evidences_[kStep], evidences_[kDeparture], evidences_[kDayResidual]});
  const double slow = std::max({evidences_[kFastMean], evidences_[kSlowMean], evidences_[kFastContrast],
                                evidences_[kMediumContrast], evidences_[kDayMedium]});
  if (channels_.side(kVolatility) < 0 && evidences_[kVolatility] > std::max(sudden, slow)) {
    shape_ = SeriesShape::kVoid;
  } else {
    shape_ = sudden > 0 ? SeriesShape::kSpike : SeriesShape::kDrift;
  }
}

// What jumped and stays is a shift of the level.
void SeriesDetector::Revise(double value) {
  if (shape_ != SeriesShape::kSpike && shape_ != SeriesShape::kLevelShift) return;
  if (followed_ >= kShapeSamples) return;
  ++followed_;
  if ((value - level_before_) * direction_ > std::fabs(displacement_) / 2) ++stayed_;
  if (followed_ < kShapeKnown) return;
  shape_ = 2 * stayed_ > followed_ ? SeriesShape::kLevelShift : SeriesShape::kSpike;
}

}  // namespace heal
