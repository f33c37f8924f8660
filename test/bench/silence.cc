// heal-silence: what the detector raises on healthy load, and what it finds when
// the load is spoilt. The first number means nothing without the second.
//
//   heal-silence [days [seeds [trials]]]

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "detect/metric_bank.h"
#include "engine.h"
#include "healthy_load.h"

namespace heal {
namespace {

constexpr double kInterval = 10;
constexpr int64_t kEpochUs = 1'700'006'400'000'000;  // midnight

hc_settings Defaults() {
  hc_settings s{};
  s.policy = HC_POLICY_BALANCED;
  s.monitoring_interval_ms = 10000;
  s.calm_period_ms = 600000;
  s.confirm_samples = 2;
  s.anomaly_threshold = 3;
  s.window_size = 1000;
  s.iqr_multiplier = 1.5;
  s.min_confidence = 0.7;
  s.auto_baseline = 1;
  s.min_baseline_samples = 30;
  s.inference_min_confidence = 0.7;
  s.inference_max_path_depth = 5;
  s.inference_min_edge_probability = 0.3;
  s.inference_multi_hop = 1;
  s.rollback_enabled = s.rollback_verify = 1;
  s.rollback_max_attempts = s.rollback_max_depth = 3;
  s.rollback_timeout_ms = 30000;
  s.snapshot_retention_ms = 3600000;
  s.concurrent_recoveries = 2;
  s.max_retries = s.retry_delay_ms = s.recovery_timeout_ms = -1;
  return s;
}

// An observation with metrics and little else.
class Frame {
 public:
  explicit Frame(const hc_settings* settings) {
    server_.max_connections = 100;
    server_.autovacuum_max_workers = 3;
    server_.max_wal_size_mb = 4096;
    server_.checkpoint_timeout_s = 300;
    server_.wal_disk_free_bytes = int64_t{500} << 30;
    server_.wal_disk_total_bytes = int64_t{1000} << 30;
    o_.settings = settings;
    o_.server = &server_;
    o_.full_tick = 1;
    o_.sessions_known = o_.locks_known = 1;
  }
  const hc_observation& At(const HealthyLoad& load) {
    o_.mono_us = static_cast<int64_t>(load.time_s * 1e6);
    o_.now_us = kEpochUs + o_.mono_us;
    o_.metrics = load.metrics.data();
    return o_;
  }

 private:
  hc_server server_{};
  hc_observation o_{};
};

void Silence(HealthyLoad::Kind kind, double days, int seeds) {
  const hc_settings settings = Defaults();
  std::map<std::string, int> by_metric;
  int64_t samples = 0;
  int anomalies = 0, incidents = 0;
  std::map<std::string, int> by_method;
  for (int seed = 1; seed <= seeds; ++seed) {
    Engine engine(hc_limits{}, static_cast<uint64_t>(seed));
    HealthyLoad load(kind, static_cast<uint64_t>(seed), kInterval);
    Frame frame(&settings);
    for (int64_t i = 0; i < static_cast<int64_t>(days * 86400 / kInterval); ++i) {
      load.Step();
      hc_decisions decisions{};
      engine.Step(frame.At(load), &decisions);
      samples += HC_METRIC_COUNT;
      for (uint32_t r = 0; r < decisions.n_records; ++r) {
        const hc_record& record = decisions.records[r];
        if (record.table == HC_T_INCIDENTS && std::strstr(record.json, "\"detected\"") != nullptr) {
          ++incidents;
          std::printf("  incident: %.300s\n", record.json);
        }
        if (record.table != HC_T_ANOMALIES) continue;
        ++anomalies;
        const auto text = [&](const char* key) {
          const char* at = std::strstr(record.json, key);
          if (at == nullptr) return std::string();
          at += std::strlen(key) + 3;
          return std::string(at, std::strcspn(at, "\""));
        };
        ++by_method[text("method")];
        ++by_metric[text("metric") + " " + text("method") + " " + text("shape")];
        if (std::getenv("HEAL_SILENCE_VERBOSE") != nullptr)
          std::printf("  day %.3f %.400s\n", load.time_s / 86400, record.json);
      }
    }
  }
  const double rate = static_cast<double>(anomalies) / static_cast<double>(samples);
  std::printf("%-16s %6.2f days x %d: %5d anomalies, %.2e per metric and sample, %.2f per day; incidents %d;", HealthyLoad::kNames[kind],
              days, seeds, anomalies, rate, anomalies / days / seeds, incidents);
  for (const auto& [method, n] : by_method) std::printf(" %s %d", method.c_str(), n);
  std::printf("\n");
  for (const auto& [metric, n] : by_metric) std::printf("    %4d %s\n", n, metric.c_str());
}

enum class Fault { kSpike, kShift, kDrift, kVoid };
struct Trial {
  Fault fault;
  const char* name;
  double size;   // in deviations of the metric's baseline
  int samples;   // that it lasts
  int patience;  // samples until it must be found
};

constexpr Trial kTrials[] = {
    {Fault::kSpike, "spike of 8", 8, 3, 6},           {Fault::kSpike, "spike of 15", 15, 3, 6},
    {Fault::kShift, "level shift of 3", 3, 120, 120}, {Fault::kShift, "level shift of 4", 4, 120, 120},
    {Fault::kShift, "level shift of 6", 6, 120, 120}, {Fault::kDrift, "drift to 6 in 300", 6, 400, 400},
    {Fault::kDrift, "drift to 8 in 100", 8, 160, 160}, {Fault::kVoid, "void", 0, 60, 60},
};

// The same in plain noise: of which samples know nothing of each other (keep 0),
// or do.
void PlainRecall(const Trial& trial, int trials, double keep) {
  const hc_settings settings = Defaults();
  const bool down = trial.fault == Fault::kVoid;
  const hc_metric_id metric = down ? HC_M_DISK_FREE : HC_M_HORIZON_AGE;
  int found = 0;
  std::vector<int> delays;
  for (int t = 0; t < trials; ++t) {
    MetricBank bank(1);
    std::vector<Anomaly> anomalies;
    LoadRandom random(static_cast<uint64_t>(77 + t));
    std::vector<double> metrics(HC_METRIC_COUNT, std::nan(""));
    hc_observation o{};
    o.settings = &settings;
    o.full_tick = 1;
    o.metrics = metrics.data();
    double noise = 0;
    bool seen = false;
    for (int i = -1500; i < trial.patience && !seen; ++i) {
      noise = keep * noise + std::sqrt(1 - keep * keep) * random.Normal();
      const double share = trial.fault != Fault::kDrift ? 1.0 : std::min(1.0, i / (trial.size > 7 ? 100.0 : 300.0));
      const bool spoilt = i >= 0 && i < trial.samples;
      metrics[metric] = 1e9 + 1e8 * (noise + (spoilt ? share * trial.size : 0));
      if (spoilt && down) metrics[metric] = 0;
      o.mono_us += 10'000'000;
      o.now_us = kEpochUs + o.mono_us;
      anomalies.clear();
      bank.Observe(o, &anomalies);
      if (i < 0 || anomalies.empty()) continue;
      seen = true;
      ++found;
      delays.push_back(i + 1);
    }
  }
  std::sort(delays.begin(), delays.end());
  std::printf("%-20s plain noise, memory %.1f: recall %.3f, delay median %d, 90 %% %d samples\n", trial.name, keep,
              static_cast<double>(found) / trials, delays.empty() ? 0 : delays[delays.size() / 2],
              delays.empty() ? 0 : delays[delays.size() * 9 / 10]);
}

void Recall(const Trial& trial, int trials) {
  const hc_settings settings = Defaults();
  const std::vector<hc_metric_id> up = {HC_M_EXEC_LATENCY_MEAN, HC_M_EXEC_LATENCY_P99, HC_M_SESSIONS_ACTIVE,
                                        HC_M_WAL_BYTES,         HC_M_BLKS_READ,        HC_M_HOST_CPU_USED,
                                        HC_M_HOST_MEMORY_USED,  HC_M_LOG_ERRORS,       HC_M_DISK_BUSY,
                                        HC_M_BACKEND_MEMORY,    HC_M_SESSIONS_NEW,     HC_M_XACT_ROLLBACK};
  const std::vector<hc_metric_id> down = {HC_M_XACT_COMMIT, HC_M_EXEC_CALLS};
  int found = 0, right_shape = 0;
  std::vector<int> delays;
  std::map<std::string, int> missed, shapes;
  for (int t = 0; t < trials; ++t) {
    const auto& metrics = trial.fault == Fault::kVoid ? down : up;
    const hc_metric_id metric = metrics[static_cast<size_t>(t) % metrics.size()];
    HealthyLoad load(HealthyLoad::kSteady, static_cast<uint64_t>(1000 + t), kInterval);
    Frame frame(&settings);
    MetricBank bank(1);
    std::vector<Anomaly> anomalies;
    for (int i = 0; i < 1500; ++i) {
      load.Step();
      bank.Observe(frame.At(load), &anomalies);
    }
    const double deviation = bank.Status()[metric].baseline_stddev;
    bool seen = false;
    for (int i = 0; i < trial.patience && !seen; ++i) {
      load.Step([&](hc_metric_id id, double value) {
        if (trial.fault == Fault::kVoid) return id == HC_M_XACT_COMMIT || id == HC_M_EXEC_CALLS ? 0 : value;
        if (id != metric || i >= trial.samples) return value;
        const double share = trial.fault != Fault::kDrift ? 1.0 : std::min(1.0, i / (trial.size > 7 ? 100.0 : 300.0));
        return value + share * trial.size * deviation;
      });
      anomalies.clear();
      bank.Observe(frame.At(load), &anomalies);
      for (const Anomaly& anomaly : anomalies) {
        if (anomaly.metric != metric) continue;
        seen = true;
        ++found;
        delays.push_back(i + 1);
        ++shapes[anomaly.shape];
        const char* names[] = {"spike", "level_shift", "drift", "void"};
        right_shape += std::strcmp(anomaly.shape, names[static_cast<int>(trial.fault)]) == 0 ? 1 : 0;
      }
    }
    if (!seen) ++missed[Metrics()[metric].name];
  }
  std::sort(delays.begin(), delays.end());
  std::printf("%-20s recall %.3f (%d of %d), delay median %d, 90 %% %d samples;", trial.name,
              static_cast<double>(found) / trials, found, trials, delays.empty() ? 0 : delays[delays.size() / 2],
              delays.empty() ? 0 : delays[delays.size() * 9 / 10]);
  for (const auto& [shape, n] : shapes) std::printf(" %s %d", shape.c_str(), n);
  std::printf("; missed:");
  for (const auto& [name, n] : missed) std::printf(" %s %d", name.c_str(), n);
  std::printf("\n");
}

}  // namespace
}  // namespace heal

int main(int argc, char** argv) {
  const double days = argc > 1 ? std::atof(argv[1]) : 7;
  const int seeds = argc > 2 ? std::atoi(argv[2]) : 1;
  const int trials = argc > 3 ? std::atoi(argv[3]) : 120;
  for (int kind = 0; kind < heal::HealthyLoad::kKinds; ++kind)
    heal::Silence(static_cast<heal::HealthyLoad::Kind>(kind), kind == heal::HealthyLoad::kRamp ? 1.0 / 24 : days,
                  kind == heal::HealthyLoad::kRamp ? std::max(seeds * 4, 1) : seeds);
  for (const heal::Trial& trial : heal::kTrials)
    if (trials > 0) {
      for (const double keep : {0.0, 0.6, 0.9}) heal::PlainRecall(trial, trials, keep);
      heal::Recall(trial, trials);
    }
  return 0;
}
