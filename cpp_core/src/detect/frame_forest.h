// frame_forest.h: how unusual a frame of metrics is as a whole.

#ifndef HEAL_CORE_DETECT_FRAME_FOREST_H_
#define HEAL_CORE_DETECT_FRAME_FOREST_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "detect/isolation_forest.h"
#include "detect/split_mix.h"

namespace heal {

// What the forest says of one frame. NaN while it cannot say.
struct FrameVerdict {
  double score;  // of the isolation forest, 0..1
  double tail;   // share of past frames expected to score as high, 0..1
};

// An isolation forest over the frames of the past: finds frames with many values
// off their usual course at once, though each alone may pass. It is blind where a
// rolling deviation sees best: a single metric far off among many calm ones moves
// the score little. One object for each set of metrics that is judged together;
// the smaller the set, the keener.
//
// Frames: n values, NaN for one that is missing; standardised by the caller, so
// that a feature's offset does not swamp its variation. A frame without any
// value is neither judged nor learnt.
// Memory of the past: `capacity` frames. Once full, each `stride`-th frame takes
// the place of a random one, so ages are spread exponentially with a mean of
// capacity x stride frames: recent enough to follow, long enough to remember a
// nightly batch. The forest is fitted anew each time the memory has doubled, and
// each `refit_every` frames once it is full; until a fit is complete the forest
// before it judges.
// Tail: the score among the last `history` scores, each given by the forest of
// its time to a frame it had not seen. Above their 90 % quantile the tail is
// exponential with the mean excess seen there, so it goes below 1 / history.
// Scores are kept across fits: a new forest that follows a change is believed
// only when its own scores have come in.
// Outliers: a frame with a tail below `outlier_tail` is not learnt for the first
// `patience` in a row; what lasts longer is the new normal. While frozen nothing
// is learnt, and no fit begins or goes on.
//
// Deterministic: equal frames and seed give equal verdicts.
// Cost of a frame: one score, one pass over `history` floats, and `fit_nodes`
// nodes of the fit while one is under way; one frame of a fit copies the memory.
// No allocation after the constructor. Memory is about 12 bytes x capacity x
// features and 16 bytes x trees x 2 x subsample, of which a quarter is touched.
//
// Source: the memory is Aggarwal, "On biased reservoir sampling in the presence
// of stream evolution", VLDB 2006 (memory-less reservoir). The tail is
// peaks over threshold with an exponential excess, the case of shape 0 of Siffer
// et al., "Anomaly detection in streams with extreme value theory", KDD 2017.
// Departure: shape 0 is assumed; scores are bounded, so it errs to the
// side of too large a tail.
class FrameForest {
 public:
  struct Options {
    IsolationForest::Options forest = {100, 256, 0.5};
    size_t capacity = 512;     // frames remembered
    size_t stride = 4;         // frames per frame remembered, once full
    size_t first_fit = 64;     // frames before the first fit
    size_t refit_every = 256;  // frames between fits, once full
    size_t fit_nodes = 512;    // nodes of the fit per frame
    size_t history = 512;      // past scores
    size_t first_tail = 64;    // past scores before the first tail
    double outlier_tail = 1e-4;
    size_t patience = 30;
  };

  // Throws LimitError as IsolationForest does.
  FrameForest(size_t features, uint64_t seed, const Options& options);
  FrameForest(size_t features, uint64_t seed) : FrameForest(features, seed, Options{}) {}

  // Judges the frame, then learns it and gives the fit its share of work.
  // Values missing at the end of the frame count as NaN.
  FrameVerdict Observe(std::span<const double> frame);

  // While frozen nothing is learnt: a fault must not become the new normal.
  void Freeze(bool frozen) { frozen_ = frozen; }
  bool frozen() const { return frozen_; }

  size_t features() const { return features_; }
  size_t remembered() const { return remembered_; }
  uint64_t fits() const { return fits_; }  // completed
  bool fitting() const { return fitting_; }

 private:
  // The share of scores above which the tail is modelled.
  static constexpr double kTailShare = 0.1;
  // Least mean excess: scores that are all but equal make no outlier of the next.
  static constexpr double kLeastExcess = 1e-3;
  // Scores between two estimates of the tail.
  static constexpr size_t kTailEvery = 16;

  bool TakeIn(std::span<const double> frame);
  FrameVerdict Judge();
  double Tail(double score) const;
  bool MayLearn(const FrameVerdict& verdict);
  void Remember();
  void RememberScore(double score);
  void EstimateTail();
  void BeginFitIfDue();
  void WorkOnFit();

  Options options_;
  size_t features_;
  SplitMix random_;
  bool frozen_ = false;

  std::vector<float> frame_;   // the present one
  std::vector<float> memory_;  // capacity x features
  size_t remembered_ = 0;
  size_t seen_ = 0;     // frames learnt since one was put into the full memory
  size_t fit_due_ = 0;  // frames to learn before the next fit

  std::array<IsolationForest, 2> forests_;  // one judges, the other is fitted
  size_t judge_ = 0;
  bool fitting_ = false;
  uint64_t fits_ = 0;

  std::vector<float> scores_;  // a ring
  size_t n_scores_ = 0;
  size_t next_score_ = 0;
  std::vector<float> sorted_;  // scratch
  size_t tail_due_ = 0;
  float threshold_ = 0;  // the 1 - kTailShare quantile of the scores
  double excess_ = 0;    // mean distance of scores above it
  size_t outliers_ = 0;  // in a row
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_FRAME_FOREST_H_
