// isolation_forest.h: how easily a point is told apart from a sample.

#ifndef HEAL_CORE_DETECT_ISOLATION_FOREST_H_
#define HEAL_CORE_DETECT_ISOLATION_FOREST_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "detect/split_mix.h"

namespace heal {

// Mean path length of an unsuccessful search in a binary search tree of n
// points: c(n) = 2 H(n-1) - 2 (n-1)/n, and 0 for n below 2.
//
// Source: Liu, Ting, Zhou, "Isolation Forest", ICDM 2008, section 2, equation 1.
// Departure: H is the exact harmonic number; the paper's ln(i) + 0.5772 is a
// quarter too small for n = 3 (and sets c(2) = 1 by hand, which is exact here).
// Cost: O(n).
double AveragePathLength(size_t n);

// Isolation forest: random trees over small subsamples; a point that few random
// cuts separate from the rest has short paths and a score near 1.
//
// Shapes: samples are rows x features, row-major, single precision; a point is
// one row. Scores do not change when a feature is shifted and scaled in samples
// and points alike, so centre a feature whose offset dwarfs its variation.
// Missing values: a NaN follows the larger child of a cut (the left one of two
// equal ones), in the fit and in the score; a feature's range is that of its
// values that are present. A feature constant in a node is never cut there.
// Infinite values are legal.
// Margin: the paper cuts within the range of a node's rows only, so a point far
// outside is no easier to isolate than the outermost row, and one wild feature
// among many calm ones hardly shows. With a margin some cuts fall beyond the rows
// and part them from what may come. That is right for judging new points by
// samples known to be calm (0.5 is good); where the samples hold the outliers
// sought, leave it 0.
//
// The fit is built in the background: Begin() copies the samples, each Step()
// processes some nodes; the trees are the same however the steps are cut.
// Deterministic: equal samples, seed and options give equal scores.
//
// Cost: a score is trees x height dependent loads, ten trees side by side; a
// node of the fit is two passes over its rows. No allocation after the
// constructor, which reserves 8 bytes x trees x 2 x subsample (rounded up to a power
// of 2) for nodes, of which a fit touches about a quarter, and takes 4 bytes x
// capacity x features for the copy of the samples.
//
// Source: Liu, Ting, Zhou 2008: training section 4.1 (algorithms 1 and 2),
// evaluation section 4.2 (algorithm 3), score section 2 (equation 2), 100 trees
// of 256 samples section 4.1. Departures: c(n) above; a feature is drawn among
// those that vary in the node, as scikit-learn does, where the paper draws among
// all; values that are missing; the margin (compare the acceptable range of Liu,
// Ting, Zhou, "On detecting clustered anomalies using SCiForest", ECML PKDD 2010).
class IsolationForest {
 public:
  struct Options {
    size_t trees = 100;
    size_t subsample = 256;  // rows of each tree
    double margin = 0;       // of a range that is cut beyond each end, as a share of it; at most 10
  };

  // capacity: most rows of one fit.
  // Throws LimitError above 32767 features or a subsample of 32767.
  IsolationForest(size_t features, size_t capacity, Options options);
  IsolationForest(size_t features, size_t capacity) : IsolationForest(features, capacity, Options{}) {}

  // A double as the forest takes it: beyond single precision it becomes the
  // largest such value, NaN stays NaN.
  static float ToFeature(double value);

  // Forgets the trees and starts new ones. Rows beyond the capacity and an
  // incomplete last row are left out. The samples may change afterwards.
  // Cost: one pass over the samples.
  void Begin(std::span<const float> samples, uint64_t seed);

  // Processes at most max_nodes nodes. Returns ready().
  bool Step(size_t max_nodes);

  // All of it at once.
  void Fit(std::span<const float> samples, uint64_t seed) {
    Begin(samples, seed);
    Step(SIZE_MAX);
  }

  // Whether the trees are complete. With no samples they never are.
  bool ready() const { return ready_; }

  // 0..1, higher is more anomalous, 0.5 where all points are alike; 0.5 while not
  // ready, too, and when there was one sample.
  // Features missing at the end of the point count as NaN.
  double Score(std::span<const float> point);

  size_t features() const { return features_; }
  size_t nodes() const { return nodes_.size() - 1; }

 private:
  // A cut: go to the second child if query[feature] > threshold, else to the
  // first. The first is the larger, which is where the comparison sends a NaN; to
  // have it so, a cut may test the negated feature. A leaf is its own child, its
  // threshold is the path length and its feature the query's NaN.
  struct Node {
    float threshold;
    uint16_t feature;
    uint16_t child;  // distance from this node to its first child
  };

  // A node whose rows are known and which is not cut yet.
  struct Pending {
    uint32_t node;
    uint32_t begin, end;  // of rows_
    uint32_t depth;
    uint32_t constant;  // the first entries of varying_ are constant in this node
  };

  struct Range {
    float low, high;
    bool varies() const { return low < high; }
  };

  // Trees scored side by side, to hide the latency of their loads.
  static constexpr size_t kLanes = 10;

  void CopySamples(std::span<const float> samples);
  void FindVarying();
  void StartTree();
  void DrawRows();
  void Split(const Pending& pending);
  // Draws a feature that varies in the node, and where to cut it; false if none varies.
  bool DrawCut(const Pending& pending, uint32_t* constant, uint16_t* feature, float* threshold);
  float Threshold(const Range& range, double share) const;
  Range RangeOf(const float* column, uint32_t begin, uint32_t end) const;
  // Moves rows at most the threshold to the front; returns where the others begin.
  uint32_t Partition(const float* column, uint32_t begin, uint32_t end, float threshold);
  uint32_t PlaceMissing(const float* column, uint32_t begin, uint32_t middle, uint32_t end);
  void MakeLeaf(const Pending& pending);
  const float* Column(size_t feature) const { return columns_.data() + feature * rows_in_fit_; }
  void Finish();

  size_t features_;
  size_t capacity_;
  size_t trees_;
  size_t subsample_;
  double margin_;
  std::vector<double> path_;  // AveragePathLength(i)

  // The forest. nodes_[0] is a leaf of length 0, which fills the last group.
  std::vector<Node> nodes_;
  std::vector<uint32_t> roots_;  // a multiple of kLanes
  std::vector<float> query_;     // the point, the point negated, NaN
  size_t height_ = 0;            // steps from a root to any leaf
  double inverse_ = 0;           // 1 / (trees x c(rows of a tree))
  bool ready_ = false;

  // The fit under way.
  std::vector<float> columns_;     // features x rows_in_fit_
  std::vector<uint8_t> missing_;   // whether a feature has NaN
  std::vector<uint16_t> varying_;  // features with two values at least, in any order
  std::vector<uint32_t> rows_;     // the first rows_in_tree_ belong to the tree
  std::vector<uint32_t> scratch_;
  std::vector<Pending> stack_;
  size_t rows_in_fit_ = 0;
  size_t rows_in_tree_ = 0;
  size_t height_limit_ = 0;
  size_t started_ = 0;  // trees
  SplitMix random_{0};
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_ISOLATION_FOREST_H_
