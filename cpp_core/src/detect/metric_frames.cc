#include "detect/metric_frames.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace heal {
namespace {

constexpr const char* kCategories[MetricFrames::kFrames] = {"performance", "resource", "security", "data_quality", ""};

// A mean age of 2048 frames, which is six hours at ten seconds; the work of a fit
// is spread thin, because all forests may be at it in the same tick.
FrameForest::Options ForestOptions() {
  FrameForest::Options options;
  options.forest = {100, 128, 0.5};
  options.capacity = 256;
  options.stride = 8;
  options.refit_every = 1024;
  options.fit_nodes = 64;
  return options;
}

}  // namespace

void MetricFrames::Create(const std::vector<MetricSeries*>& shipped, uint64_t seed) {
  for (size_t i = 0; i < kFrames; ++i) {
    Frame& frame = frames_[i];
    frame.category = kCategories[i];
    const std::string_view category(frame.category);
    for (MetricSeries* series : shipped) {
      if (series->traits().bad == BadDirection::kNone) continue;
      if (category.empty() || category == series->traits().category) frame.members.push_back(series);
    }
    frame.members.resize(frame.members.size() + kUserFeatures);
    frame.values.resize(frame.members.size());
    frame.forest = std::make_unique<FrameForest>(frame.members.size(), seed + i, ForestOptions());
    frame.score = std::numeric_limits<double>::quiet_NaN();
  }
}

void MetricFrames::Add(MetricSeries* series) {
  if (series->traits().bad == BadDirection::kNone) return;
  for (Frame& frame : frames_) {
    const std::string_view category(frame.category);
    if (!category.empty() && category != series->traits().category) continue;
    const auto free = std::find(frame.members.begin(), frame.members.end(), nullptr);
    if (free != frame.members.end()) *free = series;
  }
}

void MetricFrames::Remove(const MetricSeries* series) {
  for (Frame& frame : frames_) {
    std::replace(frame.members.begin(), frame.members.end(), const_cast<MetricSeries*>(series),
                 static_cast<MetricSeries*>(nullptr));
  }
}

void MetricFrames::Observe(const SeriesTick& tick, std::array<Anomaly, kFrames>* anomalies, size_t* n) {
  *n = 0;
  for (Frame& frame : frames_) {
    if (ObserveOne(tick, &frame, &(*anomalies)[*n])) ++*n;
  }
}

bool MetricFrames::ObserveOne(const SeriesTick& tick, Frame* frame, Anomaly* out) {
  MetricSeries* worst = nullptr;
  for (size_t i = 0; i < frame->members.size(); ++i) {
    MetricSeries* series = frame->members[i];
    frame->values[i] = series == nullptr ? std::numeric_limits<double>::quiet_NaN() : series->deviation();
    if (series != nullptr && series->badness() > (worst == nullptr ? 0 : worst->badness())) worst = series;
  }
  frame->forest->Freeze(tick.frozen);
  const FrameVerdict verdict = frame->forest->Observe(frame->values);
  frame->score = verdict.score;
  const double nats = verdict.tail > 0 ? -std::log(verdict.tail) : 0;  // NaN: not known yet
  if (!(nats >= kBarNats)) {
    frame->odd = 0;
    if (nats < kBarNats / 2 && ++frame->calm >= tick.settings->confirm_samples) frame->raised = false;
    return false;
  }
  frame->calm = 0;
  if (frame->odd++ == 0) frame->since_us = tick.now_us;
  if (frame->raised || frame->odd < tick.settings->confirm_samples) return false;
  if (worst == nullptr || worst->badness() < kLeastBadness) return false;
  frame->raised = true;
  if (worst->raised() || worst->Usually(tick.now_us, worst->status().value)) return false;  // said already
  out->def = &worst->traits();
  out->observed_at = tick.now_us;
  out->onset_at = frame->since_us;
  out->value = worst->status().value;
  out->score = std::abs(worst->deviation());
  out->method = "forest";
  out->shape = worst->ShapeNow(*tick.settings, out->value);
  out->direction = worst->deviation() > 0 ? "up" : "down";
  out->confidence = 1 - 0.25 * kBarNats / nats;
  return true;
}

size_t MetricFrames::CategoryIndex(std::string_view category) {
  size_t i = 0;
  while (i + 1 < kFrames && category != kCategories[i]) ++i;
  return i;
}

size_t MetricFrames::Bytes() const {
  size_t bytes = 0;
  const FrameForest::Options options = ForestOptions();
  for (const Frame& frame : frames_) {
    if (frame.forest == nullptr) continue;
    bytes += sizeof(FrameForest) + 12 * options.capacity * frame.members.size() +
             16 * options.forest.trees * 2 * options.forest.subsample;
  }
  return bytes;
}

}  // namespace heal
