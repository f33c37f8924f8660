#include "detect/session_groups.h"

#include <algorithm>
#include <cstring>

namespace heal {
namespace {

int Compare(const hc_session& a, const hc_session& b) {
  if (a.role_oid != b.role_oid) return a.role_oid < b.role_oid ? -1 : 1;
  const int application = std::strcmp(a.application, b.application);
  return application != 0 ? application : std::strcmp(a.client_addr, b.client_addr);
}

}  // namespace

std::vector<SessionGroup> GroupSessions(const hc_observation& observation) {
  std::vector<const hc_session*> clients;
  clients.reserve(observation.n_sessions);
  for (uint32_t i = 0; i < observation.n_sessions; ++i) {
    const hc_session& session = observation.sessions[i];
    if (session.kind == HC_BACKEND_CLIENT && (session.flags & HC_SESSION_OWN) == 0) {
      clients.push_back(&session);
    }
  }
  std::stable_sort(clients.begin(), clients.end(),
                   [](const hc_session* a, const hc_session* b) { return Compare(*a, *b) < 0; });
  std::vector<SessionGroup> groups;
  for (const hc_session* session : clients) {
    if (groups.empty() || Compare(*groups.back().any, *session) != 0) {
      groups.push_back({session, {}});
    }
    groups.back().sessions.push_back(session);
  }
  return groups;
}

GroupSizes::Key GroupSizes::KeyOf(const SessionGroup& group) {
  return {group.any->role_oid, group.any->application, group.any->client_addr};
}

void GroupSizes::Learn(const std::vector<SessionGroup>& groups, int64_t mono_us) {
  if (n_slots_ == 0 || mono_us - slot_started_ >= kSlotUs) {
    slot_ = n_slots_ == 0 ? 0 : (slot_ + 1) % kSlots;
    n_slots_ = std::min(n_slots_ + 1, kSlots);
    slot_started_ = mono_us;
    for (auto& [key, sizes] : sizes_) sizes[slot_] = 0;
    std::erase_if(sizes_, [](const auto& entry) {
      return std::all_of(entry.second.begin(), entry.second.end(), [](uint16_t size) { return size == 0; });
    });
  }
  samples_ = std::min(samples_ + 1, kFewestSamples);
  for (const SessionGroup& group : groups) {
    Key key = KeyOf(group);
    auto known = sizes_.find(key);
    if (known == sizes_.end()) {
      if (sizes_.size() >= kMostGroups) continue;
      known = sizes_.emplace(std::move(key), Sizes{}).first;
    }
    uint16_t& largest = known->second[slot_];
    const size_t size = std::min<size_t>(group.sessions.size(), 65535);
    largest = std::max(largest, static_cast<uint16_t>(size));
  }
}

double GroupSizes::Usual(const SessionGroup& group) const {
  if (samples_ < kFewestSamples) return -1;
  const auto known = sizes_.find(KeyOf(group));
  if (known == sizes_.end()) return 0;
  // Slots are filled from the front, so the first n_slots_ hold samples.
  std::vector<uint16_t> sorted(known->second.begin(),
                               known->second.begin() + static_cast<ptrdiff_t>(n_slots_));
  std::sort(sorted.begin(), sorted.end());
  return sorted[(sorted.size() * 99 + 99) / 100 - 1];
}

}  // namespace heal
