#include "diagnose/inference.h"

#include <algorithm>
#include <array>
#include <bit>

#include "core_error.h"

namespace heal {
namespace {

constexpr size_t kMaxScope = 32;
// Cells between two looks at the poll function: well below 10 ms.
constexpr size_t kPollMask = (size_t{1} << 16) - 1;
// Tables are scaled up before products come near the smallest double.
constexpr double kScaleBelow = 1e-100;

// Walks the cells of a cluster in order and yields the index of the matching
// cell of a table over some of its variables. Going from cell i to i+1 clears
// the low bits of i and sets the next one; step_ holds the effect of that on
// the other index, per bit set (modulo 2^64).
class Projection {
 public:
  // scope holds variables of members, in any order.
  Projection(std::span<const int> members, std::span<const int> scope) {
    size_t below = 0;
    for (size_t bit = 0; bit < members.size(); ++bit) {
      const auto at = std::find(scope.begin(), scope.end(), members[bit]);
      const size_t stride = at == scope.end() ? 0 : size_t{1} << (at - scope.begin());
      step_[bit] = stride - below;
      below += stride;
    }
  }

  size_t index() const { return index_; }
  void Next(size_t cell) { index_ += step_[static_cast<size_t>(std::countr_zero(cell + 1))]; }

 private:
  // One more than the widest cluster: the step after the last cell.
  std::array<size_t, kMaxScope + 1> step_{};
  size_t index_ = 0;
};

}  // namespace

std::vector<double> Inference::Posteriors(const Query& query) {
  factors_.Build(network_, query);
  targets_.clear();
  for (int target : query.targets) {
    if (factors_.variable_of(target) >= 0) targets_.push_back(factors_.variable_of(target));
  }
  elimination_.Run(factors_, targets_, limits_);
  MakeBuckets(query);
  MultiplyFactors();
  PassUp();
  PassDown();

  std::vector<double> out;
  out.reserve(query.targets.size());
  for (int target : query.targets) {
    if (factors_.variable_of(target) >= 0) {
      out.push_back(Posterior(factors_.variable_of(target)));
    } else if (target == query.forced) {
      out.push_back(query.forced_present ? 1.0 : 0.0);
    } else {
      out.push_back(query.evidence[static_cast<size_t>(target)] == Truth::kPresent ? 1.0 : 0.0);
    }
  }
  return out;
}

void Inference::MakeBuckets(const Query& query) {
  const auto clusters = elimination_.clusters();
  buckets_.clear();
  size_t end = 0;
  for (size_t i = 0; i < clusters.size(); ++i) {
    const size_t cells = CellCount(i);
    buckets_.push_back({end, end + cells, false});
    end += cells + cells / 2;
  }
  cells_.assign(end, 1.0);
  for (int target : query.targets) {
    const int variable = factors_.variable_of(target);
    if (variable >= 0) buckets_[static_cast<size_t>(elimination_.position(variable))].wanted = true;
  }
  // Beliefs come down from parents, and parents come later in the order.
  for (size_t i = 0; i < clusters.size(); ++i) {
    if (buckets_[i].wanted && clusters[i].parent >= 0)
      buckets_[static_cast<size_t>(clusters[i].parent)].wanted = true;
  }
}

// Each factor goes where its first variable is summed out.
void Inference::MultiplyFactors() {
  for (const Factors::Factor& factor : factors_.factors()) {
    const std::span<const int> scope = factors_.scope(factor);
    int first = elimination_.position(scope.front());
    if (first < 0) continue;  // d-separated from all targets
    for (int variable : scope) first = std::min(first, elimination_.position(variable));
    Multiply(static_cast<size_t>(first), scope, factors_.cells(factor));
  }
}

void Inference::PassUp() {
  const auto clusters = elimination_.clusters();
  for (size_t i = 0; i < clusters.size(); ++i) {
    limits_.Poll();
    SumOut(i);
    if (clusters[i].parent < 0) continue;
    Multiply(static_cast<size_t>(clusters[i].parent), elimination_.members(clusters[i]).subspan(1),
             Message(i));
  }
}

void Inference::PassDown() {
  for (size_t i = buckets_.size(); i-- > 0;) {
    limits_.Poll();
    if (buckets_[i].wanted && elimination_.clusters()[i].parent >= 0) Receive(i);
  }
}

// The table of the cluster holds the belief after PassDown; the variable is its
// lowest bit.
double Inference::Posterior(int variable) const {
  const auto cluster = static_cast<size_t>(elimination_.position(variable));
  const size_t first = buckets_[cluster].table;
  double absent = 0.0, present = 0.0;
  for (size_t i = 0; i < CellCount(cluster); i += 2) {
    absent += cells_[first + i];
    present += cells_[first + i + 1];
  }
  return present / (absent + present);
}

void Inference::Multiply(size_t cluster, std::span<const int> scope, std::span<const double> cells) {
  const std::span<double> table = Table(cluster);
  Projection from(elimination_.members(elimination_.clusters()[cluster]), scope);
  double max = 0.0;
  for (size_t i = 0; i < table.size(); ++i) {
    if ((i & kPollMask) == kPollMask) limits_.Poll();
    table[i] *= cells[from.index()];
    max = std::max(max, table[i]);
    from.Next(i);
  }
  if (max < kScaleBelow) Scale(table, max);
}

void Inference::Scale(std::span<double> cells, double max) const {
  if (!(max > 0.0)) throw EvidenceError("evidence is impossible in the causal graph");
  for (double& cell : cells) cell /= max;
}

// The message of a cluster is its table without the first variable.
void Inference::SumOut(size_t cluster) {
  const std::span<const double> table = Table(cluster);
  const std::span<double> message = Message(cluster);
  double max = 0.0;
  for (size_t i = 0; i < message.size(); ++i) {
    if ((i & kPollMask) == kPollMask) limits_.Poll();
    message[i] = table[2 * i] + table[2 * i + 1];
    max = std::max(max, message[i]);
  }
  Scale(message, max);
}

// Turns the table of a cluster into its belief: what the parent believes about
// the shared variables, over what this cluster told it.
void Inference::Receive(size_t cluster) {
  const Elimination::Cluster& child = elimination_.clusters()[cluster];
  const auto parent = static_cast<size_t>(child.parent);
  const std::span<const int> shared = elimination_.members(child).subspan(1);
  const std::span<const double> belief = Table(parent);
  const std::span<double> message = Message(cluster);
  scratch_.assign(message.size(), 0.0);
  Projection to(elimination_.members(elimination_.clusters()[parent]), shared);
  for (size_t i = 0; i < belief.size(); ++i) {
    if ((i & kPollMask) == kPollMask) limits_.Poll();
    scratch_[to.index()] += belief[i];
    to.Next(i);
  }
  // A message of zero made the belief zero as well: 0 / 0 is 0 here.
  for (size_t i = 0; i < message.size(); ++i) message[i] = message[i] > 0.0 ? scratch_[i] / message[i] : 0.0;
  Multiply(cluster, shared, message);
}

}  // namespace heal
