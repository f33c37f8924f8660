// series_detector_settings.h: what the anomaly detector of one series can be told.

#ifndef HEAL_CORE_DETECT_SERIES_DETECTOR_SETTINGS_H_
#define HEAL_CORE_DETECT_SERIES_DETECTOR_SETTINGS_H_

namespace heal {

// Durations are in samples. One set serves all series: the detector scales itself
// to each, and a quarter more or less of any value moves the result little.
struct SeriesDetectorSettings {
  // Memory of a channel's centre, width and tail. Long enough for some dozens of
  // tail values, short enough to follow a changed load.
  double memory = 2500;
  // Samples before a channel gives evidence.
  double warm_up = 50;
  // The tail begins this many mean absolute deviations from the centre: 2.5 are 2
  // standard deviations of a Gaussian, about 5 % of its values.
  double tail_start = 2.5;
  // What a value may add to centre and width, in mean absolute deviations, so that
  // the outlier sought does not hide the next.
  double winsor = 5;
  // Prior of the tail: share of values in it, its Pareto index, and how many
  // samples and tail values these count for. Keeps young channels quiet.
  double prior_share = 0.05;
  double prior_share_weight = 50;
  double prior_index = 0.3;
  double prior_index_weight = 20;
  // Most a channel may contribute, in nats: p = e^-40 is beyond any model's honesty.
  double evidence_cap = 40;
  // A channel that is in the same tail this long has moved for good: it forgets.
  int relearn_after = 300;
  // Time constants of the running means: powers of four, from minutes to hours at
  // a sample per minute.
  double fast = 8;
  double medium = 32;
  double slow = 128;
  double volatility = 8;  // of the mean step
  double evidence = 6;    // of the evidence itself: many weak signs in a row
  // What a day (or week) adds to the seasonal profile: 0.2 remembers five.
  double season_gain = 0.2;
  // The evidence, in nats, at which an anomaly is raised.
  double raise_at = 27;
  // One burst is one anomaly: nothing is raised for so long after one.
  int rest = 75;
  // Each anomaly raises the bar by this share, and the rise fades with this time
  // constant: a series that is always odd must not be reported forever.
  double habituation = 0.3;
  double habituation_memory = 2000;
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_SERIES_DETECTOR_SETTINGS_H_
