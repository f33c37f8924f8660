#include "detect/rarity.h"

#include <algorithm>
#include <cmath>

namespace heal {
namespace {

constexpr double kShareWeight = 100;  // samples the prior counts for
constexpr double kExcessWeight = 4;  // tail values
constexpr double kExcessMemory = 400;
constexpr double kYoungSamples = 1500;
constexpr double kPriorShape = 0.1;
constexpr double kLargestShape = 0.45;
constexpr double kLargestExcess = 16;  // of one value, in means: it must not hide the next

}  // namespace

double Rarity::Of(double value, const Options& options) const {
  const double excess = value - options.start;
  if (!(excess > 0)) return 0;
  const double share = (share_ * samples_ + options.prior_share * kShareWeight) / (samples_ + kShareWeight);
  const double weight = excesses_ + kExcessWeight;
  const double prior = options.prior_excess * (1 + (options.young - 1) * std::max(0.0, 1 - samples_ / kYoungSamples));
  const double mean = (excess_ * excesses_ + prior * kExcessWeight) / weight;
  // Of the prior: the mean square of a tail of its shape.
  const double prior_square = 2 * prior * prior * (1 - kPriorShape) / (1 - 2 * kPriorShape);
  const double square = (square_ * excesses_ + prior_square * kExcessWeight) / weight;
  const double ratio = mean * mean / std::max(square - mean * mean, 1e-12 * square);
  const double shape = std::clamp((1 - ratio) / 2, 1e-3, kLargestShape);
  const double scale = mean * (1 - shape);
  return std::log(1 + shape * excess / scale) / shape - std::log(std::min(1.0, share));
}

void Rarity::Learn(double value, const Options& options) {
  samples_ = std::min(samples_ + 1, options.memory);
  const double excess = value - options.start;
  share_ += ((excess > 0 ? 1.0 : 0.0) - share_) / samples_;
  if (!(excess > 0)) return;
  const double mean = excesses_ > 0 ? std::max(excess_, options.prior_excess) : options.prior_excess;
  const double taken = std::min(excess, kLargestExcess * mean);
  excesses_ = std::min(excesses_ + 1, kExcessMemory);
  excess_ += (taken - excess_) / excesses_;
  square_ += (taken * taken - square_) / excesses_;
}

}  // namespace heal
