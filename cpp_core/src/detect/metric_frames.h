// metric_frames.h: frames of many metrics, judged together.

#ifndef HEAL_CORE_DETECT_METRIC_FRAMES_H_
#define HEAL_CORE_DETECT_METRIC_FRAMES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "detect/frame_forest.h"
#include "detect/metric_series.h"

namespace heal {

// An isolation forest over the metrics of each category and one over all. Values
// are deviations from each metric's own baseline, those the load explains taken
// off; a metric without a value is missing. Metrics without a bad direction
// take no part.
// A frame is odd where its tail is at most kBarNats; an anomaly is raised
// after confirm_samples odd frames in a row, for the metric that is furthest off in its
// bad direction, unless that is no further than kLeastBadness or has raised
// one itself: many small deviations at once, none of which would do.
// Users' metrics take the first free of kUserFeatures places in both of their forests; what
// finds none is judged alone only.
// Cost: 4 to 5 us per forest and frame. No allocation after Create().
class MetricFrames {
 public:
  static constexpr double kBarNats = 12;
  static constexpr double kLeastBadness = 2;
  static constexpr size_t kUserFeatures = 32;
  static constexpr size_t kFrames = 5;  // four categories and the whole

  // The members of the frames; later ones take free places.
  void Create(const std::vector<MetricSeries*>& shipped, uint64_t seed);
  bool created() const { return frames_[0].forest != nullptr; }
  void Add(MetricSeries* series);
  void Remove(const MetricSeries* series);

  // One frame of each. *raised: whose anomaly begins by frame; at most kFrames,
  // nullptr after the last.
  void Observe(const SeriesTick& tick, std::array<Anomaly, kFrames>* anomalies, size_t* n);

  // Of the category's last frame; NaN until its forest is fitted.
  double ScoreOf(size_t category) const { return frames_[category].score; }
  // kFrames - 1, the whole frame, for a category that is not one of ours.
  static size_t CategoryIndex(std::string_view category);
  size_t Bytes() const;

 private:
  struct Frame {
    const char* category = "";  // "" all
    std::vector<MetricSeries*> members;  // nullptr: a free place
    std::vector<double> values;
    std::unique_ptr<FrameForest> forest;
    double score = 0;
    int odd = 0;  // frames in a row
    int calm = 0;
    int64_t since_us = 0;
    bool raised = false;
  };

  bool ObserveOne(const SeriesTick& tick, Frame* frame, Anomaly* out);

  std::array<Frame, kFrames> frames_;
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_METRIC_FRAMES_H_
