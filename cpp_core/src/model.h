// model.h: the values that travel between the stages of the core. Plain data.
//
// detect -> Match -> diagnose -> Diagnosis -> plan -> Candidate -> recover.

#ifndef HEAL_CORE_MODEL_H_
#define HEAL_CORE_MODEL_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "heal_core/decisions.h"
#include "heal_core/observation.h"

namespace heal {

// Evidence about a node of the causal graph.
enum class Truth { kUnknown, kAbsent, kPresent };

struct Evidence {
  std::string node;
  Truth truth = Truth::kUnknown;
  std::string why;  // one sentence for heal_explain: "pid 4711 is idle in transaction for 75 s"
};

// A session that a remedy of the match would signal, worst first.
struct Target {
  hc_session_identity id{};
  hc_signal_guard guard = HC_GUARD_IDLE;
  uint32_t relation_oid = 0;
  uint32_t role_oid = 0;
  std::string role, database, application, client_addr;
  hc_backend_kind kind = HC_BACKEND_CLIENT;
  uint32_t flags = 0;  // HC_SESSION_*
};

// One failure whose definition holds in this observation (or, with holds ==
// false, whose incident must be judged: see Matcher). Owns its strings.
struct Match {
  std::string failure_type;  // "idle_in_transaction_blocker"
  std::string component;     // "locks"
  std::string category;      // performance security data_quality resource
  std::string severity;      // critical warning info
  std::string subject;       // stable name of what is sick: "pid 4711 (app@shop)", "public.t", "app crm"
  std::string database;
  std::string fingerprint;   // component/failure/subject key: same trouble, same key, from tick to tick
  int64_t since_us = 0;      // when its definition began to hold, best knowledge, wall clock
  bool certain = false;      // a proven fact: one look is enough
  std::vector<Evidence> evidence;
  std::vector<Target> targets;
  // Typed parameters for remedy templates, quoted for SQL: relation, index, table, value, ...
  std::map<std::string, std::string> params;
  // Numbers for verification, explanation and thresholds: waiters, used, dead_share, ...
  std::map<std::string, double> values;
  uint32_t database_oid = 0;
  uint32_t relation_oid = 0;
};

struct CausePosterior {
  std::string node;
  std::string component;
  double prior = 0;
  double posterior = 0;
  std::vector<std::string> chain;  // cause ... symptom
  double chain_probability = 0;    // product of edge probabilities
  double symptom_without = 0;      // P(symptom | evidence about others, cause removed)
  double symptom_with = 0;
};

struct Diagnosis {
  std::vector<CausePosterior> causes;  // by posterior, best first
  bool abstained = true;               // best below inference_min_confidence
  std::string reason;                  // why it abstained, or ""
  const CausePosterior* best() const { return causes.empty() ? nullptr : &causes.front(); }
};

}  // namespace heal

#endif  // HEAL_CORE_MODEL_H_
