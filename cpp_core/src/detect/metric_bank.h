// metric_bank.h: the statistical stage: every metric, and all of them together.

#ifndef HEAL_CORE_DETECT_METRIC_BANK_H_
#define HEAL_CORE_DETECT_METRIC_BANK_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "catalogue/metrics.h"
#include "detect/metric_frames.h"
#include "detect/metric_series.h"
#include "heal_core/decisions.h"
#include "heal_core/observation.h"

namespace heal {

// Learns each metric's usual values over the last window_size samples and reports
// departures in its bad direction: see MetricSeries for one metric alone,
// MetricFrames for all at once.
//
// Users' metrics are found by name. One keeps its series as long as it is
// listed and for kForgetTicks after; when it comes back with another meaning (kind, direction,
// category, component, unit) it starts afresh. The same observed_at again is
// no new sample.
// Memory is fixed once every metric has been seen (window_size up to 4096); no
// allocation then. Cost: docs/detection.md.
class MetricBank {
 public:
  static constexpr int kForgetTicks = 360;

  explicit MetricBank(uint64_t seed = 0);

  // Appends new anomalies to *out. Only full ticks are looked at.
  void Observe(const hc_observation& observation, std::vector<Anomaly>* out);

  // While frozen nothing is learnt: a fault must not become the new normal. All
  // metrics, or those of some components; forests rest while anything is frozen.
  void Freeze(bool frozen);
  void FreezeComponents(const std::set<std::string_view>& components);
  bool frozen() const { return frozen_; }

  // Forgets the baseline of a metric, "" of all. Returns how many it forgot.
  size_t Reset(std::string_view metric);

  // HC_METRIC_COUNT rows, and those of the users' metrics in the order of the last
  // observation; valid until the next one.
  const hc_metric_status* Status() const { return status_.data(); }
  const hc_metric_status* UserStatus() const { return user_status_.data(); }
  uint32_t UserCount() const { return n_user_; }

  // Of the series and the forests, and of the series alone.
  size_t Bytes() const { return SeriesBytes() + frames_.Bytes(); }
  size_t SeriesBytes() const;

 private:
  struct UserSeries {
    std::string name, component, category, unit;
    int32_t counter = 0;
    int32_t bad = 0;
    int64_t observed_at = 0;
    bool used = false;
    bool listed = false;
    int unlisted_ticks = 0;
    size_t category_index = 0;
    MetricSeries series;
  };

  void ObserveShipped(const hc_observation& observation, SeriesTick* tick, std::vector<Anomaly>* out);
  void ObserveUsers(const hc_observation& observation, SeriesTick* tick, std::vector<Anomaly>* out);
  void ListUsers(const hc_observation& observation);
  UserSeries* Find(const hc_user_metric& metric, size_t hint);
  UserSeries* Place();
  void Define(const hc_user_metric& metric, UserSeries* user);
  bool IsFrozen(const char* component) const;
  void Publish();

  uint64_t seed_;
  std::vector<MetricSeries> series_;
  std::vector<std::unique_ptr<UserSeries>> users_;
  std::array<size_t, HC_METRIC_COUNT> category_index_{};
  std::array<UserSeries*, HC_MAX_USER_METRICS> listed_{};  // by place in the observation
  MetricFrames frames_;
  double load_ = 1;
  bool frozen_ = false;
  std::set<std::string, std::less<>> frozen_components_;
  std::array<hc_metric_status, HC_METRIC_COUNT> status_;
  std::array<hc_metric_status, HC_MAX_USER_METRICS> user_status_;
  uint32_t n_user_ = 0;
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_METRIC_BANK_H_
