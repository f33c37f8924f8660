// Micro benchmarks of the core; `make bench` runs those it gates on.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "detect/metric_bank.h"
#include "catalogue/metrics.h"
#include "detect/rolling_iqr.h"
#include "detect/rolling_zscore.h"
#include "detect/series_detector.h"
#include "detect/wait_graph.h"
#include "diagnose/diagnoser.h"

namespace {

constexpr size_t kWindow = 1000;

// Cheap, deterministic noise: the benchmark is not about random numbers.
double Noise(uint64_t* state) {
  *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
  return static_cast<double>(*state >> 40);
}

void BM_RollingZScore(benchmark::State& state) {
  heal::RollingZScore zscore(kWindow);
  uint64_t seed = 1;
  for (auto _ : state) zscore.Push(Noise(&seed));
}
BENCHMARK(BM_RollingZScore);

void BM_RollingIqr(benchmark::State& state) {
  std::vector<heal::RollingIqr> series(50, heal::RollingIqr(kWindow));
  uint64_t seed = 1;
  for (size_t i = 0; i < 50 * kWindow; ++i) series[i % 50].Push(Noise(&seed));
  size_t i = 0;
  for (auto _ : state) {
    heal::RollingIqr& one = series[i++ % 50];
    one.Push(Noise(&seed));
    benchmark::DoNotOptimize(one.q3() - one.q1());
  }
}
BENCHMARK(BM_RollingIqr);

void BM_SeriesDetector(benchmark::State& state) {
  std::vector<heal::SeriesDetector> series(static_cast<size_t>(state.range(0)));
  uint64_t seed = 1;
  int64_t now_us = 0;
  size_t i = 0;
  const auto value = [&] { return Noise(&seed) + Noise(&seed) + Noise(&seed) + Noise(&seed); };
  for (size_t n = 0; n < 3000 * series.size(); ++n) series[n % series.size()].Observe(now_us += 100000, value());
  for (auto _ : state) {
    benchmark::DoNotOptimize(series[i].Observe(now_us += 50000, value()));
    i = i + 1 == series.size() ? 0 : i + 1;
  }
}
BENCHMARK(BM_SeriesDetector)->Arg(1)->Arg(200);

// The whole statistical stage: all shipped metrics and as many of users.
// Counters: bytes per metric at the end, and how many more than in the beginning.
void BM_DetectorStage(benchmark::State& state) {
  const auto n_users = static_cast<size_t>(state.range(0));
  hc_settings settings{};
  settings.confirm_samples = 2;
  settings.anomaly_threshold = 3;
  settings.window_size = kWindow;
  settings.iqr_multiplier = 1.5;
  settings.min_confidence = 0.7;
  settings.auto_baseline = 1;
  settings.min_baseline_samples = 30;
  std::vector<double> metrics(HC_METRIC_COUNT);
  std::vector<std::string> names;
  for (size_t i = 0; i < n_users; ++i) names.push_back("metric_of_a_user_" + std::to_string(i));
  std::vector<hc_user_metric> users;
  for (size_t i = 0; i < n_users; ++i) users.push_back({names[i].c_str(), "shop", "performance", "", 0, 1, 0, 0});
  hc_observation o{};
  o.settings = &settings;
  o.full_tick = 1;
  o.metrics = metrics.data();
  o.user_metrics = users.data();
  o.n_user_metrics = static_cast<uint32_t>(n_users);
  heal::MetricBank bank(1);
  std::vector<heal::Anomaly> anomalies;
  uint64_t seed = 1;
  const auto tick = [&] {
    o.mono_us += 10'000'000;
    o.now_us = o.mono_us + 1'700'000'000'000'000;
    // Counters grow; gauges lie around a level.
    for (size_t i = 0; i < metrics.size(); ++i) {
      const double value = 1000 + Noise(&seed) / 1e5 + Noise(&seed) / 1e5;
      const bool counter = heal::Metrics()[i].kind == heal::MetricKind::kCounter;
      metrics[i] = counter ? metrics[i] + value : value;
    }
    for (hc_user_metric& user : users) {
      user.value = 1e9 + Noise(&seed) + Noise(&seed);
      user.observed_at = o.now_us;
    }
    anomalies.clear();
    bank.Observe(o, &anomalies);
  };
  for (int i = 0; i < 3000; ++i) tick();
  const size_t before = bank.Bytes();
  for (auto _ : state) tick();
  state.counters["bytes_per_metric"] =
      static_cast<double>(bank.SeriesBytes()) / static_cast<double>(HC_METRIC_COUNT + n_users);
  state.counters["bytes"] = static_cast<double>(bank.Bytes());
  state.counters["grown"] = static_cast<double>(bank.Bytes() - before);
  state.counters["samples"] = static_cast<double>(state.iterations()) * static_cast<double>(HC_METRIC_COUNT + n_users);
}
BENCHMARK(BM_DetectorStage)->Arg(0)->Arg(116)->Unit(benchmark::kMicrosecond);

// One holder of a row, the first waiter with the tuple lock, all others behind it.
void BM_WaitGraph(benchmark::State& state) {
  const auto waiters = static_cast<uint32_t>(state.range(0));
  std::vector<hc_session> sessions(waiters + 1);
  std::vector<hc_lock_holder> holders = {{1, 1U << 7, ""}, {2, 1U << 7, ""}};
  std::vector<hc_lock_waiter> queue;
  for (uint32_t i = 0; i <= waiters; ++i) sessions[i].id.pid = static_cast<int32_t>(i + 1);
  for (uint32_t i = 2; i <= waiters + 1; ++i) queue.push_back({static_cast<int32_t>(i), i == 2 ? 5 : 7, 1});
  const hc_lock locks[] = {{HC_LOCK_TRANSACTION, 0, 0, "transaction 1", 0, 1, 0, 1},
                           {HC_LOCK_TUPLE, 5, 42, "tuple", 1, 1, 1, waiters - 1}};
  hc_observation observation{};
  observation.sessions = sessions.data();
  observation.n_sessions = waiters + 1;
  observation.locks = locks;
  observation.n_locks = 2;
  observation.lock_holders = holders.data();
  observation.n_lock_holders = 2;
  observation.lock_waiters = queue.data();
  observation.n_lock_waiters = waiters;
  observation.sessions_known = observation.locks_known = 1;
  for (auto _ : state) {
    const heal::WaitGraph graph(observation);
    for (const uint32_t root : graph.roots()) benchmark::DoNotOptimize(graph.Victims(root).size());
  }
}
BENCHMARK(BM_WaitGraph)->Arg(100)->Arg(300);

void BM_Diagnose(benchmark::State& state) {
  const heal::Diagnoser diagnoser;
  hc_settings settings{};
  settings.inference_min_confidence = 0.7;
  settings.inference_max_path_depth = 5;
  settings.inference_min_edge_probability = 0.3;
  settings.inference_multi_hop = 1;
  heal::Match match;
  match.failure_type = "idle_in_transaction_blocker";
  using heal::Truth;
  match.evidence = {{"lock_waiters", Truth::kPresent, ""},
                    {"holder_idle_in_transaction", Truth::kPresent, ""},
                    {"holder_active_statement", Truth::kAbsent, ""},
                    {"holder_prepared_transaction", Truth::kAbsent, ""},
                    {"ddl_heads_lock_queue", Truth::kAbsent, ""}};
  for (auto _ : state) benchmark::DoNotOptimize(diagnoser.Diagnose(match, settings, hc_limits{}).causes.size());
}
BENCHMARK(BM_Diagnose);

}  // namespace
