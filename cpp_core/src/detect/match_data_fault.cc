// Q02 index_corruption, Q03 collation_mismatch, Q07 unvalidated_constraint: what
// an inspection sees and what stays until somebody does something about it.

#include <algorithm>
#include <string>

#include "detect/matcher.h"
#include "detect/object_tracker.h"

namespace heal {
namespace {

constexpr char kIndex[] = "index_corruption";
constexpr char kCollation[] = "collation_mismatch";
constexpr char kConstraint[] = "unvalidated_constraint";

struct Suspect {
  bool seen = false;
  hc_fault_kind kind = HC_FAULT_NOT_VALID;
  int64_t since = 0;
  bool raised = false;
  Match match;
};

class DataFaultMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;

 private:
  void LookAt(const MatchInput& input, const Look& look, const hc_fault& fault);

  ObjectTracker<Suspect> suspects_;
};

const char* TypeOf(hc_fault_kind kind) {
  if (kind == HC_FAULT_INDEX_DAMAGED) return kIndex;
  return kind == HC_FAULT_COLLATION ? kCollation : kConstraint;
}

Match Describe(const hc_fault& fault) {
  const char* type = TypeOf(fault.kind);
  const std::string on = fault.table[0] != '\0' ? std::string(" on ") + fault.table : "";
  const std::string name = fault.object + on;
  Match match = NewMatch(type, Text("%u/%u", fault.database_oid, fault.object_oid), name,
                         fault.detail[0] != '\0' ? name + ": " + fault.detail : name);
  match.database = fault.database;
  match.database_oid = fault.database_oid;
  switch (fault.kind) {
    case HC_FAULT_NOT_VALID:
    case HC_FAULT_TRIGGER_OFF: {
      const bool off = fault.kind == HC_FAULT_TRIGGER_OFF;
      AddEvidence(&match, "constraint_not_validated", !off,
                  off ? "the constraint is marked as valid" : "rows of before the constraint were never checked");
      AddEvidence(&match, "constraint_triggers_disabled", off,
                  off ? "the triggers of the foreign key are disabled: it checks nothing" : "no trigger of it is disabled");
      break;
    }
    case HC_FAULT_INDEX_DAMAGED:
      AddEvidence(&match, "index_order_wrong", true, fault.detail);
      break;
    case HC_FAULT_COLLATION:
      AddEvidence(&match, "collation_version_differs", true, fault.detail);
      break;
  }
  match.params["object"] = fault.object;
  match.params["table"] = fault.table;
  return match;
}

void DataFaultMatcher::LookAt(const MatchInput& input, const Look& look, const hc_fault& fault) {
  Suspect* suspect = suspects_.Find(fault.database_oid, fault.object_oid);
  if (suspect == nullptr || suspect->kind != fault.kind) {
    suspect = suspects_.Add(fault.database_oid, fault.object_oid);
    if (suspect == nullptr) return;
    *suspect = Suspect();
    suspect->kind = fault.kind;
    suspect->since = look.inspected_at;
  }
  suspect->seen = true;
  suspect->raised = TypeOf(fault.kind) != kConstraint ||
                    input.clock.AgeSeconds(suspect->since) >= input.thresholds.Get(kConstraint, "age_s");
  if (!suspect->raised) return;
  suspect->match = Describe(fault);
  suspect->match.since_us = suspect->since;
}

void DataFaultMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  if (!input.looks.empty() || !input.forgotten.empty()) {
    suspects_.BeginLooks();
    for (uint32_t i = 0; i < input.observation.n_faults; ++i) {
      const hc_fault& fault = input.observation.faults[i];
      const Look* look = input.FindLook(fault.database_oid);
      if (look != nullptr) LookAt(input, *look, fault);
    }
    suspects_.EndLooks(input);
  }
  for (const auto& [key, suspect] : suspects_.states()) {
    if (suspect.raised) out->push_back(suspect.match);
  }
}

}  // namespace

std::unique_ptr<Matcher> MakeDataFaultMatcher() { return std::make_unique<DataFaultMatcher>(); }

}  // namespace heal
