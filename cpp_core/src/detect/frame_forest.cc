#include "detect/frame_forest.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace heal {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Numbers that make sense of any numbers.
FrameForest::Options Sane(FrameForest::Options options) {
  options.capacity = std::max<size_t>(options.capacity, 2);
  options.stride = std::max<size_t>(options.stride, 1);
  options.first_fit = std::clamp<size_t>(options.first_fit, 2, options.capacity);
  options.refit_every = std::max<size_t>(options.refit_every, 1);
  options.fit_nodes = std::max<size_t>(options.fit_nodes, 1);
  options.history = std::max<size_t>(options.history, 1);
  options.first_tail = std::clamp<size_t>(options.first_tail, 1, options.history);
  return options;
}

}  // namespace

FrameForest::FrameForest(size_t features, uint64_t seed, const Options& options)
    : options_(Sane(options)),
      features_(features),
      random_(seed),
      frame_(features),
      memory_(options_.capacity * features),
      fit_due_(options_.first_fit),
      forests_{IsolationForest(features, options_.capacity, options_.forest),
               IsolationForest(features, options_.capacity, options_.forest)},
      scores_(options_.history),
      sorted_(options_.history) {}

FrameVerdict FrameForest::Observe(std::span<const double> frame) {
  if (!TakeIn(frame)) return {kNaN, kNaN};
  const FrameVerdict verdict = Judge();
  if (frozen_) return verdict;
  if (MayLearn(verdict)) {
    Remember();
    if (fits_ > 0) RememberScore(verdict.score);
    BeginFitIfDue();
  }
  WorkOnFit();
  return verdict;
}

// Returns false if no value is present.
bool FrameForest::TakeIn(std::span<const double> frame) {
  bool any = false;
  for (size_t i = 0; i < features_; ++i) {
    const float value = i < frame.size() ? IsolationForest::ToFeature(frame[i]) : static_cast<float>(kNaN);
    frame_[i] = value;
    any |= value == value;
  }
  return any;
}

FrameVerdict FrameForest::Judge() {
  if (fits_ == 0) return {kNaN, kNaN};
  const double score = forests_[judge_].Score(frame_);
  return {score, n_scores_ < options_.first_tail ? kNaN : Tail(score)};
}

double FrameForest::Tail(double score) const {
  const float value = static_cast<float>(score);
  const float limit = std::min(value, threshold_);
  size_t above = 0;
  for (size_t i = 0; i < n_scores_; ++i) above += scores_[i] >= limit ? 1 : 0;
  // One more of each: the frame itself. So the tail is never 0 by counting.
  const double share = static_cast<double>(above + 1) / static_cast<double>(n_scores_ + 1);
  if (value <= threshold_) return share;
  return share * std::exp(-(score - static_cast<double>(threshold_)) / excess_);
}

bool FrameForest::MayLearn(const FrameVerdict& verdict) {
  // NaN is no outlier.
  if (!(verdict.tail < options_.outlier_tail)) {
    outliers_ = 0;
    return true;
  }
  if (outliers_ < options_.patience) {
    ++outliers_;
    return false;
  }
  return true;
}

void FrameForest::Remember() {
  if (fit_due_ > 0) --fit_due_;
  size_t slot = remembered_;
  if (remembered_ < options_.capacity) {
    ++remembered_;
  } else {
    if (++seen_ < options_.stride) return;
    seen_ = 0;
    slot = random_.Below(static_cast<uint32_t>(options_.capacity));
  }
  std::copy(frame_.begin(), frame_.end(), memory_.begin() + static_cast<ptrdiff_t>(slot * features_));
}

void FrameForest::RememberScore(double score) {
  scores_[next_score_] = static_cast<float>(score);
  if (++next_score_ == scores_.size()) next_score_ = 0;
  n_scores_ = std::min(n_scores_ + 1, scores_.size());
  if (tail_due_ > 0) --tail_due_;
  if (tail_due_ > 0 || n_scores_ < options_.first_tail) return;
  EstimateTail();
  tail_due_ = kTailEvery;
}

void FrameForest::EstimateTail() {
  const ptrdiff_t n = static_cast<ptrdiff_t>(n_scores_);
  std::copy(scores_.begin(), scores_.begin() + n, sorted_.begin());
  const ptrdiff_t at = static_cast<ptrdiff_t>(static_cast<double>(n - 1) * (1 - kTailShare));
  std::nth_element(sorted_.begin(), sorted_.begin() + at, sorted_.begin() + n);
  threshold_ = sorted_[static_cast<size_t>(at)];
  double sum = 0;
  for (ptrdiff_t i = at + 1; i < n; ++i)
    sum += static_cast<double>(sorted_[static_cast<size_t>(i)] - threshold_);
  const ptrdiff_t above = n - at - 1;
  excess_ = std::max(above > 0 ? sum / static_cast<double>(above) : 0, kLeastExcess);
}

void FrameForest::BeginFitIfDue() {
  if (fit_due_ > 0 || fitting_) return;
  forests_[1 - judge_].Begin({memory_.data(), remembered_ * features_}, random_.Next());
  fitting_ = true;
  // Doubled memory, or the usual pace. A fit that takes longer delays the next.
  fit_due_ = remembered_ < options_.capacity ? std::min(remembered_, options_.capacity - remembered_)
                                             : options_.refit_every;
}

void FrameForest::WorkOnFit() {
  if (!fitting_ || !forests_[1 - judge_].Step(options_.fit_nodes)) return;
  judge_ = 1 - judge_;
  fitting_ = false;
  ++fits_;
}

}  // namespace heal
