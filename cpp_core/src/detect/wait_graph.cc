#include "detect/wait_graph.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "detect/lock_modes.h"

namespace heal {
namespace {

// Slots for n keys at a load of at most one half.
size_t SlotCount(size_t n) { return std::bit_ceil(2 * n + 2); }

size_t Slot(int32_t key, size_t slots) {
  const uint32_t mixed = static_cast<uint32_t>(key) * 2654435769U;
  return (mixed ^ (mixed >> 15)) & (slots - 1);
}

// A queue slice, cut to what the array holds.
template <typename T>
std::pair<const T*, uint32_t> Slice(const T* array, uint32_t size, uint32_t first, uint32_t n) {
  if (first >= size) return {array, 0};
  return {array + first, std::min(n, size - first)};
}

}  // namespace

WaitGraph::WaitGraph(const hc_observation& observation) : observation_(observation) {
  IndexSessions();
  const size_t most = size_t{observation.n_lock_holders} + observation.n_lock_waiters;
  party_slots_.assign(SlotCount(most), 0);
  parties_.reserve(most);
  party_of_node_.reserve(4 * most);
  edge_from_.reserve(4 * most);
  edge_to_.reserve(4 * most);
  for (uint32_t i = 0; i < observation.n_locks; ++i) {
    AddLock(observation.locks[i]);
  }
  forward_ = Compress(false);
  backward_ = Compress(true);
  FindRoots();
}

void WaitGraph::IndexSessions() {
  session_slots_.assign(SlotCount(observation_.n_sessions), 0);
  const size_t mask = session_slots_.size() - 1;
  for (uint32_t i = 0; i < observation_.n_sessions; ++i) {
    ++operations_;
    size_t slot = Slot(observation_.sessions[i].id.pid, session_slots_.size());
    while (session_slots_[slot] != 0) slot = (slot + 1) & mask;
    session_slots_[slot] = i + 1;
  }
}

const hc_session* WaitGraph::FindSession(int32_t pid) const {
  const size_t mask = session_slots_.size() - 1;
  for (size_t slot = Slot(pid, session_slots_.size()); session_slots_[slot] != 0; slot = (slot + 1) & mask) {
    const hc_session& session = observation_.sessions[session_slots_[slot] - 1];
    if (session.id.pid == pid) return &session;
  }
  return nullptr;
}

uint32_t WaitGraph::Find(int32_t pid) const {
  const size_t mask = party_slots_.size() - 1;
  for (size_t slot = Slot(pid, party_slots_.size()); party_slots_[slot] != 0; slot = (slot + 1) & mask) {
    const uint32_t index = party_slots_[slot] - 1;
    if (parties_[index].pid == pid && pid != 0) return index;
  }
  return kNone;
}

// The party of a process or, with pid 0, of a prepared transaction; a new one
// if it was not met before.
uint32_t WaitGraph::AddParty(int32_t pid, const char* gid) {
  ++operations_;
  const hc_session* session = pid != 0 ? FindSession(pid) : nullptr;
  if (session != nullptr && session->leader_pid != 0 && session->leader_pid != pid) {
    const hc_session* leader = FindSession(session->leader_pid);
    if (leader != nullptr) {
      session = leader;
      pid = leader->id.pid;
    }
  }
  // Prepared transactions share the slot chain of key 0; there are few.
  const size_t mask = party_slots_.size() - 1;
  size_t slot = Slot(pid, party_slots_.size());
  for (; party_slots_[slot] != 0; slot = (slot + 1) & mask) {
    const Party& known = parties_[party_slots_[slot] - 1];
    if (known.pid == pid && (pid != 0 || std::strcmp(known.gid, gid) == 0)) {
      return party_slots_[slot] - 1;
    }
  }
  const uint32_t index = static_cast<uint32_t>(parties_.size());
  party_slots_[slot] = index + 1;
  parties_.push_back({});
  parties_.back().pid = pid;
  parties_.back().gid = pid == 0 ? gid : "";
  parties_.back().session = session;
  node_of_party_.push_back(AddNode());
  party_of_node_.back() = index;
  return index;
}

uint32_t WaitGraph::AddNode() {
  ++operations_;
  party_of_node_.push_back(kNone);
  return static_cast<uint32_t>(party_of_node_.size() - 1);
}

void WaitGraph::AddEdge(uint32_t from, uint32_t to) {
  ++operations_;
  edge_from_.push_back(from);
  edge_to_.push_back(to);
}

void WaitGraph::AddLock(const hc_lock& lock) {
  const auto [holders, n_holders] =
      Slice(observation_.lock_holders, observation_.n_lock_holders, lock.first_holder, lock.n_holders);
  const auto [waiters, n_waiters] =
      Slice(observation_.lock_waiters, observation_.n_lock_waiters, lock.first_waiter, lock.n_waiters);
  std::array<uint32_t, kLockModes + 1> holders_of{};  // node: who excludes mode
  std::array<uint32_t, kLockModes + 1> queued{};      // node: end of the chain
  holders_of.fill(kNone);
  queued.fill(kNone);

  for (uint32_t position = 0; position < n_waiters; ++position) {
    const hc_lock_waiter& waiter = waiters[position];
    if (!IsLockMode(waiter.mode)) continue;
    const auto mode = static_cast<size_t>(waiter.mode);
    const uint32_t index = AddParty(waiter.pid, "");
    Party& party = parties_[index];
    if (party.lock == nullptr) {
      party.lock = &lock;
      party.request = &waiter;
      party.position = position;
    }
    const uint32_t node = node_of_party_[index];

    if (holders_of[mode] == kNone) {
      holders_of[mode] = AddNode();
      for (uint32_t i = 0; i < n_holders; ++i) {
        if ((holders[i].mode_mask & ConflictsOf(waiter.mode)) == 0) continue;
        AddEdge(holders_of[mode], node_of_party_[AddParty(holders[i].pid, holders[i].gid)]);
      }
    }
    AddEdge(node, holders_of[mode]);

    for (size_t ahead = 1; ahead <= kLockModes; ++ahead) {
      if (queued[ahead] == kNone) continue;
      if ((ConflictsOf(waiter.mode) & ModeBit(static_cast<int>(ahead))) == 0) {
        continue;
      }
      AddEdge(node, queued[ahead]);
    }
    const uint32_t link = AddNode();
    AddEdge(link, node);
    if (queued[mode] != kNone) AddEdge(link, queued[mode]);
    queued[mode] = link;
  }
}

WaitGraph::Edges WaitGraph::Compress(bool reversed) const {
  const std::vector<uint32_t>& from = reversed ? edge_to_ : edge_from_;
  const std::vector<uint32_t>& to = reversed ? edge_from_ : edge_to_;
  Edges edges;
  edges.begin.assign(party_of_node_.size() + 1, 0);
  edges.to.resize(to.size());
  for (const uint32_t node : from) ++edges.begin[node + 1];
  for (size_t i = 1; i < edges.begin.size(); ++i) {
    edges.begin[i] += edges.begin[i - 1];
  }
  std::vector<uint32_t> next(edges.begin.begin(), edges.begin.end() - 1);
  for (size_t i = 0; i < from.size(); ++i) edges.to[next[from[i]]++] = to[i];
  operations_ += 2 * from.size();
  return edges;
}

void WaitGraph::FindRoots() {
  for (uint32_t i = 0; i < parties_.size(); ++i) {
    ++operations_;
    const uint32_t node = node_of_party_[i];
    const bool blocks = backward_.begin[node] != backward_.begin[node + 1];
    if (blocks && parties_[i].lock == nullptr) roots_.push_back(i);
  }
}

std::vector<WaitGraph::Reached> WaitGraph::Victims(uint32_t party, const Filter& keep) const {
  std::vector<Reached> victims;
  if (party >= parties_.size()) return victims;
  // Level by level; an intermediate node lies at no distance of its own, so it
  // belongs to the level it is found in.
  std::vector<char> seen(party_of_node_.size(), 0);
  std::vector<uint32_t> level{node_of_party_[party]};
  std::vector<uint32_t> next_level;
  seen[level.front()] = 1;
  for (uint32_t depth = 1; !level.empty(); ++depth) {
    for (size_t i = 0; i < level.size(); ++i) {
      const uint32_t node = level[i];
      for (uint32_t e = backward_.begin[node]; e < backward_.begin[node + 1]; ++e) {
        ++operations_;
        const uint32_t next = backward_.to[e];
        const uint32_t index = party_of_node_[next];
        if (seen[next] != 0) continue;
        if (index == kNone) {
          level.push_back(next);
        } else if (!keep || keep(parties_[index])) {
          next_level.push_back(next);
          victims.push_back({index, depth});
        } else {
          continue;
        }
        seen[next] = 1;
      }
    }
    level.swap(next_level);
    next_level.clear();
  }
  return victims;
}

std::vector<uint32_t> WaitGraph::RootsOf(const std::vector<uint32_t>& parties) const {
  std::vector<uint32_t> found;
  std::vector<char> seen(party_of_node_.size(), 0);
  std::vector<uint32_t> stack;
  for (const uint32_t party : parties) {
    if (party < parties_.size()) stack.push_back(node_of_party_[party]);
  }
  while (!stack.empty()) {
    const uint32_t node = stack.back();
    stack.pop_back();
    if (seen[node] != 0) continue;
    seen[node] = 1;
    const uint32_t index = party_of_node_[node];
    if (index != kNone && parties_[index].lock == nullptr) {
      found.push_back(index);
      continue;
    }
    for (uint32_t e = forward_.begin[node]; e < forward_.begin[node + 1]; ++e) {
      ++operations_;
      stack.push_back(forward_.to[e]);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace heal
