// elimination.h: the order in which variables are summed out, and the clusters
// that arise.

#ifndef HEAL_CORE_DIAGNOSE_ELIMINATION_H_
#define HEAL_CORE_DIAGNOSE_ELIMINATION_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "diagnose/factors.h"
#include "heal_core/c_api.h"

namespace heal {

// Bounds of one inference, from hc_limits with its defaults filled in.
struct WorkLimits {
  static WorkLimits From(const hc_limits& limits);

  uint64_t max_cells = uint64_t{1} << 24;
  uint64_t max_bytes = uint64_t{12} << 20;
  hc_poll_fn poll = nullptr;
  void* poll_arg = nullptr;

  // Throws CanceledError when the caller asked to stop.
  void Poll() const;
};

// Greedy min-fill order, ties by degree, then by number: deterministic. Only
// variables connected with a target through factors take part, the others are
// d-separated from all targets. Cost: near linear while clusters are small.
class Elimination {
 public:
  struct Cluster {
    int variable;        // summed out here; first of the scope
    size_t first, size;  // slice of the members, in order of elimination
    int parent;          // index of the cluster that gets the message, -1 none
  };

  // Throws LimitError when the tables would exceed the limits, before any of
  // them is made, and CanceledError.
  void Run(const Factors& factors, std::span<const int> targets, const WorkLimits& limits);

  std::span<const Cluster> clusters() const { return clusters_; }  // in order of elimination
  std::span<const int> members(const Cluster& c) const {
    return std::span<const int>(members_).subspan(c.first, c.size);
  }
  // Index of the cluster in which variable is summed out; -1 not taking part.
  int position(int variable) const { return position_[static_cast<size_t>(variable)]; }

 private:
  struct Entry {
    size_t fill, degree;
    int variable;
    uint32_t version;  // stale unless that of the variable
    bool operator>(const Entry& other) const;
  };

  void Connect(const Factors& factors);
  void MarkReachable(std::span<const int> targets);
  bool Adjacent(int a, int b) const;
  size_t Fill(int variable) const;
  void Push(int variable);
  int Pop();
  void Eliminate(int variable, const WorkLimits& limits);
  void LinkNeighbours(int variable);
  void LinkClusters();

  std::vector<std::vector<int>> neighbours_;  // sorted
  std::vector<char> reachable_;
  std::vector<uint32_t> versions_;
  std::vector<Entry> heap_;
  std::vector<int> changed_;
  std::vector<Cluster> clusters_;
  std::vector<int> members_;
  std::vector<int> position_;
  size_t max_degree_ = 0;
  uint64_t cells_ = 0;
};

}  // namespace heal

#endif  // HEAL_CORE_DIAGNOSE_ELIMINATION_H_
