// exhaustion.h: when a series reaches its limit.

#ifndef HEAL_CORE_PREDICT_EXHAUSTION_H_
#define HEAL_CORE_PREDICT_EXHAUSTION_H_

#include <cstdint>
#include <optional>

#include "predict/trend.h"

namespace heal {

struct ExhaustionOptions {
  double rate = 0.8;  // of the interval
  // How far ahead the trend is followed, in observed spans. The error of an
  // extrapolated line grows in proportion to the distance in spans; the interval
  // was found to keep its rate up to 2.3 spans (a series cut at 30 % of its way),
  // and an estimate needs room on both sides of that, or those that err late
  // would be left out and the rest err early.
  double horizon_spans = 4;
  double min_rising = 0.95;  // probability below which the trend counts as flat
};

struct Exhaustion {
  enum class State {
    kPredicted,
    kReached,  // the signal is there: eta is now
    kNoTrend,  // too few samples
    kFlat,     // or away from the limit
    kBeyond,   // not within the horizon
  };

  State state = State::kNoTrend;
  int64_t eta_us = 0;  // median; of kPredicted and kReached
  std::optional<int64_t> eta_low_us;
  std::optional<int64_t> eta_high_us;  // absent: perhaps never within the horizon
  int64_t horizon_us = 0;
  double confidence = 0;  // probability that the limit is reached within the horizon
  double slope = 0;       // units per second
  double slope_low = 0;
  double slope_high = 0;
};

// The time at which the signal first reaches `limit` from below.
//
// The probability that a signal has reached the limit by time t is, as in the
// analysis of degradation data (Lu and Meeker 1993, Using degradation measures to
// estimate a time-to-failure distribution; Meeker and Escobar 1998, chapter 13),
// the probability that its path lies above the limit at t or an earlier time:
// P((mean(t) - limit) / deviation(t)), Student's, of each model and averaged over
// the models. Its quantiles are the interval; for one line it is Fieller's (1954)
// for inverse prediction. Noise about the signal widens deviation(t); noise that
// wanders is part of the path. A single noisy value may touch the limit earlier.
// Cost: at most 1024 evaluations of the trend; see test/bench/predict_bench.cc.
Exhaustion TimeToLimit(const Trend& trend, double limit, const ExhaustionOptions& options);

}  // namespace heal

#endif  // HEAL_CORE_PREDICT_EXHAUSTION_H_
