#include "catalogue/causal_graph.h"

#include <array>
#include <utility>

namespace heal {
namespace {

constexpr char kRoot[] = "root_cause";
constexpr char kMechanism[] = "mechanism";
constexpr char kSymptom[] = "symptom";

constexpr char kDirect[] = "direct_cause";
constexpr char kContributing[] = "contributing";
constexpr char kCorrelation[] = "correlation";

constexpr NodeDef kNodes[] = {
    // Root causes.
    {"idle_in_transaction_session", kRoot, "sessions", 0.08, "sessions_idle_in_transaction",
     "A client left its transaction open and is idle in it (P01)"},
    {"long_running_statement", kRoot, "sessions", 0.08, "longest_query",
     "A statement runs for long and keeps its locks and its snapshot (P02, P04)"},
    {"ddl_without_lock_timeout", kRoot, "locks", 0.05, "",
     "A schema change waits for its lock without lock_timeout and makes others wait (P02)"},
    {"orphaned_prepared_transaction", kRoot, "transactions", 0.02, "prepared_transactions",
     "A prepared transaction was never finished; its coordinator is gone (H07)"},
    {"anti_wraparound_vacuum", kRoot, "vacuum", 0.03, "",
     "Autovacuum works to prevent wraparound and does not yield its lock (P02)"},
    {"logical_decoding", kRoot, "replication", 0.01, "",
     "A walsender holds a lock while it creates a slot or decodes (H04)"},
    {"connection_leak", kRoot, "connections", 0.06, "sessions_idle",
     "One application opens sessions and never closes them (R04)"},
    {"reconnect_storm", kRoot, "connections", 0.04, "sessions_new",
     "Clients reconnect in rapid succession (R04)"},
    {"pool_too_large", kRoot, "connections", 0.02, "sessions_total",
     "The connection pools together may open more sessions than the server has slots (R04)"},
    {"lock_pileup", kRoot, "locks", 0.01, "lock_waiters",
     "Sessions pile up behind a lock and fill the connection slots (R04, then P01 or P02)"},
    {"bulk_change_without_analyze", kRoot, "statistics", 0.15, "",
     "A bulk load or change was not followed by ANALYZE (P07)"},
    {"autovacuum_off_for_table", kRoot, "vacuum", 0.05, "",
     "A storage option turns autovacuum off for the table (P07, P12)"},
    {"autovacuum_too_slow", kRoot, "vacuum", 0.08, "",
     "Autovacuum starts too late or works too slowly for the churn of the table (P12)"},
    {"autovacuum_canceled", kRoot, "vacuum", 0.02, "",
     "Autovacuum of the table is cancelled or skipped because of stronger locks (P13)"},
    {"max_wal_size_too_small", kRoot, "checkpointer", 0.10, "",
     "max_wal_size is too small for the normal write load (P11)"},
    {"write_burst", kRoot, "workload", 0.02, "wal_bytes",
     "A passing burst of writes, larger than the server is set up for (P11)"},
    {"manual_checkpoints", kRoot, "checkpointer", 0.04, "", "Somebody or a script runs CHECKPOINT (P11)"},
    {"base_backup", kRoot, "replication", 0.05, "",
     "A base backup is taken; it requests a checkpoint and reads all data (P11)"},
    {"failed_concurrent_build", kRoot, "indexes", 0.06, "",
     "CREATE INDEX CONCURRENTLY or REINDEX CONCURRENTLY failed and left its index (P15)"},
    {"running_concurrent_build", kRoot, "indexes", 0.06, "",
     "An index is being built concurrently; it is not valid until the end (P15)"},
    {"long_snapshot", kRoot, "transactions", 0.04, "longest_transaction",
     "A session keeps an old snapshot and holds the xmin horizon (P04)"},
    {"abandoned_slot", kRoot, "replication", 0.03, "slots_inactive",
     "A replication slot nobody reads holds WAL and the xmin horizon (H03, H04)"},
    {"standby_feedback", kRoot, "replication", 0.03, "",
     "A standby with hot_standby_feedback holds the xmin horizon of the primary (H08)"},
    {"healer_activity", kRoot, "healer", 0.02, "", "An action of pg_heal itself has this side effect"},
    {"application_deploy", kRoot, "workload", 0.03, "",
     "A new version of an application brought new statements and schema changes"},

    {"password_guessing", kRoot, "security", 0.02, "auth_failures",
     "Somebody tries passwords until one fits (S01)"},
    {"client_with_wrong_password", kRoot, "security", 0.03, "auth_failures",
     "A client goes on trying with a password that was changed or is wrong (S01)"},

    {"intrusion", kRoot, "security", 0.005, "",
     "Somebody who should not is in a session and widens his powers (S02, S03)"},
    {"administration", kRoot, "security", 0.05, "",
     "An administrator or a deploy changed roles or used the server's files (S02, S03)"},

    {"data_theft", kRoot, "security", 0.005, "",
     "Somebody with the password of a role takes its data away (S04)"},
    {"new_report_or_load", kRoot, "workload", 0.03, "",
     "A new report, export or load reads far more than the role read before (S04)"},
    {"probing_for_holes", kRoot, "security", 0.02, "log_syntax_or_name",
     "Somebody tries out statements or permissions of a role (S05)"},
    {"missing_grant", kRoot, "security", 0.05, "log_permission_denied",
     "An application lacks a grant that it needs (S05)"},

    // Observable facts and mechanisms: locks.
    {"holder_idle_in_transaction", kMechanism, "locks", 0.003, "sessions_idle_in_transaction",
     "The session at the root of the lock queue is idle in transaction (P01, P02)"},
    {"holder_active_statement", kMechanism, "locks", 0.003, "",
     "The session at the root of the lock queue runs a statement (P02)"},
    {"holder_prepared_transaction", kMechanism, "locks", 0.0005, "",
     "A prepared transaction is at the root of the lock queue (H07)"},
    {"holder_walsender", kMechanism, "locks", 0.0005, "", "A walsender is at the root of the lock queue"},
    {"anti_wraparound_vacuum_holds_lock", kMechanism, "locks", 0.001, "",
     "An autovacuum to prevent wraparound is at the root of the lock queue (P02)"},
    {"lock_held", kMechanism, "locks", 0.003, "", "A lock that others need is held for long"},
    {"ddl_heads_lock_queue", kMechanism, "locks", 0.001, "",
     "The first waiter of the queue wants an exclusive lock on the table (P02)"},
    {"lock_waiters", kMechanism, "locks", 0.005, "lock_waiters",
     "Sessions wait for a heavyweight lock (P01, P02)"},
    {"queue_behind_waiter", kMechanism, "locks", 0.002, "lock_waiters",
     "Sessions wait for a lock that is not held but asked for by another waiter (P02)"},
    {"healer_acted_recently", kMechanism, "healer", 0.02, "",
     "An action of pg_heal on the same object began less than 5 minutes before"},

    // Connections.
    {"idle_sessions_of_one_application", kMechanism, "connections", 0.004, "sessions_idle",
     "One role, application and address has far more idle sessions than others (R04)"},
    {"sessions_waiting_behind_locks", kMechanism, "connections", 0.004, "lock_waiters",
     "A large share of the sessions waits for locks (R04)"},
    {"new_session_rate_high", kMechanism, "connections", 0.004, "sessions_new",
     "New sessions arrive at an unusual rate (R04)"},
    {"connection_slots_low", kMechanism, "connections", 0.01, "connections_used",
     "Few of the connection slots for ordinary roles are free (R04)"},
    {"connections_refused", kMechanism, "connections", 0.003, "log_too_many_connections",
     "Connections are refused with SQLSTATE 53300 (R04)"},

    // Statistics and vacuum.
    {"rows_changed_since_analyze", kMechanism, "statistics", 0.003, "tables_stale_statistics",
     "A large share of the table changed since it was last analyzed (P07)"},
    {"autovacuum_disabled_on_table", kMechanism, "vacuum", 0.002, "",
     "The table has autovacuum_enabled=off (P07, P12)"},
    {"autovacuum_workers_busy", kMechanism, "vacuum", 0.01, "autovacuum_workers",
     "All autovacuum workers are busy (P12)"},
    {"table_busy", kMechanism, "vacuum", 0.03, "",
     "The table is being vacuumed, analyzed, indexed or altered now (P13)"},
    {"dead_tuples_growing", kMechanism, "vacuum", 0.003, "dead_tuples",
     "The dead rows of the table grow from look to look (P12)"},
    {"table_bloat", kMechanism, "storage", 0.02, "",
     "The table is much larger than its live rows (P04, P12)"},

    // The xmin horizon.
    {"horizon_held_by_session", kMechanism, "transactions", 0.002, "longest_transaction",
     "The oldest xmin is that of a session (P04)"},
    {"horizon_held_by_slot", kMechanism, "replication", 0.002, "",
     "The oldest xmin is that of a replication slot that is not lost (H03, H04)"},
    {"horizon_held_by_standby", kMechanism, "replication", 0.002, "",
     "The oldest xmin came from a standby (H08)"},
    {"horizon_held_by_prepared_transaction", kMechanism, "transactions", 0.001, "",
     "The oldest xid is that of a prepared transaction (H07)"},
    {"horizon_stuck", kMechanism, "transactions", 0.002, "horizon_age",
     "The xmin horizon does not move while transactions go on (P04)"},

    // Checkpoints and WAL.
    {"wal_fills_max_wal_size", kMechanism, "checkpointer", 0.003, "wal_bytes",
     "Between two checkpoints the WAL reaches what max_wal_size allows (P11)"},
    {"checkpoint_requests_by_hand", kMechanism, "checkpointer", 0.002, "",
     "Checkpoints are requested by statements (P11)"},
    {"base_backup_running", kMechanism, "replication", 0.002, "", "A base backup is in progress (P11)"},
    {"requested_checkpoints_frequent", kMechanism, "checkpointer", 0.003, "checkpoints_requested",
     "Most checkpoints are requested ones, in short succession (P11)"},
    {"wal_retained", kMechanism, "wal", 0.005, "slot_retained",
     "WAL is kept that would otherwise be recycled (R06)"},
    {"io_latency", kMechanism, "storage", 0.02, "checkpoint_sync_time",
     "Reads and writes of data files take longer than usual"},

    // Indexes.
    {"index_not_valid", kMechanism, "indexes", 0.001, "invalid_indexes",
     "An index is marked as not valid (P15)"},
    {"index_build_running", kMechanism, "indexes", 0.003, "",
     "An index build or REINDEX works on the table now (P15)"},
    {"index_leftover_name", kMechanism, "indexes", 0.002, "",
     "The name of the index ends in _ccnew or _ccold (P15)"},

    // Logins.
    {"many_roles_tried", kMechanism, "security", 0.001, "",
     "Logins of several roles fail at one address (S01)"},
    {"one_role_keeps_failing", kMechanism, "security", 0.003, "",
     "Logins of a single role fail at one address, at a steady pace (S01)"},
    {"login_failures_rapid", kMechanism, "security", 0.002, "auth_failures",
     "Logins from one address fail faster than a client retries (S01)"},
    {"login_after_failures", kMechanism, "security", 0.001, "",
     "After many failures a login from the address succeeded (S01)"},
    {"power_granted", kMechanism, "security", 0.002, "",
     "A role got an attribute or membership with power over the server (S02)"},
    {"server_files_used", kMechanism, "security", 0.002, "",
     "A program or a file of the server was used from SQL (S03)"},
    {"granted_by_superuser", kMechanism, "security", 0.05, "",
     "The session belonged to a superuser (S02, S03)"},
    {"logins_failing", kMechanism, "security", 0.003, "auth_failures",
     "Many logins from one address fail (S01)"},

    {"rows_far_above_usual", kMechanism, "security", 0.002, "",
     "A role is given many times the rows it ever was (S04)"},
    {"new_client_place", kMechanism, "security", 0.01, "",
     "The application or the address is new to the role (S04)"},
    {"probing_errors_burst", kMechanism, "security", 0.001, "log_syntax_or_name",
     "Errors of many kinds come in a burst from one role and address (S05)"},
    {"permission_errors_burst", kMechanism, "security", 0.003, "log_permission_denied",
     "Statements of one role and address are refused in a burst (S05)"},
    {"many_objects_refused", kMechanism, "security", 0.002, "",
     "The refusals are about several objects (S05)"},
    {"same_error_again", kMechanism, "security", 0.01, "", "The errors are the same again and again (S05)"},
    {"whole_table_lost", kMechanism, "security", 0.002, "",
     "All rows of a large table were changed, removed or dropped (S06)"},

    // Symptoms, named like the failures.
    {"idle_in_transaction_blocker", kSymptom, "locks", 0.002, "lock_waiters",
     "P01: sessions wait behind one that is idle in transaction"},
    {"ddl_lock_queue", kSymptom, "locks", 0.002, "lock_waiters",
     "P02: a table stands still behind a waiting schema change"},
    {"stale_statistics", kSymptom, "statistics", 0.002, "tables_stale_statistics",
     "P07: the planner works with statistics of other data"},
    {"checkpoint_storm", kSymptom, "checkpointer", 0.002, "checkpoints_requested",
     "P11: checkpoints follow each other too fast"},
    {"vacuum_starved", kSymptom, "vacuum", 0.002, "dead_tuples", "P12: dead rows of a table pile up"},
    {"invalid_index", kSymptom, "indexes", 0.002, "invalid_indexes",
     "P15: an index costs writes and serves no query"},
    {"connection_exhaustion", kSymptom, "connections", 0.002, "connections_used",
     "R04: hardly any connection slot is left, or none"},
    {"privilege_escalation", kSymptom, "security", 0.002, "",
     "S02: a role got power over the server"},
    {"server_file_access", kSymptom, "security", 0.002, "",
     "S03: programs or files of the server were used from SQL"},
    {"bulk_exfiltration", kSymptom, "security", 0.002, "",
     "S04: a role is given far more rows than it ever was"},
    {"injection_probing", kSymptom, "security", 0.002, "log_syntax_or_name",
     "S05: a role at an address tries out what it may do"},
    {"destructive_statement", kSymptom, "security", 0.002, "",
     "S06: all rows of a large table are changed or gone"},
    {"brute_force", kSymptom, "security", 0.002, "auth_failures",
     "S01: many logins from one address fail"},
    {"stale_snapshot", kSymptom, "transactions", 0.002, "horizon_age",
     "P04: an old snapshot keeps vacuum from removing dead rows"},
    {"orphaned_prepared_xact", kSymptom, "transactions", 0.001, "oldest_prepared",
     "H07: a prepared transaction stays for minutes"},
    {"plan_regression", kSymptom, "workload", 0.02, "exec_latency_p99",
     "P09: a statement got a much slower plan"},
    {"xid_wraparound", kSymptom, "vacuum", 0.002, "xid_age",
     "R01: transaction ids are used up faster than they are frozen"},
    {"slot_wal_retention", kSymptom, "replication", 0.002, "slot_retained",
     "R06: a slot keeps more and more WAL"},
    {"disk_full", kSymptom, "storage", 0.005, "disk_used",
     "R05: the disk of the data directory or of the WAL is nearly full"},
};

constexpr EdgeDef kEdges[] = {
    // A deploy brings several causes at once.
    {"application_deploy", "idle_in_transaction_session", kContributing, 0.40},
    {"application_deploy", "ddl_without_lock_timeout", kContributing, 0.50},
    {"application_deploy", "reconnect_storm", kContributing, 0.40},
    {"application_deploy", "plan_regression", kCorrelation, 0.70},

    // Who holds the lock.
    {"idle_in_transaction_session", "holder_idle_in_transaction", kDirect, 0.95},
    {"long_running_statement", "holder_active_statement", kDirect, 0.90},
    {"orphaned_prepared_transaction", "holder_prepared_transaction", kDirect, 0.90},
    {"logical_decoding", "holder_walsender", kDirect, 0.90},
    {"anti_wraparound_vacuum", "anti_wraparound_vacuum_holds_lock", kDirect, 0.90},
    {"healer_activity", "healer_acted_recently", kDirect, 0.97},
    {"holder_idle_in_transaction", "lock_held", kDirect, 0.90},
    {"holder_active_statement", "lock_held", kDirect, 0.90},
    {"holder_prepared_transaction", "lock_held", kDirect, 0.90},
    {"holder_walsender", "lock_held", kDirect, 0.90},
    {"anti_wraparound_vacuum_holds_lock", "lock_held", kDirect, 0.90},
    {"healer_activity", "lock_held", kContributing, 0.60},

    // Who waits for it.
    {"ddl_without_lock_timeout", "ddl_heads_lock_queue", kDirect, 0.95},
    {"lock_held", "lock_waiters", kDirect, 0.90},
    {"ddl_heads_lock_queue", "lock_waiters", kDirect, 0.95},
    {"lock_waiters", "idle_in_transaction_blocker", kDirect, 0.90},
    // Of all queues only those behind a waiting exclusive lock go when it goes.
    {"lock_waiters", "queue_behind_waiter", kContributing, 0.40},
    {"ddl_heads_lock_queue", "queue_behind_waiter", kDirect, 0.95},
    {"queue_behind_waiter", "ddl_lock_queue", kDirect, 0.90},

    // What fills the connection slots.
    {"lock_waiters", "lock_pileup", kDirect, 0.30},
    {"lock_pileup", "sessions_waiting_behind_locks", kDirect, 0.95},
    {"connection_leak", "idle_sessions_of_one_application", kDirect, 0.95},
    {"pool_too_large", "idle_sessions_of_one_application", kContributing, 0.50},
    {"pool_too_large", "connection_slots_low", kContributing, 0.60},
    {"reconnect_storm", "new_session_rate_high", kDirect, 0.95},
    {"idle_sessions_of_one_application", "connection_slots_low", kDirect, 0.90},
    {"sessions_waiting_behind_locks", "connection_slots_low", kDirect, 0.80},
    {"new_session_rate_high", "connection_slots_low", kDirect, 0.80},
    {"new_session_rate_high", "connections_refused", kContributing, 0.50},
    {"connection_slots_low", "connections_refused", kDirect, 0.70},
    {"connection_slots_low", "connection_exhaustion", kDirect, 0.90},
    {"connections_refused", "connection_exhaustion", kDirect, 0.90},

    // Statistics.
    {"bulk_change_without_analyze", "rows_changed_since_analyze", kDirect, 0.90},
    {"autovacuum_off_for_table", "autovacuum_disabled_on_table", kDirect, 0.97},
    {"autovacuum_off_for_table", "rows_changed_since_analyze", kDirect, 0.80},
    {"autovacuum_too_slow", "rows_changed_since_analyze", kContributing, 0.50},
    {"autovacuum_canceled", "rows_changed_since_analyze", kContributing, 0.50},
    {"rows_changed_since_analyze", "stale_statistics", kDirect, 0.90},
    {"stale_statistics", "plan_regression", kDirect, 0.40},

    // Dead rows.
    {"autovacuum_too_slow", "autovacuum_workers_busy", kContributing, 0.60},
    {"anti_wraparound_vacuum", "autovacuum_workers_busy", kContributing, 0.50},
    {"autovacuum_canceled", "table_busy", kDirect, 0.70},
    {"running_concurrent_build", "table_busy", kDirect, 0.80},
    {"autovacuum_off_for_table", "dead_tuples_growing", kDirect, 0.85},
    {"autovacuum_too_slow", "dead_tuples_growing", kDirect, 0.85},
    {"autovacuum_canceled", "dead_tuples_growing", kDirect, 0.80},
    {"horizon_stuck", "dead_tuples_growing", kDirect, 0.80},
    {"dead_tuples_growing", "vacuum_starved", kDirect, 0.90},
    {"dead_tuples_growing", "table_bloat", kDirect, 0.70},
    {"table_bloat", "io_latency", kContributing, 0.40},
    {"table_bloat", "plan_regression", kCorrelation, 0.60},
    {"table_bloat", "disk_full", kCorrelation, 0.60},
    {"autovacuum_canceled", "xid_wraparound", kContributing, 0.40},
    {"anti_wraparound_vacuum", "xid_wraparound", kCorrelation, 0.60},

    // The four holders of the horizon. A session is one of them however it came
    // by its snapshot, hence the edges into long_snapshot.
    {"idle_in_transaction_session", "long_snapshot", kContributing, 0.40},
    {"long_running_statement", "long_snapshot", kContributing, 0.50},
    {"long_snapshot", "horizon_held_by_session", kDirect, 0.95},
    {"abandoned_slot", "horizon_held_by_slot", kDirect, 0.95},
    {"standby_feedback", "horizon_held_by_standby", kDirect, 0.95},
    {"orphaned_prepared_transaction", "horizon_held_by_prepared_transaction", kDirect, 0.90},
    {"horizon_held_by_session", "horizon_stuck", kDirect, 0.95},
    {"horizon_held_by_slot", "horizon_stuck", kDirect, 0.95},
    {"horizon_held_by_standby", "horizon_stuck", kDirect, 0.95},
    {"horizon_held_by_prepared_transaction", "horizon_stuck", kDirect, 0.95},
    {"horizon_stuck", "stale_snapshot", kDirect, 0.90},
    {"horizon_stuck", "xid_wraparound", kContributing, 0.50},
    {"orphaned_prepared_transaction", "orphaned_prepared_xact", kDirect, 0.90},

    // Checkpoints and WAL.
    {"max_wal_size_too_small", "wal_fills_max_wal_size", kDirect, 0.95},
    {"write_burst", "wal_fills_max_wal_size", kContributing, 0.50},
    {"healer_activity", "wal_fills_max_wal_size", kContributing, 0.40},
    {"manual_checkpoints", "checkpoint_requests_by_hand", kDirect, 0.95},
    {"base_backup", "base_backup_running", kDirect, 0.97},
    {"wal_fills_max_wal_size", "requested_checkpoints_frequent", kDirect, 0.90},
    {"checkpoint_requests_by_hand", "requested_checkpoints_frequent", kDirect, 0.90},
    {"base_backup_running", "requested_checkpoints_frequent", kDirect, 0.70},
    {"base_backup_running", "io_latency", kContributing, 0.40},
    {"requested_checkpoints_frequent", "checkpoint_storm", kDirect, 0.90},
    {"requested_checkpoints_frequent", "io_latency", kDirect, 0.50},
    {"abandoned_slot", "wal_retained", kDirect, 0.90},
    {"wal_retained", "slot_wal_retention", kDirect, 0.90},
    {"wal_retained", "disk_full", kContributing, 0.50},

    // Indexes.
    {"failed_concurrent_build", "index_not_valid", kDirect, 0.97},
    {"failed_concurrent_build", "index_leftover_name", kContributing, 0.50},
    {"running_concurrent_build", "index_not_valid", kDirect, 0.90},
    {"running_concurrent_build", "index_build_running", kDirect, 0.97},
    {"running_concurrent_build", "index_leftover_name", kContributing, 0.50},
    {"index_not_valid", "invalid_index", kDirect, 0.95},

    // Logins.
    {"password_guessing", "many_roles_tried", kContributing, 0.50},
    {"password_guessing", "login_failures_rapid", kDirect, 0.80},
    {"password_guessing", "login_after_failures", kContributing, 0.40},
    {"password_guessing", "logins_failing", kDirect, 0.95},
    {"client_with_wrong_password", "one_role_keeps_failing", kDirect, 0.95},
    {"client_with_wrong_password", "logins_failing", kDirect, 0.95},
    {"logins_failing", "brute_force", kDirect, 0.95},
    {"password_guessing", "intrusion", kContributing, 0.40},
    {"intrusion", "power_granted", kDirect, 0.60},
    {"intrusion", "server_files_used", kDirect, 0.60},
    {"administration", "power_granted", kDirect, 0.60},
    {"administration", "server_files_used", kDirect, 0.40},
    {"administration", "granted_by_superuser", kDirect, 0.90},
    {"power_granted", "privilege_escalation", kDirect, 0.95},
    {"server_files_used", "server_file_access", kDirect, 0.95},
    {"intrusion", "probing_for_holes", kContributing, 0.50},
    {"intrusion", "data_theft", kContributing, 0.40},
    {"data_theft", "rows_far_above_usual", kDirect, 0.90},
    {"data_theft", "new_client_place", kDirect, 0.70},
    {"new_report_or_load", "rows_far_above_usual", kDirect, 0.70},
    {"new_report_or_load", "new_client_place", kContributing, 0.40},
    {"rows_far_above_usual", "bulk_exfiltration", kDirect, 0.95},
    {"probing_for_holes", "probing_errors_burst", kDirect, 0.80},
    {"probing_for_holes", "permission_errors_burst", kDirect, 0.60},
    {"probing_for_holes", "many_objects_refused", kDirect, 0.80},
    {"missing_grant", "permission_errors_burst", kDirect, 0.80},
    {"missing_grant", "same_error_again", kDirect, 0.90},
    {"probing_errors_burst", "injection_probing", kDirect, 0.95},
    {"permission_errors_burst", "injection_probing", kDirect, 0.95},
    {"intrusion", "whole_table_lost", kContributing, 0.40},
    {"administration", "whole_table_lost", kDirect, 0.40},
    {"whole_table_lost", "destructive_statement", kDirect, 0.95},
};

constexpr std::array<std::pair<std::string_view, double>, 3> kEdgeTypes = {{
    {kDirect, 1.0},
    {kContributing, 0.8},
    {kCorrelation, 0.5},
}};

}  // namespace

std::span<const NodeDef> CausalNodes() { return kNodes; }

std::span<const EdgeDef> CausalEdges() { return kEdges; }

std::optional<double> EdgeTypeWeight(std::string_view edge_type) {
  for (const auto& [name, weight] : kEdgeTypes) {
    if (name == edge_type) return weight;
  }
  return std::nullopt;
}

}  // namespace heal
