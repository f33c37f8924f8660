// session_groups.h: how many sessions an application usually keeps.

#ifndef HEAL_CORE_DETECT_SESSION_GROUPS_H_
#define HEAL_CORE_DETECT_SESSION_GROUPS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "heal_core/observation.h"

namespace heal {

// The client sessions of one role, application and address.
struct SessionGroup {
  const hc_session* any = nullptr;  // names the group
  std::vector<const hc_session*> sessions;
};

// Cost: n log n in the sessions. Order: by role, application, address.
std::vector<SessionGroup> GroupSessions(const hc_observation& observation);

// Sizes of the groups while the server was healthy: the largest size of every
// half minute, for the last hour. A group that was not there counts as empty.
class GroupSizes {
 public:
  // One healthy sample of all groups.
  void Learn(const std::vector<SessionGroup>& groups, int64_t mono_us);

  // 99th percentile of the group's size; -1 before three healthy samples.
  double Usual(const SessionGroup& group) const;

 private:
  static constexpr size_t kSlots = 120;
  static constexpr size_t kMostGroups = 128;
  static constexpr int64_t kSlotUs = 30000000;
  static constexpr int kFewestSamples = 3;

  using Key = std::tuple<uint32_t, std::string, std::string>;
  using Sizes = std::array<uint16_t, kSlots>;

  static Key KeyOf(const SessionGroup& group);

  std::map<Key, Sizes> sizes_;
  size_t slot_ = 0;
  size_t n_slots_ = 0;
  int64_t slot_started_ = 0;
  int samples_ = 0;
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_SESSION_GROUPS_H_
