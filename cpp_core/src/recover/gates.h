// gates.h: the safety rules between a candidate and its execution.
//
// One function per rule, all in one table; every rule is asked every time, so
// that heal_explain shows the whole picture. The rule "identity" is the shell's:
// it is checked at the moment of the signal.
//
// What an approval changes: rules about acting alone (autonomy, risk class A3,
// critical, detector precision, window, two looks, calm period, backup, migration, crash, oscillation,
// expected benefit, ACCESS EXCLUSIVE) are the approver's to judge and pass.
// Everything else (pause, observe, A4, forbidden, exempt, protected sessions,
// budgets, footprint, undo, verification, concurrency) holds for approved actions too.

#ifndef HEAL_CORE_RECOVER_GATES_H_
#define HEAL_CORE_RECOVER_GATES_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heal_core/observation.h"
#include "history/ledger.h"
#include "model.h"
#include "plan/planner.h"
#include "recover/policies.h"

namespace heal {

struct GateResult {
  std::string name;
  bool passed = false;
  std::string reason;  // of either answer
};

struct GateVerdict {
  enum Decision { kAct, kAsk, kWait, kRefuse, kEscalate };
  Decision decision = kRefuse;
  std::vector<GateResult> gates;  // in the order of the table
  std::string reason;             // of the rule that decided, "" when it acts
};

struct GateContext {
  int64_t now_us = 0;
  const hc_settings* settings = nullptr;  // required
  const hc_server* server = nullptr;      // required
  const Policies* policies = nullptr;     // null: none
  const Ledger* ledger = nullptr;         // null: nothing was done yet
  bool approved = false;                  // by heal_approve or heal_execute
  int32_t looks = 0;                      // consecutive samples in which the match held
  int32_t running = 0;                    // other attempts that execute, verify or roll back
  int32_t running_on_relation = 0;        // those of them about the relation of this match
  int32_t sessions = 0;                   // client backends
  bool detector_demoted = false;          // what found the failure was mostly wrong before
  int64_t attempt_id = 0;                 // of the attempt that asks for another round, else 0
};

// A rule fills result->reason and says whether it is kept.
using GateFunction = bool (*)(const Candidate&, const Match&, const GateContext&, std::string* reason);

struct GateDef {
  std::string_view name;
  GateFunction check;
  GateVerdict::Decision otherwise;  // what follows when it is not kept
  bool before_asking;               // a wait that goes before a question
  std::string_view rule;            // for the documentation
};

std::span<const GateDef> Gates();

// The gravest answer decides: refuse, escalate, a wait before asking, ask, wait.
GateVerdict CheckGates(const Candidate& candidate, const Match& match, const GateContext& context);

// The same with a part of the table: tests show that each row is needed.
GateVerdict CheckGates(const Candidate& candidate, const Match& match, const GateContext& context,
                       std::span<const GateDef> gates);

const char* DecisionName(GateVerdict::Decision decision);  // act ask wait refuse escalate

}  // namespace heal

#endif  // HEAL_CORE_RECOVER_GATES_H_
