#include "diagnose/factors.h"

#include "core_error.h"

namespace heal {
namespace {

// Up to this many open causes a plain table is smaller than a chain.
constexpr size_t kMaxTableCauses = 3;

Truth ValueOf(const Query& query, int node) {
  if (node == query.forced) return query.forced_present ? Truth::kPresent : Truth::kAbsent;
  return query.evidence[static_cast<size_t>(node)];
}

}  // namespace

void Factors::Build(const Network& network, const Query& query) {
  factors_.clear();
  scopes_.clear();
  cells_.clear();
  NumberVariables(network, query);
  for (int node = 0; node < network.size(); ++node) {
    // A forced node has no factor of its own: nothing inside explains it.
    if (needed_[static_cast<size_t>(node)] && node != query.forced) AddNode(network, query, node);
  }
}

// Needed are the ancestors of the targets and of what was seen; the rest is
// barren and sums to one.
void Factors::NumberVariables(const Network& network, const Query& query) {
  needed_.assign(static_cast<size_t>(network.size()), 0);
  for (int target : query.targets) needed_[static_cast<size_t>(target)] = 1;
  for (int node = 0; node < network.size(); ++node) {
    if (query.evidence[static_cast<size_t>(node)] != Truth::kUnknown) needed_[static_cast<size_t>(node)] = 1;
  }
  network.MarkAncestors(&needed_);
  variable_of_.assign(static_cast<size_t>(network.size()), -1);
  variables_ = 0;
  for (int node = 0; node < network.size(); ++node) {
    const auto n = static_cast<size_t>(node);
    if (needed_[n] && ValueOf(query, node) == Truth::kUnknown) variable_of_[n] = variables_++;
  }
}

void Factors::AddNode(const Network& network, const Query& query, int node) {
  double base = 1.0 - network.leak(node);
  open_.clear();
  for (const Link& link : network.causes(node)) {
    const Truth cause = ValueOf(query, link.cause);
    if (cause == Truth::kPresent) base *= 1.0 - link.strength;
    if (cause == Truth::kUnknown) open_.push_back({variable_of(link.cause), 1.0 - link.strength});
  }
  const Truth value = ValueOf(query, node);
  if (value == Truth::kAbsent) return AddAbsent(base);
  const int result = value == Truth::kPresent ? -1 : variable_of(node);
  if (open_.empty() && result < 0) return AddConstant(1.0 - base);
  if (open_.size() <= kMaxTableCauses) return AddOr(base, open_, -1, result);
  AddChain(base, result);
}

// Absent means that every cause failed, each for itself.
void Factors::AddAbsent(double base) {
  AddConstant(base);
  for (const Open& cause : open_) {
    factors_.push_back({scopes_.size(), 1, cells_.size()});
    scopes_.push_back(cause.variable);
    cells_.push_back(1.0);
    cells_.push_back(cause.q);
  }
}

// One OR over causes and, when input >= 0, an accumulator in front of them.
void Factors::AddOr(double base, std::span<const Open> causes, int input, int result) {
  factors_.push_back({scopes_.size(), 0, cells_.size()});
  if (input >= 0) scopes_.push_back(input);
  for (const Open& cause : causes) scopes_.push_back(cause.variable);
  const size_t inputs = scopes_.size() - factors_.back().first_variable;
  const size_t first_cause = input >= 0 ? 1 : 0;
  if (result >= 0) scopes_.push_back(result);
  factors_.back().n_variables = scopes_.size() - factors_.back().first_variable;

  const size_t rows = size_t{1} << inputs;
  const size_t first = cells_.size();
  for (size_t row = 0; row < rows; ++row) {
    double absent = base;
    for (size_t k = 0; k < causes.size(); ++k) {
      if ((row >> (k + first_cause)) & 1) absent *= causes[k].q;
    }
    if (input >= 0 && (row & 1)) absent = 0.0;
    cells_.push_back(absent);
  }
  if (result >= 0) cells_.resize(first + 2 * rows);
  for (size_t row = 0; row < rows; ++row) {
    cells_[first + row + (result >= 0 ? rows : 0)] = 1.0 - cells_[first + row];
  }
}

// Accumulators: after the first two causes, then after each further one. The
// last accumulator is the node itself.
void Factors::AddChain(double base, int result) {
  const std::span<const Open> causes(open_);
  int sum = variables_++;
  AddOr(base, causes.first(2), -1, sum);
  for (size_t k = 2; k < causes.size(); ++k) {
    const bool last = k + 1 == causes.size();
    const int next = last ? result : variables_++;
    AddOr(1.0, causes.subspan(k, 1), sum, next);
    sum = next;
  }
}

// A constant changes no posterior, unless it is zero.
void Factors::AddConstant(double value) {
  if (!(value > 0.0)) throw EvidenceError("evidence is impossible in the causal graph");
}

}  // namespace heal
