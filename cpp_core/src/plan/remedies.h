// remedies.h: the remedies pg_heal knows, as data. Adding a remedy is adding a
// row to remedies.cc and its test; nothing else names a remedy by itself.
//
// Templates. {name} in a template stands for a parameter of the row, {name!} for
// the same as a string literal. Parameters
// are typed: numbers are printed from numbers, identifiers arrive quoted for SQL
// in Match::params and are checked again, so that no text of a user reaches a
// statement. A parameter is taken from Match::params, else from Match::values,
// else it is one of relation_oid, database_oid and the planner's own values
// (current, value), else its default.
//
// Parameters expected from the matchers (quoted for SQL where they are names):
//   analyze_table, vacuum_table, set_autovacuum_options
//       params relation; Match::relation_oid and database_oid;
//       values too_large (analyze_table: asks first)
//   drop_invalid_index
//       params index, index_oid, table_oid, definition;
//       values unique, constraint, leftover (0 or 1, where known)
//   advance_sequence
//       params relation (the sequence), table, column; values unused (asks first)
//   raise_max_wal_size
//       nothing; values wal_mb_per_s (optional) lets it take one larger step
//   terminate_idle_blocker, cancel_waiting_ddl, terminate_idle_leak
//       Match::targets, worst first
// All SQL runs with search_path = pg_catalog, pg_temp, statement by statement.

#ifndef HEAL_CORE_PLAN_REMEDIES_H_
#define HEAL_CORE_PLAN_REMEDIES_H_

#include <cstdint>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "heal_core/decisions.h"

namespace heal {

enum class ParamType {
  kIdentifier,  // quoted for SQL, one name or schema-qualified
  kInteger,     // an integer that is not negative
  kNumber,      // a finite decimal number that is not negative
  kOid,         // an integer from 1 to 2^32 - 1
  kBoolean,     // true or false
  kKeywords,    // a fixed text of the planner: lower case words, '=', ',' and spaces
  kIndexDef     // a CREATE INDEX command as the server printed it; undo text only
};

struct ParamDef {
  std::string_view name;
  ParamType type;
  bool required;
  std::string_view fallback;  // stands in for an optional one, unchecked
};

// What must hold before a remedy is proposed at all; see planner.cc.
enum class Precondition {
  kTargets,           // the match names sessions
  kRelation,          // the match names a relation
  kIndex,             // the match names an index
  kTableFree,         // the table is not being vacuumed, analysed or altered
  kHorizonFree,       // nobody holds the horizon: vacuum could remove rows
  kNoBuild,           // no index build on the table
  kNotConstraint,     // the index backs no constraint
  kSettingReachable,  // ALTER SYSTEM would take effect
  kWalRoom            // the WAL volume has room for a larger max_wal_size
};

struct RemedyDef {
  std::string_view name;
  std::string_view summary;  // one sentence for people, {subject} allowed
  std::span<const std::string_view> failures;
  std::span<const std::string_view> causes;  // root causes it helps against
  std::string_view action_class;  // restart failover scale reconfigure clear throttle monitor repair
  std::string_view risk;          // A1 .. A4
  bool reversible;
  bool harmless;  // needs no undo: harmless by nature, or the catalogue says so
  hc_command_kind kind;
  bool as_owner;
  std::span<const ParamDef> params;
  std::string_view sql, guard_sql, probe_sql, undo_sql;
  std::string_view capture;  // JSON array template of HC_CMD_CAPTURE, "" none
  int32_t lock_timeout_ms, statement_timeout_ms;
  int32_t lock_mode;  // strongest lock it takes on user objects, 0 none, 8 AccessExclusive
  std::span<const Precondition> preconditions;
  int32_t per_round;        // sessions or statements in one round
  double expected_success;  // before there is history
  int64_t verify_ms;        // time to verify, where the policy's recovery time is shorter
  std::string_view verification;
};

std::span<const RemedyDef> Remedies();
const RemedyDef* FindRemedy(std::string_view name);

// A template or a parameter is not acceptable. what() names the parameter.
class TemplateError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

// Validated text of one parameter. Throws TemplateError.
std::string CheckedParam(const ParamDef& def, std::string_view value);

// Fill a template of remedy. Throws TemplateError when a parameter is missing,
// malformed or not declared by the remedy.
std::string FillTemplate(const RemedyDef& remedy, std::string_view text,
                         const std::map<std::string, std::string>& params);

}  // namespace heal

#endif  // HEAL_CORE_PLAN_REMEDIES_H_
