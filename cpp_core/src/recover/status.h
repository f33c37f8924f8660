// status.h: the state of each component, as heal_status shows it.

#ifndef HEAL_CORE_RECOVER_STATUS_H_
#define HEAL_CORE_RECOVER_STATUS_H_

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "heal_core/observation.h"
#include "outbox.h"
#include "recover/incident.h"

namespace heal {

// Every component, in the order of heal_status.
inline constexpr std::array<const char*, 17> kComponents = {
    "sessions",    "locks",        "connections", "workload", "checkpointer",
    "wal",         "archiver",     "replication", "storage",  "transactions",
    "host",        "vacuum",       "statistics",  "indexes",  "sequences",
    "security",    "data",
};
// pg_heal itself; comes last.
inline constexpr const char* kHealerComponent = "healer";

// What is to be said about pg_heal itself.
struct HealerCondition {
  bool degraded = false;
  std::string detail;
};

// healthy; degraded: an open incident of severity warning; failing: of severity
// critical; recovering: an attempt is under way; unknown: the facts of the
// component could not be collected, whatever else is known.
class StatusBoard {
 public:
  // An incident of the component was healed.
  void NoteRecovery(const std::string& component, int64_t at);

  // One row per component into *out. `incidents` are the open ones.
  void Publish(const hc_observation& observation, const std::map<int64_t, Incident>& incidents,
               const HealerCondition& healer, Outbox* out);

 private:
  struct Shown {
    std::string state;
    int64_t since = 0;
    int64_t last_recovery_at = 0;
    bool unknown = true;
  };
  void PublishOne(const char* component, const std::string& state, int32_t open, const std::string& worst,
                  const std::string& detail, int64_t now_us, Outbox* out);

  std::map<std::string, Shown, std::less<>> shown_;
};

// No fact of the component reached this observation. A component without
// facts of its own is never unknown.
bool ComponentUnknown(const hc_observation& observation, std::string_view component);

}  // namespace heal

#endif  // HEAL_CORE_RECOVER_STATUS_H_
