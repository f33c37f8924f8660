#include "diagnose/elimination.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <tuple>

#include "core_error.h"

namespace heal {
namespace {

// Beyond this width no limit is generous enough, and shifts stay safe.
constexpr int kMaxWidth = 30;
// A cluster of degree too high is never summed out.
constexpr size_t kTooWide = std::numeric_limits<size_t>::max();
// Per cluster: a table and a message of half its size, in doubles.
constexpr uint64_t kBytesPerCell = 12;

void InsertSorted(std::vector<int>* list, int value) {
  const auto at = std::lower_bound(list->begin(), list->end(), value);
  if (at == list->end() || *at != value) list->insert(at, value);
}

void EraseSorted(std::vector<int>* list, int value) {
  const auto at = std::lower_bound(list->begin(), list->end(), value);
  if (at != list->end() && *at == value) list->erase(at);
}

[[noreturn]] void ThrowTooWide() {
  throw LimitError("causal graph is too densely connected for exact inference within the work limit");
}

}  // namespace

WorkLimits WorkLimits::From(const hc_limits& limits) {
  WorkLimits work;
  if (limits.max_work != 0) work.max_cells = limits.max_work;
  if (limits.max_bytes != 0) work.max_bytes = limits.max_bytes;
  work.poll = limits.poll;
  work.poll_arg = limits.poll_arg;
  return work;
}

void WorkLimits::Poll() const {
  if (poll != nullptr && poll(poll_arg) != 0) throw CanceledError();
}

bool Elimination::Entry::operator>(const Entry& other) const {
  return std::tie(fill, degree, variable) > std::tie(other.fill, other.degree, other.variable);
}

void Elimination::Run(const Factors& factors, std::span<const int> targets, const WorkLimits& limits) {
  max_degree_ =
      static_cast<size_t>(std::min(kMaxWidth, static_cast<int>(std::bit_width(limits.max_cells)) - 1));
  cells_ = 0;
  clusters_.clear();
  members_.clear();
  heap_.clear();
  Connect(factors);
  MarkReachable(targets);
  versions_.assign(static_cast<size_t>(factors.variables()), 0);
  position_.assign(static_cast<size_t>(factors.variables()), -1);
  size_t open = 0;
  for (int v = 0; v < factors.variables(); ++v) {
    if (!reachable_[static_cast<size_t>(v)]) continue;
    Push(v);
    ++open;
  }
  for (; open > 0; --open) {
    limits.Poll();
    Eliminate(Pop(), limits);
  }
  LinkClusters();
}

// Variables that share a factor are neighbours.
void Elimination::Connect(const Factors& factors) {
  const auto n = static_cast<size_t>(factors.variables());
  for (auto& list : neighbours_) list.clear();
  if (neighbours_.size() < n) neighbours_.resize(n);
  for (const Factors::Factor& factor : factors.factors()) {
    const std::span<const int> scope = factors.scope(factor);
    for (int a : scope) {
      for (int b : scope) {
        if (a != b) InsertSorted(&neighbours_[static_cast<size_t>(a)], b);
      }
    }
  }
  reachable_.assign(n, 0);
}

void Elimination::MarkReachable(std::span<const int> targets) {
  std::vector<int> open;
  const auto visit = [&](int v) {
    char& mark = reachable_[static_cast<size_t>(v)];
    if (!mark) open.push_back(v);
    mark = 1;
  };
  for (int target : targets) visit(target);
  while (!open.empty()) {
    const int v = open.back();
    open.pop_back();
    for (int next : neighbours_[static_cast<size_t>(v)]) visit(next);
  }
}

bool Elimination::Adjacent(int a, int b) const {
  const auto& list = neighbours_[static_cast<size_t>(a)];
  return std::binary_search(list.begin(), list.end(), b);
}

// How many pairs of neighbours become neighbours when variable goes.
size_t Elimination::Fill(int variable) const {
  const auto& list = neighbours_[static_cast<size_t>(variable)];
  if (list.size() > max_degree_) return kTooWide;
  size_t fill = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    for (size_t j = i + 1; j < list.size(); ++j) fill += Adjacent(list[i], list[j]) ? 0 : 1;
  }
  return fill;
}

void Elimination::Push(int variable) {
  const auto v = static_cast<size_t>(variable);
  heap_.push_back({Fill(variable), neighbours_[v].size(), variable, ++versions_[v]});
  std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
}

// The cheapest variable; entries made before a change are skipped.
int Elimination::Pop() {
  for (;;) {
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    const Entry entry = heap_.back();
    heap_.pop_back();
    if (entry.version != versions_[static_cast<size_t>(entry.variable)]) continue;
    if (entry.fill == kTooWide) ThrowTooWide();
    return entry.variable;
  }
}

void Elimination::Eliminate(int variable, const WorkLimits& limits) {
  const auto& list = neighbours_[static_cast<size_t>(variable)];
  cells_ += uint64_t{2} << list.size();
  if (cells_ > limits.max_cells || cells_ > limits.max_bytes / kBytesPerCell) ThrowTooWide();
  position_[static_cast<size_t>(variable)] = static_cast<int>(clusters_.size());
  clusters_.push_back({variable, members_.size(), list.size() + 1, -1});
  members_.push_back(variable);
  members_.insert(members_.end(), list.begin(), list.end());
  ++versions_[static_cast<size_t>(variable)];
  LinkNeighbours(variable);
  for (int v : changed_) Push(v);
}

// Makes the neighbours of variable a clique, takes variable out and leaves in
// changed_ all variables whose fill may be another now.
void Elimination::LinkNeighbours(int variable) {
  const auto& list = neighbours_[static_cast<size_t>(variable)];
  changed_.assign(list.begin(), list.end());
  for (int v : list) EraseSorted(&neighbours_[static_cast<size_t>(v)], variable);
  for (size_t i = 0; i < list.size(); ++i) {
    for (size_t j = i + 1; j < list.size(); ++j) {
      if (Adjacent(list[i], list[j])) continue;
      auto& a = neighbours_[static_cast<size_t>(list[i])];
      auto& b = neighbours_[static_cast<size_t>(list[j])];
      std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(changed_));
      InsertSorted(&a, list[j]);
      InsertSorted(&b, list[i]);
    }
  }
  std::sort(changed_.begin(), changed_.end());
  changed_.erase(std::unique(changed_.begin(), changed_.end()), changed_.end());
}

// Sorts each scope by order of elimination: the first is summed out here, the
// second names the cluster that takes the message.
void Elimination::LinkClusters() {
  for (Cluster& cluster : clusters_) {
    const auto begin = members_.begin() + static_cast<std::ptrdiff_t>(cluster.first);
    std::sort(begin, begin + static_cast<std::ptrdiff_t>(cluster.size),
              [this](int a, int b) { return position(a) < position(b); });
    if (cluster.size > 1) cluster.parent = position(members_[cluster.first + 1]);
  }
}

}  // namespace heal
