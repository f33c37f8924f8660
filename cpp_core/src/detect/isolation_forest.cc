#include "detect/isolation_forest.h"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "core_error.h"

namespace heal {
namespace {

constexpr size_t kMost = 32767;  // twice that and one fit the 16 bits of a node
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// The next larger value. Requires: finite or -inf.
float Next(float value) {
  if (value == 0) return std::numeric_limits<float>::denorm_min();
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return std::bit_cast<float>(value > 0 ? bits + 1 : bits - 1);
}

// ceil(log2(n)), 0 for n below 2.
size_t CeilLog2(size_t n) { return n < 2 ? 0 : static_cast<size_t>(std::bit_width(n - 1)); }

}  // namespace

double AveragePathLength(size_t n) {
  if (n < 2) return 0;
  double harmonic = 0;
  for (size_t i = n - 1; i > 0; --i) harmonic += 1 / static_cast<double>(i);
  return 2 * harmonic - 2 * static_cast<double>(n - 1) / static_cast<double>(n);
}

IsolationForest::IsolationForest(size_t features, size_t capacity, Options options)
    : features_(features),
      capacity_(capacity),
      trees_(options.trees),
      subsample_(options.subsample),
      margin_(options.margin > 0 ? std::min(options.margin, 10.0) : 0) {
  if (features > kMost) throw LimitError("more than 32767 features");
  if (subsample_ > kMost) throw LimitError("a subsample of more than 32767 rows");
  const size_t rows = std::min(capacity, subsample_);
  path_.reserve(rows + 1);
  for (size_t i = 0; i <= rows; ++i) path_.push_back(AveragePathLength(i));
  // Reserved, not filled: a page that no node needs stays untouched.
  nodes_.reserve(trees_ * (size_t{2} << CeilLog2(rows)) + 1);
  roots_.reserve(trees_ + kLanes);
  query_.assign(2 * features + 1, kNaN);
  columns_.reserve(capacity * features);
  missing_.assign(features, 0);
  varying_.reserve(features);
  rows_.reserve(capacity);
  scratch_.assign(rows, 0);
  stack_.reserve(CeilLog2(rows) + 2);
  nodes_.push_back({0, static_cast<uint16_t>(2 * features), 0});
}

float IsolationForest::ToFeature(double value) {
  if (value > FLT_MAX) return FLT_MAX;
  if (value < -FLT_MAX) return -FLT_MAX;
  return static_cast<float>(value);
}

void IsolationForest::Begin(std::span<const float> samples, uint64_t seed) {
  random_ = SplitMix(seed);
  nodes_.resize(1);
  roots_.clear();
  stack_.clear();
  started_ = 0;
  height_ = 0;
  ready_ = false;
  rows_in_fit_ = features_ == 0 ? 0 : std::min(samples.size() / features_, capacity_);
  rows_in_tree_ = std::min(rows_in_fit_, subsample_);
  height_limit_ = CeilLog2(rows_in_tree_);
  CopySamples(samples);
  FindVarying();
  rows_.resize(rows_in_fit_);
  for (size_t i = 0; i < rows_in_fit_; ++i) rows_[i] = static_cast<uint32_t>(i);
}

// Column by column, because a node looks at one feature of many rows.
void IsolationForest::CopySamples(std::span<const float> samples) {
  columns_.resize(rows_in_fit_ * features_);
  for (size_t row = 0; row < rows_in_fit_; ++row) {
    const float* from = samples.data() + row * features_;
    float* to = columns_.data() + row;
    for (size_t feature = 0; feature < features_; ++feature) to[feature * rows_in_fit_] = from[feature];
  }
}

void IsolationForest::FindVarying() {
  varying_.clear();
  for (size_t feature = 0; feature < features_; ++feature) {
    const float* column = Column(feature);
    Range range{std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()};
    bool missing = false;
    for (size_t row = 0; row < rows_in_fit_; ++row) {
      const float value = column[row];
      range.low = value < range.low ? value : range.low;
      range.high = value > range.high ? value : range.high;
      missing |= value != value;
    }
    missing_[feature] = missing;
    if (range.varies()) varying_.push_back(static_cast<uint16_t>(feature));
  }
}

bool IsolationForest::Step(size_t max_nodes) {
  if (ready_ || rows_in_tree_ == 0) return ready_;
  for (; max_nodes > 0; --max_nodes) {
    if (stack_.empty()) {
      if (started_ == trees_) break;
      StartTree();
    }
    const Pending pending = stack_.back();
    stack_.pop_back();
    Split(pending);
  }
  if (stack_.empty() && started_ == trees_) Finish();
  return ready_;
}

void IsolationForest::StartTree() {
  DrawRows();
  ++started_;
  const uint32_t root = static_cast<uint32_t>(nodes_.size());
  nodes_.push_back({});
  roots_.push_back(root);
  stack_.push_back({root, 0, static_cast<uint32_t>(rows_in_tree_), 0, 0});
}

// The first steps of a Fisher-Yates shuffle: rows without replacement.
void IsolationForest::DrawRows() {
  if (rows_in_tree_ == rows_in_fit_) return;
  for (size_t i = 0; i < rows_in_tree_; ++i) {
    const uint32_t left = static_cast<uint32_t>(rows_in_fit_ - i);
    std::swap(rows_[i], rows_[i + random_.Below(left)]);
  }
}

void IsolationForest::Split(const Pending& pending) {
  uint32_t constant = pending.constant;
  uint16_t feature = 0;
  float threshold = 0;
  if (pending.depth == height_limit_ || pending.end - pending.begin < 2 ||
      !DrawCut(pending, &constant, &feature, &threshold)) {
    MakeLeaf(pending);
    return;
  }
  const float* column = Column(feature);
  uint32_t middle = Partition(column, pending.begin, pending.end, threshold);
  if (missing_[feature] != 0) middle = PlaceMissing(column, pending.begin, middle, pending.end);

  const uint32_t first = static_cast<uint32_t>(nodes_.size());
  nodes_.resize(nodes_.size() + 2);
  const bool left_first = middle - pending.begin >= pending.end - middle;
  Node& node = nodes_[pending.node];
  node.child = static_cast<uint16_t>(first - pending.node);
  node.feature = static_cast<uint16_t>(left_first ? feature : feature + features_);
  // x <= t is the same as -x > -Next(t).
  node.threshold = left_first ? threshold : -Next(threshold);
  const uint32_t left = left_first ? first : first + 1;
  const uint32_t right = left_first ? first + 1 : first;
  stack_.push_back({right, middle, pending.end, pending.depth + 1, constant});
  stack_.push_back({left, pending.begin, middle, pending.depth + 1, constant});
}

// Features found constant move to the front of varying_, so that no descendant
// draws them again. A sibling, which knows fewer, only sees another order of the rest.
bool IsolationForest::DrawCut(const Pending& pending, uint32_t* constant, uint16_t* feature,
                              float* threshold) {
  while (*constant < varying_.size()) {
    const uint64_t bits = random_.Next();
    const uint32_t rest = static_cast<uint32_t>(varying_.size()) - *constant;
    uint16_t& drawn = varying_[*constant + SplitMix::Below(static_cast<uint32_t>(bits >> 32), rest)];
    const Range range = RangeOf(Column(drawn), pending.begin, pending.end);
    if (range.varies()) {
      *feature = drawn;
      *threshold = Threshold(range, static_cast<double>(static_cast<uint32_t>(bits)) / 4294967296.0);
      return true;
    }
    std::swap(drawn, varying_[(*constant)++]);
  }
  return false;
}

// Without a margin at least one row lies on each side.
float IsolationForest::Threshold(const Range& range, double share) const {
  const double width = static_cast<double>(range.high) - range.low;
  const float threshold = ToFeature(range.low + width * (share * (1 + 2 * margin_) - margin_));
  // Rounding may have left no row above it, and an infinite range no number.
  const bool sound = margin_ > 0 ? threshold == threshold : threshold < range.high;
  return sound ? threshold : range.low;
}

// NaN loses every comparison, so it changes neither end.
IsolationForest::Range IsolationForest::RangeOf(const float* column, uint32_t begin, uint32_t end) const {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  // Two of each, because a minimum waits for the one before it.
  float low0 = kInf, low1 = kInf, high0 = -kInf, high1 = -kInf;
  const uint32_t* rows = rows_.data();
  uint32_t i = begin;
  for (; i + 1 < end; i += 2) {
    const float a = column[rows[i]];
    const float b = column[rows[i + 1]];
    low0 = a < low0 ? a : low0;
    low1 = b < low1 ? b : low1;
    high0 = a > high0 ? a : high0;
    high1 = b > high1 ? b : high1;
  }
  if (i < end) {
    const float a = column[rows[i]];
    low0 = a < low0 ? a : low0;
    high0 = a > high0 ? a : high0;
  }
  return {std::min(low0, low1), std::max(high0, high1)};
}

// Without a branch on the data, which is random by construction.
uint32_t IsolationForest::Partition(const float* column, uint32_t begin, uint32_t end, float threshold) {
  uint32_t* rows = rows_.data();
  uint32_t* above = scratch_.data();
  uint32_t middle = begin;
  size_t n_above = 0;
  for (uint32_t i = begin; i < end; ++i) {
    const uint32_t row = rows[i];
    const uint32_t goes_right = column[row] > threshold ? 1 : 0;
    rows[middle] = row;
    above[n_above] = row;
    middle += 1 - goes_right;
    n_above += goes_right;
  }
  std::memcpy(rows + middle, above, n_above * sizeof(*rows));
  return middle;
}

// Partition() left the rows without a value on the left. Moves them to the right
// if more of the rows with a value are there.
uint32_t IsolationForest::PlaceMissing(const float* column, uint32_t begin, uint32_t middle, uint32_t end) {
  uint32_t* rows = rows_.data();
  const auto present = [column](uint32_t row) { return column[row] == column[row]; };
  uint32_t* valued = std::partition(rows + begin, rows + middle, present);
  const uint32_t left = static_cast<uint32_t>(valued - (rows + begin));
  return left >= end - middle ? middle : begin + left;
}

void IsolationForest::MakeLeaf(const Pending& pending) {
  const double length = pending.depth + path_[pending.end - pending.begin];
  nodes_[pending.node] = {static_cast<float>(length), static_cast<uint16_t>(2 * features_), 0};
  height_ = std::max<size_t>(height_, pending.depth);
}

void IsolationForest::Finish() {
  while (roots_.size() % kLanes != 0) roots_.push_back(0);
  const double average = path_[rows_in_tree_] * static_cast<double>(trees_);
  inverse_ = average > 0 ? 1 / average : 0;
  ready_ = true;
}

double IsolationForest::Score(std::span<const float> point) {
  if (!ready_ || inverse_ == 0) return 0.5;
  const size_t given = std::min(point.size(), features_);
  for (size_t i = 0; i < features_; ++i) {
    const float value = i < given ? point[i] : kNaN;
    query_[i] = value;
    query_[features_ + i] = -value;
  }
  const float* query = query_.data();
  double total = 0;
  for (size_t tree = 0; tree < roots_.size(); tree += kLanes) {
    const Node* at[kLanes];
    for (size_t lane = 0; lane < kLanes; ++lane) at[lane] = nodes_.data() + roots_[tree + lane];
    for (size_t step = 0; step < height_; ++step) {
      // Unrolled, or the places would be kept in memory: a third slower.
#pragma GCC unroll 10
      for (const Node*& node : at) node += node->child + (query[node->feature] > node->threshold ? 1 : 0);
    }
    for (const Node* node : at) total += node->threshold;
  }
  return std::exp2(-total * inverse_);
}

}  // namespace heal
