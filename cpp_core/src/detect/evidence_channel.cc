#include "detect/evidence_channel.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace heal {
namespace {

// What one value may add to the tail's index, in units of the index.
constexpr double kLargestExcess = 12;

// Two doubles the compiler keeps in one register, on any machine.
using Pair __attribute__((vector_size(2 * sizeof(double)))) = double;
using PairMask __attribute__((vector_size(2 * sizeof(int64_t)))) = int64_t;

Pair Load(const double* from) {
  Pair pair;
  std::memcpy(&pair, from, sizeof(pair));
  return pair;
}

PairMask Load(const int64_t* from) {
  PairMask mask;
  std::memcpy(&mask, from, sizeof(mask));
  return mask;
}

void Store(double* to, Pair pair) { std::memcpy(to, &pair, sizeof(pair)); }

Pair Both(double value) { return Pair{value, value}; }

Pair Absolute(Pair pair) { return pair < 0 ? -pair : pair; }

Pair Select(PairMask mask, Pair yes, Pair no) { return mask ? yes : no; }

// Another sample, and what the next one will weigh. A division only while young.
void Count(double memory, double* count, double* gain) {
  if (*count >= memory) return;
  ++*count;
  *gain = 1 / std::min(*count + 1, memory);
}

}  // namespace

double TailModel::LearnExcess(double excess, double samples, double gain,
                              const SeriesDetectorSettings& settings) {
  const double weighed = (share * samples + settings.prior_share * settings.prior_share_weight) /
                         (samples + settings.prior_share_weight);
  const double expected = (index * excesses + settings.prior_index * settings.prior_index_weight) /
                          (excesses + settings.prior_index_weight);
  const double distance = std::log(1 + excess);  // near 0 the absolute error counts
  share += (1 - share) * gain;
  // The tail remembers as long as the rest: as many excesses as memory holds.
  excesses = std::min(excesses + 1, std::max(settings.prior_index_weight, settings.memory * weighed));
  index += (std::min(distance, expected * kLargestExcess) - index) / excesses;
  return distance / expected - std::log(std::min(1.0, weighed));
}

void EvidenceChannels::Learn(const Lanes& values, const Lanes& floors, const Mask& active,
                             const SeriesDetectorSettings& settings, Lanes* evidences) {
  evidences->fill(0);
  side_.fill(0);
  alignas(16) Lanes distances;
  alignas(16) Lanes widths;
  for (uint32_t tails = Follow(values, floors, active, settings, &distances, &widths); tails != 0;
       tails &= tails - 1) {
    const size_t channel = static_cast<size_t>(std::countr_zero(tails));
    (*evidences)[channel] = LearnTail(channel, distances[channel], widths[channel], settings);
  }
  if (young_ || active != aged_) Age(active, settings);
}

// Centre and width learn the values. Returns the channels whose value lies in a
// tail, as bits, and for those the distance from the centre and the width as they
// were before; for the others both tails have learnt that it does not.
uint32_t EvidenceChannels::Follow(const Lanes& values, const Lanes& floors, const Mask& active,
                                  const SeriesDetectorSettings& settings, Lanes* distances, Lanes* widths) {
  const Pair unlimited = Both(std::numeric_limits<double>::max());
  uint32_t tails = 0;
  for (size_t i = 0; i < kChannels; i += 2) {
    const PairMask takes_part = Load(active.data() + i);
    const Pair count = Load(count_.data() + i);
    const PairMask known = count >= Both(settings.warm_up);
    const PairMask judged = takes_part & known;
    const Pair value = Load(values.data() + i);
    const Pair width = Load(width_.data() + i);
    const Pair least = Load(floors.data() + i);
    const Pair wide = width + least;
    Pair centre = Load(centre_.data() + i);
    Pair distance = value - centre;
    const Pair size = Absolute(distance);
    const PairMask tail = judged & (size > settings.tail_start * wide);
    Store(distances->data() + i, distance);
    Store(widths->data() + i, wide);

    const PairMask calm = judged & ~tail;
    const Pair share_gain = Select(calm, Load(judged_gain_.data() + i), Pair{});
    const Pair up = Load(up_share_.data() + i);
    const Pair down = Load(down_share_.data() + i);
    Store(up_share_.data() + i, up - up * share_gain);
    Store(down_share_.data() + i, down - down * share_gain);
    Store(run_.data() + i, Select(calm, Pair{}, Load(run_.data() + i)));
    tails |= static_cast<uint32_t>((tail[0] & 1) | (tail[1] & 2)) << i;

    const PairMask first = count == Pair{};
    centre = Select(first, value, centre);  // not its distance from zero
    distance = Select(first, Pair{}, distance);
    const Pair limit = Select(known, settings.winsor * width + least, unlimited);
    distance = distance > limit ? limit : distance;
    distance = distance < -limit ? -limit : distance;
    const Pair gain = Select(takes_part, Load(gain_.data() + i), Pair{});
    Store(centre_.data() + i, centre + distance * gain);
    Store(width_.data() + i, width + (Absolute(distance) - width) * gain);
  }
  return tails;
}

double EvidenceChannels::LearnTail(size_t channel, double distance, double width,
                                   const SeriesDetectorSettings& settings) {
  const bool above = distance > 0;
  const double gain = judged_gain_[channel];
  double& share = above ? up_share_[channel] : down_share_[channel];
  double& other = above ? down_share_[channel] : up_share_[channel];
  Tail& tail = above ? up_[channel] : down_[channel];
  other -= other * gain;
  TailModel model{share, tail.excesses, tail.index};
  const double excess = std::fabs(distance) / width - settings.tail_start;
  const double evidence = model.LearnExcess(std::max(excess, 0.0), judged_[channel], gain, settings);
  share = model.share;
  tail = {model.excesses, model.index};
  side_[channel] = above ? 1 : -1;
  double& run = run_[channel];
  run = above ? std::max(run, 0.0) + 1 : std::min(run, 0.0) - 1;
  if (std::fabs(run) > settings.relearn_after) Relearn(channel, settings);
  return std::min(evidence, settings.evidence_cap);
}

void EvidenceChannels::Relearn(size_t channel, const SeriesDetectorSettings& settings) {
  count_[channel] = settings.warm_up;
  gain_[channel] = 1 / (settings.warm_up + 1);
  up_share_[channel] = down_share_[channel] = 0;
  up_[channel] = down_[channel] = Tail();
  judged_[channel] = -1;  // this value was judged by what is forgotten
  judged_gain_[channel] = 1;
  run_[channel] = 0;
  young_ = true;
}

// Sample counts grow until they are as large as the memory; then nothing is left
// to do here until a channel takes part that did not.
void EvidenceChannels::Age(const Mask& active, const SeriesDetectorSettings& settings) {
  young_ = false;
  aged_ = active;
  for (size_t i = 0; i < kChannels; ++i) {
    if (active[i] == 0) continue;
    if (count_[i] >= settings.warm_up) Count(settings.memory, &judged_[i], &judged_gain_[i]);
    Count(settings.memory, &count_[i], &gain_[i]);
    young_ |= judged_[i] < settings.memory;
  }
}

double EvidenceChannel::Learn(double value, double floor, const SeriesDetectorSettings& settings) {
  double evidence = 0;
  side_ = 0;
  if (count_ >= settings.warm_up) {
    const double width = width_ + floor;
    const double beyond = std::fabs(value - centre_) - settings.tail_start * width;
    const bool above = value > centre_;
    if (beyond > 0) {
      // Divided only in a tail, which is where one value in twenty is.
      TailModel& tail = above ? up_ : down_;
      evidence = std::min(tail.LearnExcess(beyond / width, judged_, judged_gain_, settings), settings.evidence_cap);
      (above ? down_ : up_).LearnNone(judged_gain_);
      side_ = above ? 1 : -1;
    } else {
      up_.LearnNone(judged_gain_);
      down_.LearnNone(judged_gain_);
    }
    Count(settings.memory, &judged_, &judged_gain_);
    run_ = side_ == 0 ? 0 : (side_ > 0) == (run_ > 0) ? run_ + side_ : side_;
    if (std::abs(run_) > settings.relearn_after) {
      count_ = settings.warm_up;
      gain_ = 1 / (count_ + 1);
      up_ = down_ = TailModel();
      judged_ = 0;
      judged_gain_ = 1;
      run_ = 0;
    }
  }
  Follow(value, floor, settings);
  return evidence;
}

void EvidenceChannel::Follow(double value, double floor, const SeriesDetectorSettings& settings) {
  if (count_ == 0) centre_ = value;  // not its distance from zero
  const double gain = gain_;
  Count(settings.memory, &count_, &gain_);
  double distance = value - centre_;
  if (count_ > settings.warm_up) {
    const double limit = settings.winsor * width_ + floor;
    distance = std::clamp(distance, -limit, limit);
  }
  centre_ += distance * gain;
  width_ += (std::fabs(distance) - width_) * gain;
}

}  // namespace heal
