// metric_bank.h: a baseline and an anomaly detector for every metric.

#ifndef HEAL_CORE_DETECT_METRIC_BANK_H_
#define HEAL_CORE_DETECT_METRIC_BANK_H_

#include <array>
#include <cstdint>
#include <vector>

#include "catalogue/metrics.h"
#include "detect/rolling_iqr.h"
#include "detect/rolling_zscore.h"
#include "heal_core/decisions.h"
#include "heal_core/observation.h"

namespace heal {

// One burst of abnormal values of one metric. Strings are literals.
struct Anomaly {
  hc_metric_id metric = HC_METRIC_COUNT;
  const MetricDef* def = nullptr;
  int64_t observed_at = 0;
  double value = 0;
  double score = 0;            // deviations from the baseline, at most 1000
  const char* method = "";     // zscore iqr
  const char* shape = "";      // spike level_shift drift void
  const char* direction = "";  // up down
  double confidence = 0;       // 0..1
};

// Learns each metric's usual values over the last window_size samples and
// reports departures in its bad direction.
//
// A counter becomes its rate per second over mono_us; a fall is a reset and
// gives no value. A value must be abnormal confirm_samples times in a row; then
// one anomaly is reported, and the next only after the value was calm for as
// many samples (half the threshold). Abnormal values are kept out of the
// baseline for the first 30 samples of a burst; while frozen everything is.
// Memory is fixed once every metric has been seen (window_size up to 4096).
class MetricBank {
 public:
  MetricBank();

  // Appends new anomalies to *out. Only full ticks are looked at.
  void Observe(const hc_observation& observation, std::vector<Anomaly>* out);

  // While frozen nothing is learnt: a fault must not become the new normal.
  void Freeze(bool frozen) { frozen_ = frozen; }
  bool frozen() const { return frozen_; }

  // HC_METRIC_COUNT rows, valid as long as the bank.
  const hc_metric_status* Status() const { return status_.data(); }

 private:
  static constexpr int kRecent = 8;

  struct Series {
    RollingZScore zscore;
    RollingIqr iqr;
    double last_raw = 0;
    int64_t last_mono = 0;
    bool has_last = false;
    // The burst in progress.
    int abnormal = 0;  // consecutive abnormal samples
    int calm = 0;      // consecutive calm samples since
    bool raised = false;
    int sign = 0;                          // +1 up, -1 down
    double first = 0;                      // first value of the streak
    std::array<double, kRecent> recent{};  // deviations before the streak
    int n_recent = 0;
    int next_recent = 0;
  };

  struct Judgement {
    double deviation = 0;  // signed, in the unit of the better method
    double zscore = 0;
    double robust = 0;
    bool by_iqr = false;
    bool both = false;
  };

  double Value(const hc_observation& observation, size_t metric, Series* series) const;
  void ObserveOne(const hc_observation& observation, size_t metric, std::vector<Anomaly>* out);
  Judgement Judge(const Series& series, const MetricDef& def, const hc_settings& settings,
                  double value) const;
  void Track(const hc_observation& observation, size_t metric, double value, const Judgement& judgement,
             std::vector<Anomaly>* out);
  const char* Shape(const Series& series, double value, int confirmations) const;
  size_t Needed(const hc_settings& settings) const;
  bool MayLearn(const Series& series, const hc_settings& settings) const;
  void Publish(const hc_observation& observation, size_t metric, double value, double zscore);
  void ClearStatus();
  void Resize(int window);

  std::vector<Series> series_;
  std::array<hc_metric_status, HC_METRIC_COUNT> status_;
  int window_ = 0;
  bool frozen_ = false;
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_METRIC_BANK_H_
