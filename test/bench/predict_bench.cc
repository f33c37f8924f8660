// Cost of prediction: one fit, one forecast, one tick.
#include <benchmark/benchmark.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "generated_series.h"
#include "predict/exhaustion.h"
#include "predict/forecaster.h"

namespace {

constexpr int64_t kStart = 1700000000000000;

heal::GeneratedSeries Series(int64_t kind) {
  return heal::SeriesGenerator(static_cast<heal::Kind>(kind), 3).Make();
}

void BM_TrendFit(benchmark::State& state) {
  const heal::GeneratedSeries series = Series(state.range(0));
  const auto fitter = std::make_unique<heal::TrendFitter>();
  for (auto _ : state) benchmark::DoNotOptimize(fitter->Fit(series.values, {}));
  state.SetLabel(heal::KindName(static_cast<heal::Kind>(state.range(0))));
}
BENCHMARK(BM_TrendFit)
    ->DenseRange(0, static_cast<int64_t>(heal::Kind::kCount) - 1)
    ->Unit(benchmark::kMicrosecond);

void BM_TimeToLimit(benchmark::State& state) {
  const heal::GeneratedSeries series = Series(state.range(0));
  const auto fitter = std::make_unique<heal::TrendFitter>();
  const heal::Trend trend = fitter->Fit(series.values, {});
  for (auto _ : state) benchmark::DoNotOptimize(heal::TimeToLimit(trend, series.limit, {}));
  state.SetLabel(heal::KindName(static_cast<heal::Kind>(state.range(0))));
}
BENCHMARK(BM_TimeToLimit)
    ->DenseRange(0, static_cast<int64_t>(heal::Kind::kCount) - 1)
    ->Unit(benchmark::kMicrosecond);

// A tick with n subjects of which the given share grows.
void BM_ForecasterTick(benchmark::State& state) {
  const size_t n = static_cast<size_t>(state.range(0));
  const bool growing = state.range(1) != 0;
  heal::Forecaster forecaster;
  heal::Random random(1);
  std::vector<std::string> names;
  for (size_t i = 0; i < n; ++i) names.push_back("subject " + std::to_string(i));
  std::vector<heal::ResourceSample> samples(n);
  int64_t tick = 0;
  const auto fill = [&] {
    for (size_t i = 0; i < n; ++i) {
      const double base = growing ? static_cast<double>(tick) : 0;
      samples[i] = {heal::Resource::kDisk, names[i], base + random.Normal(),
                    growing ? base * 1.5 + 100 : 1e6};
    }
    ++tick;
  };
  for (int i = 0; i < 5000; ++i) {
    fill();
    forecaster.Observe(kStart + tick * 1000000, samples);
  }
  for (auto _ : state) {
    fill();
    benchmark::DoNotOptimize(forecaster.Observe(kStart + tick * 1000000, samples).size());
  }
  state.counters["bytes_per_subject"] = static_cast<double>(heal::Forecaster::SubjectBytes());
  state.counters["fitter_bytes"] = static_cast<double>(sizeof(heal::TrendFitter));
}
BENCHMARK(BM_ForecasterTick)
    ->Args({1, 0})
    ->Args({64, 0})
    ->Args({1, 1})
    ->Args({64, 1})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
