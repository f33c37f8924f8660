#include "plan/remedies.h"

#include <charconv>
#include <cmath>

namespace heal {
namespace {

using std::string_view;

// ---- failures and causes ----

constexpr string_view kIdleBlocker[] = {"idle_in_transaction_blocker"};
constexpr string_view kDdlQueue[] = {"ddl_lock_queue"};
constexpr string_view kStaleStatistics[] = {"stale_statistics"};
constexpr string_view kCheckpointStorm[] = {"checkpoint_storm"};
constexpr string_view kVacuumStarved[] = {"vacuum_starved"};
constexpr string_view kInvalidIndex[] = {"invalid_index"};
constexpr string_view kConnectionExhaustion[] = {"connection_exhaustion"};
constexpr string_view kSequenceBehind[] = {"sequence_behind"};

constexpr string_view kIdleSession[] = {"idle_in_transaction_session"};
// Whoever holds the lock, the waiting DDL is what everybody queues behind and
// it has done nothing yet: cancelling it frees the queue.
constexpr string_view kQueueCauses[] = {"ddl_without_lock_timeout", "long_running_statement",
                                        "idle_in_transaction_session", "anti_wraparound_vacuum"};
constexpr string_view kStatisticsCauses[] = {"bulk_change_without_analyze", "autovacuum_off_for_table",
                                             "autovacuum_too_slow"};
constexpr string_view kWalCauses[] = {"max_wal_size_too_small"};
constexpr string_view kVacuumCauses[] = {"autovacuum_off_for_table", "autovacuum_too_slow"};
constexpr string_view kIndexCauses[] = {"failed_concurrent_build"};
constexpr string_view kLeakCauses[] = {"connection_leak"};
constexpr string_view kSequenceCauses[] = {"sequence_not_advanced"};

// ---- parameters ----

constexpr ParamDef kTableParams[] = {
    {"relation", ParamType::kIdentifier, true, ""},
    {"relation_oid", ParamType::kOid, true, ""},
};
constexpr ParamDef kVacuumParams[] = {
    {"relation", ParamType::kIdentifier, true, ""},
    {"relation_oid", ParamType::kOid, true, ""},
    {"cost_delay_ms", ParamType::kNumber, false, "2"},
    {"cost_limit", ParamType::kInteger, false, "1000"},
};
constexpr ParamDef kAutovacuumParams[] = {
    {"relation", ParamType::kIdentifier, true, ""},      {"relation_oid", ParamType::kOid, true, ""},
    {"scale_factor", ParamType::kNumber, false, "0.02"}, {"cost_limit", ParamType::kInteger, false, "1000"},
    {"enable", ParamType::kKeywords, false, ""},         {"enable_reset", ParamType::kKeywords, false, ""},
    {"may_be_off", ParamType::kBoolean, false, "false"},
};
constexpr ParamDef kWalParams[] = {
    {"current", ParamType::kInteger, true, ""},
    {"value", ParamType::kInteger, true, ""},
};
constexpr ParamDef kIndexParams[] = {
    {"index", ParamType::kIdentifier, true, ""},
    {"index_oid", ParamType::kOid, true, ""},
    {"relation_oid", ParamType::kOid, true, ""},
    {"definition", ParamType::kIndexDef, false, "-- the definition is in the snapshot"},
};

constexpr ParamDef kSequenceParams[] = {
    {"relation", ParamType::kIdentifier, true, ""},  // the sequence
    {"relation_oid", ParamType::kOid, true, ""},
    {"table", ParamType::kIdentifier, true, ""},
    {"column", ParamType::kIdentifier, true, ""},
};

// ---- preconditions ----

constexpr Precondition kNeedsTargets[] = {Precondition::kTargets};
constexpr Precondition kNeedsRelation[] = {Precondition::kRelation};
constexpr Precondition kNeedsFreeTable[] = {Precondition::kRelation, Precondition::kTableFree};
constexpr Precondition kNeedsVacuumable[] = {Precondition::kRelation, Precondition::kTableFree,
                                             Precondition::kHorizonFree};
constexpr Precondition kNeedsWalRoom[] = {Precondition::kSettingReachable, Precondition::kWalRoom};
constexpr Precondition kNeedsDeadIndex[] = {Precondition::kIndex, Precondition::kNoBuild,
                                            Precondition::kNotConstraint};

// ---- SQL ----

// Still the table that was diagnosed, and nobody maintains it just now.
#define HEAL_TABLE_GUARD                                                                           \
  "SELECT {relation_oid} IS NOT DISTINCT FROM pg_catalog.to_regclass({relation!})::pg_catalog.oid" \
  " AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_vacuum AS p"                           \
  " WHERE p.datname = pg_catalog.current_database() AND p.relid = {relation_oid})"                 \
  " AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_analyze AS p"                          \
  " WHERE p.datname = pg_catalog.current_database()"                                               \
  " AND {relation_oid} IN (p.relid, p.current_child_table_relid))"

// Microseconds since 2000-01-01, as the core counts time.
#define HEAL_MICROSECONDS(timestamp) \
  "(pg_catalog.date_part('epoch', " timestamp ") * 1000000)::pg_catalog.int8 - 946684800000000"

constexpr string_view kTableGuard = HEAL_TABLE_GUARD;

constexpr string_view kAnalyzeProbe =
    "SELECT s.n_mod_since_analyze, s.n_live_tup, GREATEST(s.last_analyze, s.last_autoanalyze) AS last_analyze, "
    HEAL_MICROSECONDS("GREATEST(s.last_analyze, s.last_autoanalyze)") " AS last_analyze_us"
    " FROM pg_catalog.pg_stat_all_tables AS s WHERE s.relid = {relation_oid}";

constexpr string_view kVacuumProbe =
    "SELECT s.n_dead_tup, s.n_live_tup, " HEAL_MICROSECONDS("GREATEST(s.last_vacuum, s.last_autovacuum)")
    " AS last_vacuum_us FROM pg_catalog.pg_stat_all_tables AS s WHERE s.relid = {relation_oid}";

// Autovacuum switched off by its user stays off unless that was approved.
constexpr string_view kAutovacuumGuard = HEAL_TABLE_GUARD
    " AND ({may_be_off} OR NOT EXISTS (SELECT FROM pg_catalog.pg_class AS c,"
    " pg_catalog.pg_options_to_table(c.reloptions) AS o WHERE c.oid = {relation_oid}"
    " AND o.option_name = 'autovacuum_enabled' AND NOT o.option_value::pg_catalog.bool))";

constexpr string_view kAutovacuumProbe =
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_options_to_table(c.reloptions) AS o"
    " WHERE o.option_name = 'autovacuum_vacuum_scale_factor'"
    " AND o.option_value::pg_catalog.float8 = {scale_factor})"
    " AND EXISTS (SELECT FROM pg_catalog.pg_options_to_table(c.reloptions) AS o"
    " WHERE o.option_name = 'autovacuum_vacuum_cost_limit'"
    " AND o.option_value::pg_catalog.int4 = {cost_limit}) AS effective, s.n_dead_tup, s.n_live_tup"
    " FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_stat_all_tables AS s ON s.relid = c.oid"
    " WHERE c.oid = {relation_oid}";

// Indexes are dropped by identity: same object, still invalid, nobody building.
constexpr string_view kIndexGuard =
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indexrelid = {index_oid}"
    " AND i.indrelid = {relation_oid} AND NOT i.indisvalid AND NOT i.indisprimary AND NOT i.indisexclusion"
    " AND i.indexrelid = pg_catalog.to_regclass({index!})::pg_catalog.oid)"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS k WHERE k.conindid = {index_oid})"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits AS h WHERE h.inhrelid = {index_oid})"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index AS p"
    " WHERE p.datname = pg_catalog.current_database()"
    " AND (p.index_relid = {index_oid} OR p.relid = {relation_oid}))"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_locks AS l WHERE l.locktype = 'relation'"
    " AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d"
    " WHERE d.datname = pg_catalog.current_database())"
    " AND l.relation IN ({relation_oid}, {index_oid}) AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()"
    " AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',"
    " 'AccessExclusiveLock'))";

constexpr string_view kIndexProbe =
    "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = {index_oid}) AS gone";

constexpr string_view kWalGuard =
    "SELECT s.setting::pg_catalog.int8 = {current}"
    " AND s.source NOT IN ('command line', 'environment variable', 'override')"
    " FROM pg_catalog.pg_settings AS s WHERE s.name = 'max_wal_size'";

// pg_settings of the probing process may still be the old one: the files tell.
constexpr string_view kWalProbe =
    "SELECT s.setting::pg_catalog.int8 AS setting_mb, s.pending_restart,"
    " (SELECT f.setting FROM pg_catalog.pg_file_settings AS f WHERE f.name = 'max_wal_size'"
    " ORDER BY f.seqno DESC LIMIT 1) AS file_setting,"
    " COALESCE((SELECT f.error FROM pg_catalog.pg_file_settings AS f WHERE f.name = 'max_wal_size'"
    " AND f.error IS NOT NULL ORDER BY f.seqno DESC LIMIT 1), '') AS file_error"
    " FROM pg_catalog.pg_settings AS s WHERE s.name = 'max_wal_size'";

// Asking for values can only move a sequence forward, whoever asks at the same
// time; setval() could move it back. Bounded, for each value is asked for.
constexpr string_view kSequenceGuard =
    "SELECT {relation_oid} IS NOT DISTINCT FROM pg_catalog.to_regclass({relation!})::pg_catalog.oid"
    " AND EXISTS (SELECT FROM pg_catalog.pg_sequence AS q WHERE q.seqrelid = {relation_oid}"
    " AND q.seqincrement > 0 AND NOT q.seqcycle)"
    " AND (SELECT pg_catalog.max(t.{column}) FROM {table} AS t)::pg_catalog.int8"
    " - (SELECT s.last_value FROM {relation} AS s) BETWEEN 0 AND 1000000";

constexpr string_view kSequenceSql =
    "SELECT pg_catalog.count(pg_catalog.nextval({relation!}::pg_catalog.regclass)) FROM pg_catalog.generate_series("
    "(SELECT s.last_value + s.is_called::pg_catalog.int4 FROM {relation} AS s),"
    " (SELECT pg_catalog.max(t.{column}) FROM {table} AS t)::pg_catalog.int8,"
    " (SELECT q.seqincrement FROM pg_catalog.pg_sequence AS q WHERE q.seqrelid = {relation_oid}))";

constexpr string_view kSequenceProbe =
    "SELECT (SELECT s.last_value + s.is_called::pg_catalog.int4 FROM {relation} AS s)"
    " > (SELECT pg_catalog.max(t.{column}) FROM {table} AS t) AS ahead";

#undef HEAL_TABLE_GUARD
#undef HEAL_MICROSECONDS

constexpr int32_t kRowExclusive = 3;
constexpr int32_t kShareUpdateExclusive = 4;

// In the default order of trying.
constexpr RemedyDef kRemedies[] = {
    {.name = "terminate_idle_blocker",
     .summary = "terminate the session that is idle in a transaction and blocks others: {subject}",
     .failures = kIdleBlocker,
     .causes = kIdleSession,
     .action_class = "clear",
     .risk = "A2",
     .reversible = false,
     .harmless = true,  // an idle session that blocks others: the catalogue says so
     .kind = HC_CMD_TERMINATE,
     .as_owner = false,
     .params = {},
     .sql = "",
     .guard_sql = "",
     .probe_sql = "",
     .undo_sql = "",
     .capture = "",
     .lock_timeout_ms = 0,
     .statement_timeout_ms = 0,
     .lock_mode = 0,
     .preconditions = kNeedsTargets,
     .per_round = 1,
     .expected_success = 0.95,
     .verify_ms = 5000,
     .verification = "the session is gone and the sessions it blocked no longer wait for that lock"},
    {.name = "cancel_waiting_ddl",
     .summary = "cancel the waiting command that everybody queues behind: {subject}",
     .failures = kDdlQueue,
     .causes = kQueueCauses,
     .action_class = "clear",
     .risk = "A1",
     .reversible = false,
     .harmless = true,  // it waits: it has done nothing yet
     .kind = HC_CMD_CANCEL,
     .as_owner = false,
     .params = {},
     .sql = "",
     .guard_sql = "",
     .probe_sql = "",
     .undo_sql = "",
     .capture = "",
     .lock_timeout_ms = 0,
     .statement_timeout_ms = 0,
     .lock_mode = 0,
     .preconditions = kNeedsTargets,
     .per_round = 1,
     .expected_success = 0.95,
     .verify_ms = 3000,
     .verification = "the command no longer waits and the queue on the relation is empty"},
    {.name = "analyze_table",
     .summary = "gather statistics of {subject}",
     .failures = kStaleStatistics,
     .causes = kStatisticsCauses,
     .action_class = "repair",
     .risk = "A1",
     .reversible = false,
     .harmless = true,
     .kind = HC_CMD_SQL,
     .as_owner = true,
     .params = kTableParams,
     .sql = "ANALYZE {relation}",
     .guard_sql = kTableGuard,
     .probe_sql = kAnalyzeProbe,
     .undo_sql = "",
     .capture = "",
     .lock_timeout_ms = 1000,
     .statement_timeout_ms = 600000,
     .lock_mode = kShareUpdateExclusive,
     .preconditions = kNeedsFreeTable,
     .per_round = 1,
     .expected_success = 0.95,
     .verify_ms = 10000,
     .verification = "the table was analysed after the action and few rows changed since"},
    {.name = "raise_max_wal_size",
     .summary = "raise max_wal_size from {current} MB to {value} MB",
     .failures = kCheckpointStorm,
     .causes = kWalCauses,
     .action_class = "reconfigure",
     .risk = "A2",
     .reversible = true,
     .harmless = false,
     .kind = HC_CMD_SQL,
     .as_owner = false,
     .params = kWalParams,
     .sql = "ALTER SYSTEM SET max_wal_size = '{value}MB';\nSELECT pg_catalog.pg_reload_conf()",
     .guard_sql = kWalGuard,
     .probe_sql = kWalProbe,
     .undo_sql = "ALTER SYSTEM SET max_wal_size = '{current}MB';\nSELECT pg_catalog.pg_reload_conf()",
     .capture = R"([{"kind":"server_setting","name":"max_wal_size"}])",
     .lock_timeout_ms = 1000,
     .statement_timeout_ms = 10000,
     .lock_mode = 0,
     .preconditions = kNeedsWalRoom,
     .per_round = 1,
     .expected_success = 0.8,
     .verify_ms = 60000,
     .verification = "the setting is in effect and hardly any checkpoint is requested any more"},
    {.name = "vacuum_table",
     .summary = "vacuum {subject}",
     .failures = kVacuumStarved,
     .causes = kVacuumCauses,
     .action_class = "repair",
     .risk = "A1",
     .reversible = false,
     .harmless = true,
     .kind = HC_CMD_SQL,
     .as_owner = true,
     .params = kVacuumParams,
     // Truncation takes ACCESS EXCLUSIVE: never by itself.
     .sql = "SET vacuum_cost_delay = '{cost_delay_ms}ms';\nSET vacuum_cost_limit = {cost_limit};\n"
            "VACUUM (TRUNCATE FALSE) {relation}",
     .guard_sql = kTableGuard,
     .probe_sql = kVacuumProbe,
     .undo_sql = "",
     .capture = "",
     .lock_timeout_ms = 1000,
     .statement_timeout_ms = 3600000,
     .lock_mode = kShareUpdateExclusive,
     .preconditions = kNeedsVacuumable,
     .per_round = 1,
     .expected_success = 0.85,
     .verify_ms = 10000,
     .verification = "the share of dead rows in the table is below the clear threshold"},
    {.name = "set_autovacuum_options",
     .summary = "let autovacuum come earlier and work faster on {subject}",
     .failures = kVacuumStarved,
     .causes = kVacuumCauses,
     .action_class = "reconfigure",
     .risk = "A2",  // A3 where its user switched autovacuum off: see the planner
     .reversible = true,
     .harmless = false,
     .kind = HC_CMD_SQL,
     .as_owner = true,
     .params = kAutovacuumParams,
     .sql = "ALTER TABLE {relation} SET ({enable}autovacuum_vacuum_scale_factor = {scale_factor}, "
            "autovacuum_vacuum_cost_limit = {cost_limit})",
     .guard_sql = kAutovacuumGuard,
     .probe_sql = kAutovacuumProbe,
     .undo_sql = "ALTER TABLE {relation} RESET ({enable_reset}autovacuum_vacuum_scale_factor, "
                 "autovacuum_vacuum_cost_limit)",
     .capture =
         R"([{"kind":"storage_option","relation_oid":{relation_oid},"name":"autovacuum_enabled"},)"
         R"({"kind":"storage_option","relation_oid":{relation_oid},"name":"autovacuum_vacuum_scale_factor"},)"
         R"({"kind":"storage_option","relation_oid":{relation_oid},"name":"autovacuum_vacuum_cost_limit"}])",
     .lock_timeout_ms = 1000,
     .statement_timeout_ms = 30000,
     .lock_mode = kShareUpdateExclusive,
     .preconditions = kNeedsVacuumable,
     .per_round = 1,
     .expected_success = 0.7,
     .verify_ms = 300000,  // autovacuum has to come by: its nap and one vacuum
     .verification = "the options are set and the share of dead rows falls below the clear threshold"},
    {.name = "drop_invalid_index",
     .summary = "drop the invalid index that a failed build left behind: {subject}",
     .failures = kInvalidIndex,
     .causes = kIndexCauses,
     .action_class = "clear",
     .risk = "A2",  // A3 for a unique index of its user's: see the planner
     .reversible = true,
     .harmless = false,
     .kind = HC_CMD_SQL,
     .as_owner = true,
     .params = kIndexParams,
     .sql = "DROP INDEX CONCURRENTLY {index}",
     .guard_sql = kIndexGuard,
     .probe_sql = kIndexProbe,
     .undo_sql = "{definition}",
     .capture = R"([{"kind":"index","index_oid":{index_oid}}])",
     .lock_timeout_ms = 1000,
     .statement_timeout_ms = 60000,
     .lock_mode = kShareUpdateExclusive,
     .preconditions = kNeedsDeadIndex,
     .per_round = 1,
     .expected_success = 0.9,
     .verify_ms = 10000,
     .verification = "the index is gone and its definition is kept"},
    {.name = "advance_sequence",
     .summary = "move the sequence forward past the largest value of its column: {subject}",
     .failures = kSequenceBehind,
     .causes = kSequenceCauses,
     .action_class = "repair",
     .risk = "A2",  // A3 where nobody asks it or it is far from failing: see the planner
     .reversible = false,
     .harmless = true,  // forward only: values are skipped, never given twice
     .kind = HC_CMD_SQL,
     .as_owner = true,
     .params = kSequenceParams,
     .sql = kSequenceSql,
     .guard_sql = kSequenceGuard,
     .probe_sql = kSequenceProbe,
     .undo_sql = "",
     .capture = "",
     .lock_timeout_ms = 1000,
     .statement_timeout_ms = 30000,
     .lock_mode = kRowExclusive,
     .preconditions = kNeedsRelation,
     .per_round = 1,
     .expected_success = 0.95,
     .verify_ms = 10000,
     .verification = "the next value of the sequence is above the largest of the column"},
    {.name = "terminate_idle_leak",
     .summary = "terminate the oldest idle sessions of the application that leaks them: {subject}",
     .failures = kConnectionExhaustion,
     .causes = kLeakCauses,
     .action_class = "clear",
     .risk = "A2",
     .reversible = false,
     .harmless = true,  // idle outside a transaction: no work is lost
     .kind = HC_CMD_TERMINATE,
     .as_owner = false,
     .params = {},
     .sql = "",
     .guard_sql = "",
     .probe_sql = "",
     .undo_sql = "",
     .capture = "",
     .lock_timeout_ms = 0,
     .statement_timeout_ms = 0,
     .lock_mode = 0,
     .preconditions = kNeedsTargets,
     .per_round = 3,
     .expected_success = 0.85,
     .verify_ms = 10000,
     .verification = "the share of used connections is below the clear threshold and none is refused"},
};

// ---- parameters: checks ----

constexpr size_t kMaxIdentifier = 600;  // three names of 63 bytes, all of them quotes
constexpr size_t kMaxIndexDef = 65536;

[[noreturn]] void Reject(string_view name, string_view why) {
  throw TemplateError("parameter \"" + std::string(name) + "\" " + std::string(why));
}

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Length of one identifier at the start of text, 0 when there is none.
size_t IdentifierLength(string_view text) {
  if (text.empty()) return 0;
  if (text[0] != '"') {
    if (!IsLower(text[0]) && text[0] != '_') return 0;
    size_t n = 1;
    while (n < text.size() && (IsLower(text[n]) || IsDigit(text[n]) || text[n] == '_' || text[n] == '$')) ++n;
    return n;
  }
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] != '"') continue;
    if (i + 1 < text.size() && text[i + 1] == '"') {
      ++i;
      continue;
    }
    return i > 1 ? i + 1 : 0;
  }
  return 0;
}

bool IsQualifiedName(string_view text) {
  for (int part = 0; part < 3; ++part) {
    const size_t n = IdentifierLength(text);
    if (n == 0) return false;
    text.remove_prefix(n);
    if (text.empty()) return true;
    if (text[0] != '.') return false;
    text.remove_prefix(1);
  }
  return false;
}

// Statements are told apart by a semicolon and a line end: no value may hold one.
bool HoldsSeparator(string_view text) {
  return text.find(";\n") != string_view::npos || text.find('\0') != string_view::npos;
}

void CheckIdentifier(const ParamDef& def, string_view value) {
  if (value.size() > kMaxIdentifier || HoldsSeparator(value) || !IsQualifiedName(value))
    Reject(def.name, "is not a quoted name");
}

void CheckInteger(const ParamDef& def, string_view value, int64_t lowest, int64_t highest) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || number < lowest || number > highest)
    Reject(def.name, "is not an integer in range");
}

void CheckNumber(const ParamDef& def, string_view value) {
  double number = 0;
  const auto [end, error] =
      std::from_chars(value.data(), value.data() + value.size(), number, std::chars_format::fixed);
  if (error != std::errc() || end != value.data() + value.size() || !std::isfinite(number) || number < 0)
    Reject(def.name, "is not a number in range");
}

void CheckKeywords(const ParamDef& def, string_view value) {
  for (const char c : value)
    if (!IsLower(c) && c != '_' && c != ' ' && c != '=' && c != ',') Reject(def.name, "is not a known text");
}

void CheckIndexDef(const ParamDef& def, string_view value) {
  const bool create = value.starts_with("CREATE INDEX ") || value.starts_with("CREATE UNIQUE INDEX ");
  if (!create || value.size() > kMaxIndexDef || HoldsSeparator(value))
    Reject(def.name, "is not an index definition");
}

// ---- templates ----

std::string Literal(string_view text) {
  const bool escape = text.find('\\') != string_view::npos;
  std::string out = escape ? " E'" : "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += c;
    out += c;
  }
  return out + "'";
}

// Length of "{name}" or "{name!}" at the start of text; 0 for any other brace.
size_t PlaceholderLength(string_view text) {
  size_t n = 1;
  while (n < text.size() && (IsLower(text[n]) || text[n] == '_')) ++n;
  if (n == 1) return 0;
  if (n < text.size() && text[n] == '!') ++n;
  return n < text.size() && text[n] == '}' ? n + 1 : 0;
}

std::string Value(const RemedyDef& remedy, string_view name,
                  const std::map<std::string, std::string>& params) {
  for (const ParamDef& def : remedy.params) {
    if (def.name != name) continue;
    const auto found = params.find(std::string(name));
    if (found != params.end()) return CheckedParam(def, found->second);
    if (def.required) Reject(name, "is missing");
    return std::string(def.fallback);
  }
  Reject(name, "is not declared");
}

}  // namespace

std::span<const RemedyDef> Remedies() { return kRemedies; }

const RemedyDef* FindRemedy(string_view name) {
  for (const RemedyDef& remedy : kRemedies)
    if (remedy.name == name) return &remedy;
  return nullptr;
}

std::string CheckedParam(const ParamDef& def, string_view value) {
  switch (def.type) {
    case ParamType::kIdentifier:
      CheckIdentifier(def, value);
      break;
    case ParamType::kInteger:
      CheckInteger(def, value, 0, INT64_MAX);
      break;
    case ParamType::kNumber:
      CheckNumber(def, value);
      break;
    case ParamType::kOid:
      CheckInteger(def, value, 1, UINT32_MAX);
      break;
    case ParamType::kBoolean:
      if (value != "true" && value != "false") Reject(def.name, "is neither true nor false");
      break;
    case ParamType::kKeywords:
      CheckKeywords(def, value);
      break;
    case ParamType::kIndexDef:
      CheckIndexDef(def, value);
      break;
  }
  return std::string(value);
}

std::string FillTemplate(const RemedyDef& remedy, string_view text,
                         const std::map<std::string, std::string>& params) {
  std::string out;
  while (!text.empty()) {
    const size_t length = text[0] == '{' ? PlaceholderLength(text) : 0;
    if (length == 0) {
      out += text[0];
      text.remove_prefix(1);
      continue;
    }
    const bool literal = text[length - 2] == '!';
    const std::string value = Value(remedy, text.substr(1, length - (literal ? 3 : 2)), params);
    out += literal ? Literal(value) : value;
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace heal
