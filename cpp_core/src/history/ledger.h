// ledger.h: what was done lately, so that it is not done too often.
//
// Two questions: is a budget used up (per minute, hour, object, role), and does
// a remedy oscillate (the same one on the same object three times in seven days)?
// Rebuilt from the attempts of the tables after a restart; bounded.

#ifndef HEAL_CORE_HISTORY_LEDGER_H_
#define HEAL_CORE_HISTORY_LEDGER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "heal_core/observation.h"

namespace heal {

struct LedgerEntry {
  int64_t at_us = 0;
  int64_t attempt_id = 0;  // rounds of one attempt share it: oscillation counts attempts
  std::string remedy;
  std::string object;              // ObjectKey()
  std::vector<std::string> roles;  // one per session signalled
  int32_t actions = 1;             // sessions signalled, or 1 for SQL
};

// Most actions in the time named; a role or object counts by the hour.
struct Budget {
  int32_t per_minute;
  int32_t per_hour;
  int32_t per_object_hour;
  int32_t per_role_hour;
};
Budget BudgetFor(hc_policy policy);

class Ledger {
 public:
  static constexpr int64_t kOscillationSpanUs = int64_t{7} * 24 * 3600 * 1000000;
  static constexpr int32_t kOscillationLimit = 3;
  static constexpr size_t kMaxEntries = 20000;

  // In any order of time; entries older than seven days before the newest, and
  // the oldest above kMaxEntries, are forgotten.
  void Note(LedgerEntry entry);

  // From a row image of heal.attempts. Roles are not in the row: budgets per role
  // start afresh after a restart. The newest image of an attempt counts once.
  // False, and no change, when json is not such a row.
  bool NoteAttemptRow(std::string_view json);

  // Actions in the span_us before now_us.
  int32_t Actions(int64_t now_us, int64_t span_us) const;
  int32_t ActionsOnObject(std::string_view object, int64_t now_us, int64_t span_us) const;
  int32_t ActionsOnRole(std::string_view role, int64_t now_us, int64_t span_us) const;

  // Distinct attempts of remedy on object in the last seven days. except_attempt
  // is not counted: it is the one that asks for another round.
  int32_t Repeats(std::string_view remedy, std::string_view object, int64_t now_us,
                  int64_t except_attempt = 0) const;

  size_t size() const { return entries_.size(); }

 private:
  void Trim();

  std::deque<LedgerEntry> entries_;  // by at_us
};

}  // namespace heal

#endif  // HEAL_CORE_HISTORY_LEDGER_H_
