#include "detect/evidence_channel.h"

#include <algorithm>
#include <cmath>

namespace heal {
namespace {

// What one value may add to the tail's index, in units of the index.
constexpr double kLargestExcess = 12;

// Another sample, and what the next one will weigh. A division only while young.
void Count(double memory, double* count, double* gain) {
  if (*count >= memory) return;
  ++*count;
  *gain = 1 / std::min(*count + 1, memory);
}

}  // namespace

double TailModel::LearnExcess(double excess, double samples, double gain,
                              const SeriesDetectorSettings& settings) {
  const double share = (share_ * samples + settings.prior_share * settings.prior_share_weight) /
                       (samples + settings.prior_share_weight);
  const double index = (index_ * excesses_ + settings.prior_index * settings.prior_index_weight) /
                       (excesses_ + settings.prior_index_weight);
  const double distance = std::log1p(excess);
  share_ += (1 - share_) * gain;
  // The tail remembers as long as the rest: as many excesses as memory holds.
  excesses_ = std::min(excesses_ + 1, std::max(settings.prior_index_weight, settings.memory * share));
  index_ += (std::min(distance, index * kLargestExcess) - index_) / excesses_;
  return distance / index - std::log(std::min(1.0, share));
}

double EvidenceChannel::Learn(double value, double floor, const SeriesDetectorSettings& settings) {
  double evidence = 0;
  side_ = 0;
  if (count_ >= settings.warm_up) {
    const double width = width_ + floor;
    const double beyond = std::fabs(value - centre_) - settings.tail_start * width;
    // Divided only in a tail, which is where one value in twenty is.
    const double excess = beyond > 0 ? beyond / width : 0;
    const bool is_above = value > centre_;
    const double above = up_.Learn(is_above ? excess : 0, judged_, judged_gain_, settings);
    const double below = down_.Learn(is_above ? 0 : excess, judged_, judged_gain_, settings);
    Count(settings.memory, &judged_, &judged_gain_);
    evidence = std::min(std::max(above, below), settings.evidence_cap);
    if (evidence > 0) side_ = above > below ? 1 : -1;
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
