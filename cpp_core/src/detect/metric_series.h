// metric_series.h: a baseline and an anomaly detector for one metric.

#ifndef HEAL_CORE_DETECT_METRIC_SERIES_H_
#define HEAL_CORE_DETECT_METRIC_SERIES_H_

#include <array>
#include <cstdint>
#include <memory>

#include "catalogue/metrics.h"
#include "detect/rarity.h"
#include "detect/rolling_iqr.h"
#include "detect/rolling_zscore.h"
#include "detect/series_detector.h"
#include "detect/usual_hours.h"
#include "heal_core/decisions.h"
#include "heal_core/observation.h"

namespace heal {

// What a series is of. Strings outlive it.
struct MetricTraits {
  const char* name = "";
  const char* component = "";
  const char* category = "";
  MetricKind kind = MetricKind::kGauge;
  BadDirection bad = BadDirection::kNone;
  double quantum = 1e-9;      // a smaller change means nothing
  bool follows_load = false;  // twice the transactions, twice the value
  bool events = false;        // the rate of single events: one more or less means nothing
};

// The quantum of a metric of that unit.
double QuantumOf(const char* unit);

// One burst of abnormal values of one metric. Strings live as long as the metric.
struct Anomaly {
  hc_metric_id metric = HC_METRIC_COUNT;  // HC_METRIC_COUNT: a user's
  const MetricTraits* def = nullptr;
  int64_t observed_at = 0;
  int64_t onset_at = 0;  // the first value that was odd
  double value = 0;
  double score = 0;            // deviations from the baseline, at most 1000
  const char* method = "";     // zscore iqr series forest
  const char* shape = "";      // spike level_shift drift void
  const char* direction = "";  // up down
  double confidence = 0;       // 0..1
};

// What all series of a tick share.
struct SeriesTick {
  const hc_settings* settings = nullptr;
  int64_t now_us = 0;
  int window = 0;
  double load = 1;      // transactions over the usual ones, 1..20
  bool frozen = false;  // nothing is learnt
};

// A value is judged in three ways, each by the values before it:
//   zscore  deviations from the mean of the window
//   iqr     beyond iqr_multiplier quartile ranges, in deviations
//   series  evidence that the course of the series changed (SeriesDetector),
//           which sees slow drifts and small shifts of the level
// It is odd where a deviation reaches anomaly_threshold, or the evidence
// kSeriesBar, in the metric's bad direction. An anomaly is raised when that holds for
// confirm_samples in a row, is rarer than kAlarmNats in the metric's own past
// (Rarity), was not reached at that hour on two of the last three days
// (UsualHours), and is not what the load explains. One burst is one anomaly: the next
// is raised after as many calm samples (half of the limits).
// Learning: abnormal values are kept out of the baseline for the first 30 samples
// of a burst; while frozen everything is.
// Memory: fixed once the first value was seen, see Bytes(); no allocation then.
class MetricSeries {
 public:
  // The bars for users. With them a week of each kind of healthy load of
  // test/core/healthy_load.h, from the first sample on, raises 4e-6 to 8e-6 per metric
  // and sample, half of it on the first day; heal-silence measures it. The
  // detector's own bar of 27 nats would raise one of 1400 samples of plain noise.
  static constexpr double kSeriesBar = 45;  // nats of evidence
  static constexpr double kAlarmNats = 14;   // rarer than e^-14, one in a million
  static constexpr double kSeriesNats = 12;  // of the evidence and the means, whose samples hang together

  explicit MetricSeries(const MetricTraits& traits = {}) : traits_(traits) {}

  const MetricTraits& traits() const { return traits_; }
  void Redefine(const MetricTraits& traits);

  // The gauge, or the counter's rate since the last sample; NaN where unknown. A
  // fall of a counter is a reset and gives no value. at_us: the clock of rates.
  double ValueOf(double raw, int64_t at_us);

  // Judges, then learns. Returns whether an anomaly began.
  bool Observe(const SeriesTick& tick, double value, Anomaly* out);

  // Forgets what it learnt.
  void Reset();

  // The mean of the baseline; NaN until it is known.
  double Usual(const hc_settings& settings) const;
  // Deviation of the last value, allowing for the load; NaN where unknown.
  double deviation() const { return deviation_; }
  // The same in the bad direction: positive is bad.
  double badness() const { return badness_; }
  bool raised() const { return raised_; }
  // It was as far out at this time on other days.
  bool Usually(int64_t now_us, double value) const;
  const char* ShapeNow(const hc_settings& settings, double value) const;

  hc_metric_status& status() { return status_; }
  const hc_metric_status& status() const { return status_; }
  size_t Bytes() const;

 private:
  static constexpr size_t kRecent = 8;   // deviations before a streak
  static constexpr size_t kHeld = 16;    // most samples of a confirmation
  static constexpr size_t kLag = 128;    // samples until a deviation counts as usual
  static constexpr double kHeldBack = 30;  // a level that lasts for longer is the new normal
  static constexpr int kSeriesRest = 75; // samples between anomalies of the evidence alone

  // What is compared with the metric's own past.
  enum Statistic : size_t {
    kHeldDeviation,  // the least bad deviation of a confirmation
    kHeldEvidence,   // the least evidence of a confirmation
    kFastMean,       // bad deviation, mean over some samples, and over many
    kSlowMean,
    kStatistics
  };
  using Statistics = std::array<double, kStatistics>;

  // What was learnt; created with the first value.
  struct Learnt {
    Learnt(int window, const SeriesDetectorSettings& settings)
        : values(static_cast<size_t>(window)), detector(settings) {}
    RollingIqr values;
    RollingMoments moments;
    double q1 = 0, median = 0, q3 = 0;  // of the values
    SeriesDetector detector;
    UsualHours hours;
    std::array<Rarity, kStatistics> rarities;
    // What these learn, some samples late: what creeps up is not to make itself
    // usual before it is raised.
    std::array<std::array<float, kStatistics>, kLag> late;
    size_t n_late = 0;
    size_t next_late = 0;
  };

  struct Judgement {
    double zscore = 0;
    double robust = 0;
    double deviation = 0;  // signed, of the better method, allowing for the load
    double badness = 0;
    double least = 0;      // difference that means something
    bool by_iqr = false;
    bool both = false;
  };

  Judgement Judge(const SeriesTick& tick, double value) const;
  double Bad(double deviation) const;
  double ScoreOf(double value, double least);
  bool Track(const SeriesTick& tick, double value, const Judgement& judgement, Anomaly* out);
  Statistics Gather(const SeriesTick& tick, const Judgement& judgement, double evidence);
  bool IsNew(double value) const;
  double Bar(Statistic statistic) const;
  void LearnRarity(const Statistics& statistics);
  void Calm(const SeriesTick& tick, const Judgement& judgement, double evidence);
  void Learn(const SeriesTick& tick, double value);
  void Publish(const SeriesTick& tick, double value, double zscore, double score);
  size_t Needed(const SeriesTick& tick) const;

  MetricTraits traits_;
  std::unique_ptr<Learnt> learnt_;
  hc_metric_status status_ = UnknownStatus();

  double last_raw_ = 0;
  int64_t last_us_ = 0;
  double event_ = 0;  // rate of one event since the last sample
  bool has_last_ = false;

  double deviation_ = 0;
  double badness_ = 0;
  // The burst in progress.
  double held_back_ = 0;  // values kept out of the baseline, fading
  bool keep_out_ = false;
  int calm_ = 0;  // consecutive calm samples
  bool raised_ = false;
  int streak_ = 0;  // odd samples in a row
  int64_t streak_us_ = 0;
  double first_ = 0;  // value of the streak
  int since_raised_ = 1 << 20;
  double fast_mean_ = 0;  // of the signed deviations
  double slow_mean_ = 0;
  std::array<double, kRecent> recent_{};
  int n_recent_ = 0;
  size_t next_recent_ = 0;
  std::array<double, kHeld> badnesses_{};  // rings of the last samples
  std::array<double, kHeld> evidences_{};
  size_t next_held_ = 0;

 public:
  static hc_metric_status UnknownStatus();
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_METRIC_SERIES_H_
