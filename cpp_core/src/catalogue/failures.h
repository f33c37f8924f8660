// failures.h: the failures the core recognises, with the limits of their
// definitions. Every text a user sees about a failure comes from here.

#ifndef HEAL_CORE_CATALOGUE_FAILURES_H_
#define HEAL_CORE_CATALOGUE_FAILURES_H_

#include <span>
#include <string_view>
#include <vector>

namespace heal {

// Strings are literals: NUL-terminated and valid for ever.
struct ThresholdDef {
  const char* name;
  const char* unit;
  double default_value;  // of the balanced policy
  double lowest;         // Set() refuses what is outside
  double highest;
  const char* description;
  const char* raised_by = nullptr;  // of a limit that clears: the one it never exceeds
};

struct FailureDef {
  const char* id;         // "P01"
  const char* type;       // "idle_in_transaction_blocker", also its symptom node
  const char* component;  // "locks"
  const char* category;   // performance security data_quality resource
  const char* severity;   // critical warning info
  const char* summary;
  const char* safest_action;
  const char* verification;
  const char* undo;
  const char* never;
  std::span<const ThresholdDef> thresholds;
};

std::span<const FailureDef> Failures();

// By type or by id; nullptr if there is none.
const FailureDef* FindFailure(std::string_view type_or_id);

// The limits in force: shipped defaults with the user's changes on top. A
// failure is named by type or id.
class Thresholds {
 public:
  Thresholds();

  // NaN for an unknown name: every comparison with it is false, so that a
  // misspelt limit can keep a failure from matching, never make it match. A
  // limit that clears is at most the one that raises, or the failure would
  // come and go with every look.
  double Get(std::string_view failure, std::string_view name) const;

  // False, and nothing changed, for an unknown name, a value that is not
  // finite or one outside the limit's range.
  bool Set(std::string_view failure, std::string_view name, double value);

  // Back to the shipped defaults.
  void Reset();

 private:
  std::vector<double> values_;  // in catalogue order
};

}  // namespace heal

#endif  // HEAL_CORE_CATALOGUE_FAILURES_H_
