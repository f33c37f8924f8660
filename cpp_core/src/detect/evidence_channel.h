// evidence_channel.h: how unusual the values of features are under their history.

#ifndef HEAL_CORE_DETECT_EVIDENCE_CHANNEL_H_
#define HEAL_CORE_DETECT_EVIDENCE_CHANNEL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "detect/series_detector_settings.h"

namespace heal {

// One tail of a distribution: -ln P(X > x) for values beyond its start.
//
// Source: peaks over threshold, as in Siffer et al., "Anomaly Detection in Streams
// with Extreme Value Theory", KDD 2017. Departure: the excess follows a Lomax
// distribution whose scale is the channel's width, so that its index is the mean
// of log1p(excess / width), a sum instead of an optimisation, and its memory
// fades, so that the tail may change.
struct TailModel {
  // excess: distance beyond the tail's start in widths, positive. samples: judged
  // so far and remembered. gain: 1 / (samples + 1), at least 1 / memory.
  double LearnExcess(double excess, double samples, double gain, const SeriesDetectorSettings& settings);
  void LearnNone(double gain) { share -= share * gain; }

  double share = 0;  // of samples in the tail
  double excesses = 0;
  double index = 0;  // mean log excess
};

// Sixteen channels side by side. The evidence of a channel, in nats (0: nothing,
// 3: at the tail's start), says that a value does not belong to the values before
// it, from robust fading estimates of centre, width and both tails. It is learnt
// only after being judged.
// Arrays by quantity, so that two channels share a register: only what lies in a
// tail, which is one value in twenty, is looked at alone.
// Cost: about 60 ns for all, and 30 ns for each value in a tail. No allocation.
// Requires: finite values whose differences are finite.
class EvidenceChannels {
 public:
  static constexpr size_t kChannels = 16;
  using Lanes = std::array<double, kChannels>;
  using Mask = std::array<int64_t, kChannels>;  // -1: takes part, 0: stays as it is

  EvidenceChannels() {
    gain_.fill(1);
    judged_gain_.fill(1);
  }

  // floors: the least width, in the unit of the value; positive.
  void Learn(const Lanes& values, const Lanes& floors, const Mask& active, const SeriesDetectorSettings& settings,
             Lanes* evidences);

  // The side of the channel's last evidence: -1 below, +1 above, 0 none.
  int side(size_t channel) const { return side_[channel]; }

 private:
  uint32_t Follow(const Lanes& values, const Lanes& floors, const Mask& active,
                  const SeriesDetectorSettings& settings, Lanes* distances, Lanes* widths);
  double LearnTail(size_t channel, double distance, double width, const SeriesDetectorSettings& settings);
  void Relearn(size_t channel, const SeriesDetectorSettings& settings);
  void Age(const Mask& active, const SeriesDetectorSettings& settings);

  alignas(16) Lanes count_{};
  alignas(16) Lanes gain_;    // 1 / count_
  alignas(16) Lanes judged_{};  // since the warm-up
  alignas(16) Lanes judged_gain_;
  alignas(16) Lanes centre_{};
  alignas(16) Lanes width_{};  // mean absolute deviation
  alignas(16) Lanes up_share_{};
  alignas(16) Lanes down_share_{};
  alignas(16) Lanes run_{};  // samples in the same tail, signed
  struct Tail {
    double excesses = 0;
    double index = 0;
  };
  std::array<Tail, kChannels> up_{};
  std::array<Tail, kChannels> down_{};
  std::array<int8_t, kChannels> side_{};
  bool young_ = true;  // some count of a channel that took part last still grows
  Mask aged_{};        // those channels
};

// One channel alone, likewise.
class EvidenceChannel {
 public:
  double Learn(double value, double floor, const SeriesDetectorSettings& settings);
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
