// evidence_channel.h: how unusual a feature's value is under the feature's history.

#ifndef HEAL_CORE_DETECT_EVIDENCE_CHANNEL_H_
#define HEAL_CORE_DETECT_EVIDENCE_CHANNEL_H_

#include "detect/series_detector_settings.h"

namespace heal {

// One tail of a distribution: -ln P(X > x) for values beyond its start.
//
// Source: peaks over threshold, as in Siffer et al., "Anomaly Detection in Streams
// with Extreme Value Theory", KDD 2017. Departure: the excess follows a Lomax
// distribution whose scale is the channel's width, so that its index is the mean
// of log1p(excess / width), a sum instead of an optimisation, and its memory
// fades, so that the tail may change.
class TailModel {
 public:
  // excess: distance beyond the tail's start in widths; not positive: not in the tail.
  // samples: judged so far and remembered. gain: 1 / (samples + 1), at least 1 / memory.
  double Learn(double excess, double samples, double gain, const SeriesDetectorSettings& settings) {
    if (!(excess > 0)) {
      share_ -= share_ * gain;
      return 0;
    }
    return LearnExcess(excess, samples, gain, settings);
  }

 private:
  double LearnExcess(double excess, double samples, double gain, const SeriesDetectorSettings& settings);

  double share_ = 0;  // of samples in the tail
  double excesses_ = 0;
  double index_ = 0;  // mean log excess
};

// Evidence in nats (0: nothing, 3: at the tail's start) that a value does not
// belong to the values before it, from robust fading estimates of centre, width
// and both tails. It is learnt only after being judged.
// Cost: about 5 ns, 30 ns for a value in a tail. No allocation.
// Requires: finite values whose differences are finite.
class EvidenceChannel {
 public:
  // floor: the least width, in the unit of the value; positive.
  double Learn(double value, double floor, const SeriesDetectorSettings& settings);

  // The side of the last evidence: -1 below, +1 above, 0 none.
  int side() const { return side_; }

 private:
  void Follow(double value, double floor, const SeriesDetectorSettings& settings);

  double count_ = 0;
  double gain_ = 1;    // 1 / count_
  double judged_ = 0;  // since the warm-up
  double judged_gain_ = 1;
  double centre_ = 0;
  double width_ = 0;  // mean absolute deviation
  int side_ = 0;
  int run_ = 0;  // samples in the same tail, signed
  TailModel up_;
  TailModel down_;
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_EVIDENCE_CHANNEL_H_
