// incident.h: incidents, recovery attempts and recommendations, and which
// state may follow which. Plain data plus the transition table; what makes an
// incident move is the engine's.

#ifndef HEAL_CORE_RECOVER_INCIDENT_H_
#define HEAL_CORE_RECOVER_INCIDENT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace heal {

enum class IncidentState {
  kDetected,
  kDiagnosed,
  kPlanned,
  kAwaitingApproval,
  kExecuting,
  kVerifying,
  kRollingBack,
  kResolved,
  kEscalated,     // parked with a person: keeps its fingerprint until the symptom has gone
  kClosedItself,
  kCancelled,
};
inline constexpr int kIncidentStates = 11;

// The name as it stands in heal.incidents.state.
std::string_view StateName(IncidentState state);
// Empty for a name that is none.
std::optional<IncidentState> StateFromName(std::string_view name);

// May an incident go from `from` to `to`?
bool TransitionAllowed(IncidentState from, IncidentState to);

// Nothing more can happen to the incident. Escalated is not final: a person
// may still act through it.
bool IsFinal(IncidentState state);
// An attempt of the incident is under way.
bool IsActing(IncidentState state);

// One step of an incident's life, as it stands in heal.transitions.
struct Transition {
  int64_t id = 0;
  int64_t incident_id = 0;
  int64_t at = 0;
  std::string from;  // "" for the first
  std::string to;
  std::string reason;
  std::string evidence = "{}";  // JSON object
};

// A row of heal.incidents and nothing else: what must survive a crash.
struct Incident {
  int64_t id = 0;
  std::string component, failure_type, category, severity, subject, database, fingerprint;
  IncidentState state = IncidentState::kDetected;
  int64_t opened_at = 0;
  std::optional<double> detected_after_ms;
  std::string root_cause;  // "" while not known
  std::optional<double> confidence;
  std::string remedy;  // "" while none was chosen
  int attempts = 0;
  std::string outcome;      // "" while open
  int64_t resolved_at = 0;  // 0 while it occupies its fingerprint
  std::optional<double> recovery_ms;
  std::string explanation = "{}";  // JSON object

  // It occupies its fingerprint: no second incident for the same trouble.
  bool open() const { return resolved_at == 0; }
};

enum class AttemptState { kStarted, kVerifying, kRollingBack, kFinished };

std::string_view AttemptStateName(AttemptState state);
std::optional<AttemptState> AttemptStateFromName(std::string_view name);

// A row of heal.attempts.
struct Attempt {
  int64_t id = 0;
  int64_t incident_id = 0;
  std::string component, failure_type, subject, database, remedy, action, mode;
  AttemptState state = AttemptState::kStarted;
  int64_t started_at = 0;
  std::optional<double> duration_ms;
  int attempt_no = 1;
  std::string outcome;  // "" until finished: healed no_effect rolled_back unverified failed escalated
  bool verified = false;
  int64_t snapshot_id = 0;  // 0: none
  std::string sql, undo_sql, detail;
};

// A row of heal.recommendations.
struct Recommendation {
  int64_t id = 0;
  int64_t incident_id = 0;
  int rank = 1;
  std::string failure_type, root_cause;
  std::optional<double> confidence;
  std::string remedy, action, risk_class;
  bool reversible = false;
  std::string sql, undo_sql;
  double expected_success = 0;
  std::string reason;
  std::string state = "open";  // open waiting approved rejected executed withdrawn
  std::string decided_by;
  int64_t decided_at = 0;

  bool undecided() const { return state == "open" || state == "waiting"; }
};

// A row of heal.audit, without its hash: the chain is the table's.
struct AuditEntry {
  int64_t id = 0;
  int64_t at = 0;
  std::string actor, action, subject, outcome;
  std::string detail = "{}";  // JSON object
};

}  // namespace heal

#endif  // HEAL_CORE_RECOVER_INCIDENT_H_
