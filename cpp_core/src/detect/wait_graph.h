// wait_graph.h: who waits for whom.

#ifndef HEAL_CORE_DETECT_WAIT_GRAPH_H_
#define HEAL_CORE_DETECT_WAIT_GRAPH_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "heal_core/observation.h"

namespace heal {

// Blocking among sessions and prepared transactions, from the locks somebody
// waits for. A waiter is blocked by every holder of a conflicting mode (hard)
// and by every conflicting request ahead of it in the queue (soft). Members of
// a parallel group stand for their leader: they never block each other.
//
// The number of such pairs is quadratic. The graph stays linear, at most 16
// edges per holder or waiter, by letting pairs share intermediate nodes: one per
// lock and requested mode for the holders, and one chain per lock and mode for
// the requests ahead.
//
// Borrows the observation. Cycles are tolerated: a cycle has no root.
class WaitGraph {
 public:
  struct Party {
    int32_t pid = 0;                      // 0: prepared transaction
    const char* gid = "";                 // of a prepared transaction
    const hc_session* session = nullptr;  // nullptr: not in the observation
    const hc_lock* lock = nullptr;        // waited for; nullptr: does not wait
    const hc_lock_waiter* request = nullptr;
    uint32_t position = 0;  // of the request in its queue
  };

  struct Reached {
    uint32_t party;
    uint32_t depth;  // parties between, plus one
  };

  using Filter = std::function<bool(const Party&)>;

  static constexpr uint32_t kNone = 0xffffffffU;

  explicit WaitGraph(const hc_observation& observation);

  size_t size() const { return parties_.size(); }
  const Party& party(uint32_t index) const { return parties_[index]; }

  // kNone if the process neither waits nor holds a lock waited for.
  uint32_t Find(int32_t pid) const;

  // Parties that block somebody and wait for nobody, in order of appearance.
  const std::vector<uint32_t>& roots() const { return roots_; }

  // Everybody who waits, directly or through others, for this party, nearest
  // first. Those the filter refuses are neither returned nor looked behind.
  std::vector<Reached> Victims(uint32_t party, const Filter& keep = {}) const;

  // The roots these parties wait for, directly or through others.
  std::vector<uint32_t> RootsOf(const std::vector<uint32_t>& parties) const;

  // Work done so far (nodes and edges built or visited), for the growth test.
  uint64_t operations() const { return operations_; }

 private:
  struct Edges {  // compressed rows
    std::vector<uint32_t> begin;
    std::vector<uint32_t> to;
  };

  void IndexSessions();
  const hc_session* FindSession(int32_t pid) const;
  uint32_t AddParty(int32_t pid, const char* gid);
  uint32_t AddNode();
  void AddEdge(uint32_t from, uint32_t to);
  void AddLock(const hc_lock& lock);
  void FindRoots();
  Edges Compress(bool reversed) const;

  const hc_observation& observation_;
  std::vector<uint32_t> session_slots_;  // open addressing: session index + 1
  std::vector<uint32_t> party_slots_;    // open addressing: party index + 1
  std::vector<Party> parties_;
  std::vector<uint32_t> party_of_node_;  // kNone: intermediate node
  std::vector<uint32_t> node_of_party_;
  std::vector<uint32_t> edge_from_;
  std::vector<uint32_t> edge_to_;
  Edges forward_;
  Edges backward_;
  std::vector<uint32_t> roots_;
  mutable uint64_t operations_ = 0;
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_WAIT_GRAPH_H_
