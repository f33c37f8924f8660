// Micro benchmarks of the isolation forest.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "detect/frame_forest.h"
#include "detect/isolation_forest.h"

namespace {

constexpr size_t kFeatures = 20;
constexpr size_t kRows = 256;

// Sums of four uniform values: a bell of independent features, with tails.
std::vector<float> Bell(size_t rows, uint64_t seed) {
  heal::SplitMix random(seed);
  std::vector<float> values(rows * kFeatures);
  for (float& value : values) {
    double sum = 0;
    for (int i = 0; i < 4; ++i) sum += static_cast<double>(random.Next() >> 11) / 9007199254740992.0;
    value = static_cast<float>(sum - 2);
  }
  return values;
}

// Points differ from call to call, as frames do: a repeated one would teach the
// branch predictor and the cache its path.
void BM_ForestScore(benchmark::State& state) {
  heal::IsolationForest forest(kFeatures, kRows);
  forest.Fit(Bell(kRows, 1), 1);
  const std::vector<float> points = Bell(1024, 2);
  size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(forest.Score({points.data() + (i++ % 1024) * kFeatures, kFeatures}));
  }
}
BENCHMARK(BM_ForestScore);

void BM_ForestFit(benchmark::State& state) {
  heal::IsolationForest forest(kFeatures, kRows);
  const std::vector<float> samples = Bell(kRows, 1);
  uint64_t seed = 1;
  for (auto _ : state) {
    forest.Fit(samples, seed++);
    benchmark::DoNotOptimize(forest.nodes());
  }
  state.counters["nodes"] = static_cast<double>(forest.nodes());
}
BENCHMARK(BM_ForestFit)->Unit(benchmark::kMicrosecond);

// A frame with everything: score, tail, learning, its share of a fit.
void BM_FrameForest(benchmark::State& state) {
  heal::FrameForest forest(kFeatures, 1);
  const std::vector<float> points = Bell(1024, 2);
  const std::vector<double> frames(points.begin(), points.end());
  size_t i = 0;
  const auto next = [&] { return forest.Observe({frames.data() + (i++ % 1024) * kFeatures, kFeatures}); };
  while (i < 2000) next();
  for (auto _ : state) benchmark::DoNotOptimize(next().tail);
}
BENCHMARK(BM_FrameForest);

}  // namespace
