// planner.h: from a diagnosed failure to ranked candidates.
//
// A candidate is complete: whoever executes it looks nothing up. A remedy that
// fits but must not be tried comes back too, last, with refused_because, so that
// heal_explain can show why it was not taken.

#ifndef HEAL_CORE_PLAN_PLANNER_H_
#define HEAL_CORE_PLAN_PLANNER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model.h"
#include "plan/remedies.h"

namespace heal {

// What an item of a before-image is expected to be after the action: told apart
// from what somebody else set since (see recover/snapshot.h).
struct ExpectedValue {
  std::string kind;
  std::string name;                  // "" any name of the kind
  std::optional<std::string> value;  // nullopt: gone
};

struct Candidate {
  std::string remedy;
  std::string action;  // human text
  std::string action_class;
  std::string risk;  // A1 .. A4, of this case: may be above the catalogue's
  bool reversible = false;
  hc_command_kind kind = HC_CMD_SQL;
  std::vector<Target> targets;  // sessions of this round
  std::string guard_sql, sql, probe_sql, undo_sql;
  std::string capture_items;  // JSON array, "" none
  int32_t lock_timeout_ms = 0;
  int32_t statement_timeout_ms = 0;
  bool as_owner = false;
  uint32_t relation_oid = 0;
  uint32_t database_oid = 0;
  double expected_success = 0;
  std::string reason;           // why it is proposed
  std::string refused_because;  // "" may be tried
  bool refused_for_good = false;  // in this incident it is not tried again, however long one waits

  // Beyond the sketch of the interface:
  std::string root_cause;
  double confidence = 0;    // posterior of root_cause
  double symptom_with = 1;  // P(symptom) with and without the cause
  double symptom_without = 0;
  std::string object;        // key of the ledger and of the object budget
  int32_t lock_mode = 0;     // strongest lock taken on user objects
  bool harmless = false;     // needs no undo
  std::string verification;  // how success is judged, "" not at all
  int64_t verify_ms = 0;     // least time verification needs
  int64_t disk_bytes = 0;    // space it may take on the WAL volume
  std::vector<ExpectedValue> expected;
  std::map<std::string, double> values;  // current, value, ... for verification
};

// An attempt of the same incident that is over.
struct PastAttempt {
  std::string remedy;
  std::string outcome;  // healed no_effect rolled_back unverified failed escalated
};

// What history says about a remedy for this component and failure.
struct RemedyRecord {
  int32_t healed = 0;
  int32_t finished = 0;
};

struct PlanContext {
  const hc_server* server = nullptr;  // null: unknown
  double min_confidence = 0.7;        // of a posterior to be acted upon
  int32_t sessions = 0;               // client backends, for the limit per round
  double max_wal_disk_share = 0.2;    // threshold of checkpoint_storm: of the free space, for max_wal_size
  std::string proven;                 // best strategy of history, "" none
  std::map<std::string, RemedyRecord> history;
  std::vector<PastAttempt> attempts;  // of this incident, oldest first
};

// At most this many sessions are signalled in one round: max(1, min(3, 5 %)).
int32_t SessionsPerRound(int32_t sessions);

// Candidates that may be tried first, best first; refused ones last.
std::vector<Candidate> Plan(const Match& match, const Diagnosis& diagnosis, const PlanContext& context);

// One named remedy for a match, as heal_execute asks for it: no diagnosis is
// required, but everything else is. nullopt: the remedy is unknown or not for
// this failure.
std::optional<Candidate> PlanNamed(const Match& match, const Diagnosis& diagnosis, const PlanContext& context,
                                   std::string_view remedy);

// Stable name of what a remedy acts on, across incidents and restarts.
std::string ObjectKey(std::string_view database, std::string_view subject);

}  // namespace heal

#endif  // HEAL_CORE_PLAN_PLANNER_H_
