#include "predict/exhaustion.h"

#include <algorithm>
#include <cmath>

#include "predict/quantiles.h"

namespace heal {
namespace {

constexpr double kSteps = 64;  // of a line or parabola
constexpr double kMostSteps = 1024;
constexpr double kCertain = 0.999;  // nothing is gained by looking further
constexpr double kFarthest = 4e18;  // us; later than that is never

// Probability that the signal is at the limit or above.
double Reached(const Trend& trend, double limit, int64_t time_us) {
  double sum = 0;
  for (size_t i = 0; i < trend.n_models; ++i) {
    const TrendModel& model = trend.models[i];
    const Trend::Point point = trend.At(model, time_us);
    const double above = point.mean - limit;
    if (point.deviation > 0) {
      sum += model.weight * NormalCdf(NormalOfStudent(above / point.deviation, model.freedom));
    } else if (above >= 0) {
      sum += model.weight;
    }
  }
  return sum;
}

// Where the probability passes `goal` between two times of which the later is
// past it.
int64_t Bisect(const Trend& trend, double limit, double goal, int64_t before, int64_t after) {
  for (int i = 0; i < 40 && after - before > 1; ++i) {
    const int64_t middle = before + (after - before) / 2;
    if (Reached(trend, limit, middle) >= goal) {
      after = middle;
    } else {
      before = middle;
    }
  }
  return after;
}

// Fine enough for the peaks of a cycle; with cleanups, steps that end just
// before each.
double Step(const Trend& trend, double horizon) {
  double step = horizon / kSteps;
  if (trend.cyclic) step = std::min(step, static_cast<double>(trend.cycle_us) / 24);
  if (trend.drop_every > 0) step = std::min(step, trend.drop_every / 8);
  return std::max({step, horizon / kMostSteps, 1.0});
}

double FirstStep(const Trend& trend, double step) {
  if (!(trend.drop_every > 0)) return step;
  const double since = std::fmod(static_cast<double>(trend.to_us - trend.last_reset_us), trend.drop_every);
  const double first = std::fmod(trend.drop_every - since - 1, step);
  return first > 0 ? first : step;
}

// The quantiles of the first passage, in order of time.
void Scan(const Trend& trend, double limit, double horizon, const double* goals,
          std::optional<int64_t>* times, double* confidence) {
  const double step = Step(trend, horizon);
  size_t next = 0;
  int64_t before = trend.to_us;
  for (double ahead = FirstStep(trend, step); ahead <= horizon; ahead += step) {
    const int64_t now = trend.to_us + static_cast<int64_t>(ahead);
    const double reached = Reached(trend, limit, now);
    *confidence = std::max(*confidence, reached);
    while (next < 3 && reached >= goals[next]) {
      times[next] = Bisect(trend, limit, goals[next], before, now);
      ++next;
    }
    if (next == 3 && *confidence > kCertain) return;
    before = now;
  }
}

}  // namespace

Exhaustion TimeToLimit(const Trend& trend, double limit, const ExhaustionOptions& options) {
  Exhaustion result;
  result.slope = trend.slope;
  result.slope_low = trend.slope_low;
  result.slope_high = trend.slope_high;
  if (trend.state != Trend::State::kValid || !std::isfinite(limit)) return result;
  const double span = static_cast<double>(trend.to_us - trend.from_us);
  const double room = kFarthest - std::fabs(static_cast<double>(trend.to_us));
  const double horizon = std::min(span * options.horizon_spans, room);
  if (!(horizon >= 1)) return result;
  result.horizon_us = trend.to_us + static_cast<int64_t>(horizon);
  if (trend.level >= limit) {
    result.state = Exhaustion::State::kReached;
    result.eta_us = trend.to_us;
    result.eta_low_us = result.eta_high_us = trend.to_us;
    result.confidence = 1;
    return result;
  }
  result.state = Exhaustion::State::kFlat;
  if (!(trend.rising >= options.min_rising) || !(trend.theil_sen > 0)) return result;
  result.state = Exhaustion::State::kBeyond;
  const double goals[] = {(1 - options.rate) / 2, 0.5, (1 + options.rate) / 2};
  std::optional<int64_t> times[3];
  Scan(trend, limit, horizon, goals, times, &result.confidence);
  if (!times[1]) return result;
  result.state = Exhaustion::State::kPredicted;
  result.eta_low_us = times[0];
  result.eta_us = *times[1];
  result.eta_high_us = times[2];
  return result;
}

}  // namespace heal
