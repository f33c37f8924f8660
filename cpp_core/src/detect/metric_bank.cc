#include "detect/metric_bank.h"

#include <algorithm>
#include <cmath>

namespace heal {
namespace {

constexpr int kDefaultWindow = 1000;
constexpr int kLargestWindow = 4096;
constexpr double kLargestLoad = 20;
// What follows the load may lag behind it: half an hour at the longest interval.
constexpr double kLoadMemory = 30;  // ticks

bool OneOf(std::string_view what, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), what) != names.end();
}

// Twice the transactions, about twice the value: quantities of work, not states.
bool FollowsLoad(const MetricDef& def) {
  if (OneOf(def.name, {"connections_used", "disk_busy", "host_cpu_used", "host_cpu_iowait"})) return true;
  return OneOf(def.component, {"workload", "wal", "checkpointer", "sessions", "connections"}) &&
         OneOf(def.unit, {"1/s", "bytes/s", "ms/s", "sessions"});
}

MetricTraits TraitsOf(const MetricDef& def) {
  return {def.name, def.component, def.category, def.kind, def.bad, QuantumOf(def.unit), FollowsLoad(def),
          def.kind == MetricKind::kCounter && std::string_view(def.unit) == "1/s"};
}

BadDirection Direction(int32_t bad) {
  if (bad == 1) return BadDirection::kUp;
  if (bad == -1) return BadDirection::kDown;
  return bad == 0 ? BadDirection::kBoth : BadDirection::kNone;
}

}  // namespace

MetricBank::MetricBank(uint64_t seed) : seed_(seed) {
  series_.reserve(HC_METRIC_COUNT);
  for (const MetricDef& def : Metrics()) series_.emplace_back(TraitsOf(def));
  for (size_t i = 0; i < HC_METRIC_COUNT; ++i) category_index_[i] = MetricFrames::CategoryIndex(Metrics()[i].category);
  users_.reserve(HC_MAX_USER_METRICS);
  status_.fill(MetricSeries::UnknownStatus());
  user_status_.fill(MetricSeries::UnknownStatus());
}

void MetricBank::Observe(const hc_observation& observation, std::vector<Anomaly>* out) {
  const bool full = observation.full_tick != 0 && observation.metrics != nullptr && observation.settings != nullptr;
  // Users' metrics are listed at every tick, so that their order is known.
  ListUsers(observation);
  if (full) {
    SeriesTick tick;
    tick.settings = observation.settings;
    tick.now_us = observation.now_us;
    const int wanted = observation.settings->window_size;
    tick.window = wanted <= 0 ? kDefaultWindow : std::clamp(wanted, 2, kLargestWindow);
    ObserveShipped(observation, &tick, out);
    ObserveUsers(observation, &tick, out);
    if (!frames_.created()) {
      std::vector<MetricSeries*> shipped;
      for (MetricSeries& series : series_) shipped.push_back(&series);
      frames_.Create(shipped, seed_);
      for (const auto& user : users_) {
        if (user->used) frames_.Add(&user->series);
      }
    }
    tick.frozen = frozen_ || !frozen_components_.empty();
    if (observation.settings->auto_baseline == 0) tick.frozen = true;
    std::array<Anomaly, MetricFrames::kFrames> anomalies;
    size_t n = 0;
    frames_.Observe(tick, &anomalies, &n);
    for (size_t i = 0; i < n; ++i) {
      if (anomalies[i].confidence < observation.settings->min_confidence) continue;
      const MetricDef* def = FindMetric(anomalies[i].def->name);
      if (def != nullptr) anomalies[i].metric = def->id;
      out->push_back(anomalies[i]);
    }
  }
  Publish();
}

void MetricBank::ObserveShipped(const hc_observation& observation, SeriesTick* tick, std::vector<Anomaly>* out) {
  std::array<double, HC_METRIC_COUNT> values;
  for (size_t metric = 0; metric < HC_METRIC_COUNT; ++metric) {
    values[metric] = series_[metric].ValueOf(observation.metrics[metric], observation.mono_us);
  }
  // The load now over the usual one, of whichever of the two rose more.
  double load = 1;
  for (const hc_metric_id metric : {HC_M_XACT_COMMIT, HC_M_EXEC_CALLS}) {
    const double share = values[metric] / series_[metric].Usual(*tick->settings);
    if (std::isfinite(share)) load = std::max(load, share);
  }
  load_ = std::min(std::max(load, load_ - (load_ - 1) / kLoadMemory), kLargestLoad);
  tick->load = load_;
  for (size_t metric = 0; metric < HC_METRIC_COUNT; ++metric) {
    MetricSeries& series = series_[metric];
    tick->frozen = IsFrozen(series.traits().component);
    Anomaly anomaly;
    if (!series.Observe(*tick, values[metric], &anomaly)) continue;
    anomaly.metric = static_cast<hc_metric_id>(metric);
    out->push_back(anomaly);
  }
}

void MetricBank::ObserveUsers(const hc_observation& observation, SeriesTick* tick, std::vector<Anomaly>* out) {
  tick->load = 1;
  for (uint32_t i = 0; i < n_user_; ++i) {
    UserSeries& user = *listed_[i];
    const hc_user_metric& metric = observation.user_metrics[i];
    const bool repeated = user.observed_at == metric.observed_at && user.series.status().observed_at != 0;
    if (repeated) continue;
    user.observed_at = metric.observed_at;
    tick->frozen = IsFrozen(user.component.c_str());
    Anomaly anomaly;
    if (user.series.Observe(*tick, user.series.ValueOf(metric.value, metric.observed_at), &anomaly)) {
      out->push_back(anomaly);
    }
    user.series.status().observed_at = metric.observed_at;
  }
}

void MetricBank::ListUsers(const hc_observation& observation) {
  const bool full = observation.full_tick != 0;
  n_user_ = observation.user_metrics == nullptr ? 0 : std::min<uint32_t>(observation.n_user_metrics, HC_MAX_USER_METRICS);
  for (const auto& user : users_) user->listed = false;
  std::array<UserSeries*, HC_MAX_USER_METRICS> known;
  for (uint32_t i = 0; i < n_user_; ++i) {
    known[i] = Find(observation.user_metrics[i], i);
    if (known[i] != nullptr) known[i]->listed = true;
  }
  for (uint32_t i = 0; i < n_user_; ++i) {
    const hc_user_metric& metric = observation.user_metrics[i];
    UserSeries* user = known[i];
    if (user == nullptr) {
      user = Place();
      Define(metric, user);
    } else if (user->counter != metric.counter || user->bad != metric.bad || user->component != metric.component ||
               user->category != metric.category || user->unit != metric.unit) {
      Define(metric, user);
    }
    user->listed = true;
    user->unlisted_ticks = 0;
    listed_[i] = user;
  }
  if (!full) return;
  for (const auto& user : users_) {
    if (!user->used || user->listed || ++user->unlisted_ticks < kForgetTicks) continue;
    frames_.Remove(&user->series);
    user->series.Redefine({});
    user->used = false;
  }
}

// Mostly where it was the last time.
MetricBank::UserSeries* MetricBank::Find(const hc_user_metric& metric, size_t hint) {
  if (UserSeries* last = listed_[hint]; last != nullptr && last->used && last->name == metric.name) return last;
  for (const auto& user : users_) {
    if (user->used && user->name == metric.name) return user.get();
  }
  return nullptr;
}

// A free place, else that of the one not listed for longest. There is one: at
// most as many are listed as there are places.
MetricBank::UserSeries* MetricBank::Place() {
  UserSeries* best = nullptr;
  for (const auto& user : users_) {
    if (!user->used) return user.get();
    if (user->listed) continue;
    if (best == nullptr || user->unlisted_ticks > best->unlisted_ticks) best = user.get();
  }
  if (users_.size() < HC_MAX_USER_METRICS) {
    users_.push_back(std::make_unique<UserSeries>());
    return users_.back().get();
  }
  return best;
}

void MetricBank::Define(const hc_user_metric& metric, UserSeries* user) {
  if (user->used) frames_.Remove(&user->series);
  user->name = metric.name;
  user->component = metric.component;
  user->category = metric.category;
  user->unit = metric.unit;
  user->category_index = MetricFrames::CategoryIndex(user->category);
  user->counter = metric.counter;
  user->bad = metric.bad;
  user->observed_at = 0;
  user->used = true;
  MetricTraits traits;
  traits.name = user->name.c_str();
  traits.component = user->component.c_str();
  traits.category = user->category.c_str();
  traits.kind = metric.counter != 0 ? MetricKind::kCounter : MetricKind::kGauge;
  traits.bad = Direction(metric.bad);
  traits.quantum = QuantumOf(user->unit.c_str());
  traits.events = metric.counter != 0 && user->unit == "1/s";
  user->series.Redefine(traits);
  if (frames_.created()) frames_.Add(&user->series);
}

void MetricBank::Freeze(bool frozen) {
  frozen_ = frozen;
  frozen_components_.clear();
}

void MetricBank::FreezeComponents(const std::set<std::string_view>& components) {
  frozen_ = false;
  frozen_components_.clear();
  for (const std::string_view component : components) frozen_components_.emplace(component);
}

bool MetricBank::IsFrozen(const char* component) const {
  return frozen_ || (!frozen_components_.empty() && frozen_components_.contains(std::string_view(component)));
}

size_t MetricBank::Reset(std::string_view metric) {
  size_t n = 0;
  const auto reset = [&](MetricSeries* series) {
    if (!metric.empty() && metric != series->traits().name) return;
    series->Reset();
    ++n;
  };
  for (MetricSeries& series : series_) reset(&series);
  for (const auto& user : users_) {
    if (user->used) reset(&user->series);
  }
  if (metric.empty()) load_ = 1;
  Publish();
  return n;
}

void MetricBank::Publish() {
  for (size_t metric = 0; metric < HC_METRIC_COUNT; ++metric) status_[metric] = series_[metric].status();
  for (uint32_t i = 0; i < n_user_; ++i) user_status_[i] = listed_[i]->series.status();
  if (!frames_.created()) return;
  for (size_t metric = 0; metric < HC_METRIC_COUNT; ++metric) {
    status_[metric].forest_score = frames_.ScoreOf(category_index_[metric]);
  }
  for (uint32_t i = 0; i < n_user_; ++i) {
    user_status_[i].forest_score = frames_.ScoreOf(listed_[i]->category_index);
  }
}

size_t MetricBank::SeriesBytes() const {
  size_t bytes = 0;
  for (const MetricSeries& series : series_) bytes += series.Bytes();
  for (const auto& user : users_) bytes += user->series.Bytes();
  return bytes;
}

}  // namespace heal
