#include "catalogue/failures.h"

#include <array>
#include <algorithm>
#include <cmath>
#include <cstddef>

namespace heal {
namespace {

constexpr double kDay = 86400;
constexpr double kManyRows = 1e15;
constexpr double kGiB = 1024.0 * 1024 * 1024;

// What runs out. Predictions of it open an incident ahead of time only when
// pg_heal.predictive is on.
constexpr char kPredictConfidence[] =
    "Confidence below which a prediction opens no incident";
constexpr char kPredictWithin[] =
    "A prediction opens an incident when it is to come true within this time";

constexpr ThresholdDef kIdleBlocker[] = {
    {"idle_s", "s", 60, 0, kDay, "Time a session must have been idle in its transaction"},
    {"wait_s", "s", 10, 0, kDay, "Time the longest waiter must have been blocked by it"},
    {"clear_wait_s", "s", 0, 0, kDay,
     "Once raised, the failure lasts while a waiter has been blocked at least "
     "this long",
     "wait_s"},
};

constexpr ThresholdDef kDdlQueue[] = {
    {"wait_s", "s", 2, 0, kDay, "Time an ACCESS EXCLUSIVE request must have been waiting"},
    {"queue", "sessions", 3, 1, 10000, "Sessions with weaker requests that must be queued behind it"},
    {"migration_grace_s", "s", 2, 0, kDay, "Additional waiting time granted to a declared migration"},
    {"clear_queue", "sessions", 1, 1, 10000,
     "Once raised, the failure lasts while at least this many sessions are "
     "queued behind the request",
     "queue"},
};

constexpr ThresholdDef kStaleStatistics[] = {
    {"min_rows", "rows", 50000, 0, kManyRows, "Rows that must have changed since the last analyze"},
    {"share", "fraction", 0.1, 0, 1000,
     "Share of the live rows that must have changed since the last analyze"},
    {"clear_share", "fraction", 0.05, 0, 1000,
     "Once raised, the failure lasts until the changed share falls to this",
     "share"},
    {"samples", "inspections", 2, 1, 1000,
     "Consecutive inspections in which the changed rows did not shrink"},
    {"max_bytes", "bytes", 100 * kGiB, 0, 1e18, "Largest table that is analyzed automatically"},
};

constexpr ThresholdDef kCheckpointStorm[] = {
    {"requested_share", "fraction", 0.3, 0, 1,
     "Share of requested checkpoints among all checkpoints of the window"},
    {"clear_share", "fraction", 0.1, 0, 1,
     "Once raised, the failure lasts until the requested share falls to this",
     "requested_share"},
    {"window_s", "s", 900, 1, kDay, "Time over which checkpoints are counted"},
    {"min_requested", "checkpoints", 3, 1, 10000,
     "Requested checkpoints that must have happened in the window"},
    {"max_wal_disk_share", "fraction", 0.2, 0, 0.9,
     "Share of the free space of the WAL disk that max_wal_size may reach"},
    {"verify_cycles", "cycles", 3, 1, 1000,
     "Checkpoint cycles of the old size that must pass calmly after a change "
     "of max_wal_size"},
};

constexpr ThresholdDef kVacuumStarved[] = {
    {"dead_share", "fraction", 0.2, 0, 1000, "Dead rows in relation to live rows"},
    {"dead_rows", "rows", 1000000, 0, kManyRows, "Dead rows that are too many whatever their share"},
    {"min_dead_rows", "rows", 10000, 0, kManyRows, "Dead rows below which a table is never starved"},
    {"samples", "inspections", 3, 2, 1000, "Consecutive inspections in which the dead rows must have risen"},
    {"clear_share", "fraction", 0.1, 0, 1000,
     "Once raised, the failure lasts until the dead share falls to this",
     "dead_share"},
    {"clear_rows", "rows", 500000, 0, kManyRows,
     "Once raised, the failure lasts until the dead rows fall to this",
     "dead_rows"},
};

constexpr ThresholdDef kInvalidIndex[] = {
    {"samples", "inspections", 2, 2, 1000,
     "Consecutive inspections in which the index must be invalid and not "
     "being built"},
};

constexpr ThresholdDef kConnectionExhaustion[] = {
    {"used", "fraction", 0.85, 0.01, 1, "Share of the connection slots of ordinary roles in use"},
    {"clear", "fraction", 0.75, 0, 1, "Once raised, the failure lasts until the share in use falls to this",
     "used"},
    {"leak_share", "fraction", 0.3, 0, 1,
     "Share of the slots held by idle sessions of one role, application and "
     "address"},
    {"leak_idle_s", "s", 60, 0, kDay, "Time a session must have been idle to count as leaked"},
    {"quiet_s", "s", 60, 0, kDay, "Time without refused connections before the failure is over"},
    {"pileup_share", "fraction", 0.1, 0, 1,
     "Share of the slots held by sessions waiting behind locks that makes the "
     "locks the cause"},
    {"pileup_wait_s", "s", 1, 0, kDay, "Time a session must have waited for a lock to count as piled up"},
    {"storm_rate", "1/s", 10, 0, 1e6, "New sessions per second that may be a reconnect storm"},
    {"storm_factor", "ratio", 5, 1, 1e6,
     "New sessions in relation to the usual rate that make a reconnect storm"},
    {"predict_confidence", "fraction", 0.9, 0, 1, kPredictConfidence},
    {"predict_within_s", "s", 1800, 0, kDay, kPredictWithin},
};

constexpr ThresholdDef kBruteForce[] = {
    {"failures", "logins", 10, 2, 1e6, "Failed logins from one address in the window"},
    {"window_s", "s", 60, 1, 3600, "Time over which failed logins are counted"},
    {"failed_share", "fraction", 0.5, 0, 1,
     "Share of the address's logins in the window that must have failed; a pooler's mostly succeed"},
    {"quiet_s", "s", 300, 0, kDay, "Time without failed logins before the failure is over"},
};

constexpr ThresholdDef kPrivilegeEscalation[] = {
    {"shown_s", "s", 600, 10, kDay, "Time after the latest grant for which the failure is shown"},
};

constexpr ThresholdDef kServerFileAccess[] = {
    {"shown_s", "s", 600, 10, kDay, "Time after the latest access for which the failure is shown"},
    {"novelty_s", "s", 30 * kDay, 0, 365 * kDay,
     "A role that did the same in this time before is not reported again"},
};

constexpr ThresholdDef kXidWraparound[] = {
    {"used", "fraction", 0.5, 0.01, 1, "Share of the transaction ids until the server stops that must be in use"},
    {"clear", "fraction", 0.4, 0, 1, "Once raised, the failure lasts until the share in use falls to this", "used"},
    {"critical", "fraction", 0.75, 0, 1, "Share in use from which the failure is critical"},
    {"freeze_margin", "transactions", 50e6, 0, 2e9,
     "Transactions by which the age must exceed autovacuum_freeze_max_age"},
    {"predict_confidence", "fraction", 0.9, 0, 1, kPredictConfidence},
    {"predict_within_s", "s", 7 * kDay, 0, 365 * kDay, kPredictWithin},
};

constexpr ThresholdDef kMultixactExhaustion[] = {
    {"used", "fraction", 0.5, 0.01, 1, "Share of the multixact ids until the server stops that must be in use"},
    {"members_used", "fraction", 0.4, 0.01, 1, "Share of the space of multixact members that must be in use"},
    {"clear", "fraction", 0.3, 0, 1, "Once raised, the failure lasts until the share in use falls to this", "used"},
    {"critical", "fraction", 0.75, 0, 1, "Share in use from which the failure is critical"},
    {"freeze_margin", "multixacts", 50e6, 0, 2e9,
     "Multixacts by which the age must exceed autovacuum_multixact_freeze_max_age"},
    {"predict_confidence", "fraction", 0.9, 0, 1, kPredictConfidence},
    {"predict_within_s", "s", 7 * kDay, 0, 365 * kDay, kPredictWithin},
};

constexpr ThresholdDef kDiskFull[] = {
    {"used", "fraction", 0.95, 0.01, 1, "Share of the file system that must be in use"},
    {"clear", "fraction", 0.9, 0, 1, "Once raised, the failure lasts until the share in use falls to this", "used"},
    {"critical", "fraction", 0.98, 0, 1, "Share in use from which the failure is critical"},
    {"max_free", "bytes", 50 * kGiB, 0, 1e18, "Free bytes above which a file system is never full"},
    {"predict_confidence", "fraction", 0.9, 0, 1, kPredictConfidence},
    {"predict_within_s", "s", kDay, 0, 365 * kDay, kPredictWithin},
};

constexpr ThresholdDef kSlotWalRetention[] = {
    {"used", "fraction", 0.5, 0.01, 1,
     "WAL held back by the slot in relation to that and the free space of its file system together"},
    {"keep_used", "fraction", 0.8, 0.01, 1,
     "The same in relation to max_slot_wal_keep_size, where that is set: beyond it the slot is lost"},
    {"clear", "fraction", 0.3, 0, 1, "Once raised, the failure lasts until the share falls to this", "used"},
    {"critical", "fraction", 0.9, 0, 1, "Share from which the failure is critical"},
    {"min_bytes", "bytes", 0.25 * kGiB, 0, 1e18, "Held-back WAL below which a slot is never a failure"},
    {"predict_confidence", "fraction", 0.9, 0, 1, kPredictConfidence},
    {"predict_within_s", "s", kDay, 0, 365 * kDay, kPredictWithin},
};

constexpr ThresholdDef kTempFileExplosion[] = {
    {"used", "fraction", 0.5, 0.01, 1,
     "Temporary files in relation to them and the free space of their file system together"},
    {"clear", "fraction", 0.3, 0, 1, "Once raised, the failure lasts until the share falls to this", "used"},
    {"critical", "fraction", 0.8, 0, 1, "Share from which the failure is critical"},
    {"min_bytes", "bytes", kGiB, 0, 1e18, "Temporary files that are together never a failure below this"},
};

constexpr ThresholdDef kSequenceExhaustion[] = {
    {"used", "fraction", 0.7, 0.01, 1, "Share of its range, or of what its column can hold, a sequence must have used"},
    {"clear", "fraction", 0.65, 0, 1, "Once raised, the failure lasts until the used share falls to this", "used"},
    {"critical", "fraction", 0.9, 0, 1, "Used share from which the failure is critical"},
    {"predict_confidence", "fraction", 0.9, 0, 1, kPredictConfidence},
    {"predict_within_s", "s", 30 * kDay, 0, 3650 * kDay, kPredictWithin},
};

constexpr ThresholdDef kBulkExfiltration[] = {
    {"rows", "rows", 1000000, 1, kManyRows, "Rows given to one role in the window below which nothing is said"},
    {"factor", "ratio", 10, 1, 1e6,
     "Rows in relation to the most the role was given in a window of the last 30 days"},
    {"window_s", "s", 600, 1, kDay, "Time over which rows are counted"},
    {"history_s", "s", 7 * kDay, 0, 365 * kDay,
     "Time the healer must have watched before it judges a role"},
    {"new_place_s", "s", kDay, 0, 365 * kDay,
     "Time for which an application at an address counts as new to a role; evidence only"},
    {"quiet_s", "s", 600, 0, kDay, "Time below the limits before the failure is over"},
};

constexpr ThresholdDef kInjectionProbing[] = {
    {"refusals", "errors", 20, 2, 1e6, "Statements of one role and address refused with 42501 in the window"},
    {"objects", "errors", 3, 1, 64,
     "Different refusals that make it a warning; fewer are an application that lacks a grant, a note"},
    {"errors", "errors", 30, 2, 1e6,
     "Errors in the window of the kinds that probing makes: 42601, 42703, 42P01, 42883, 22P02 ..."},
    {"kinds", "sqlstates", 3, 1, 8,
     "Kinds of SQLSTATE among them, of which one must be more than a missing name"},
    {"different", "errors", 8, 1, 64, "Different messages among them; a broken deploy makes equal ones"},
    {"error_share", "fraction", 0.3, 0, 1, "Share of these errors in what the role at the address ran"},
    {"window_s", "s", 60, 1, 3600, "Time over which errors are counted"},
    {"quiet_s", "s", 300, 0, kDay, "Time without such errors before the failure is over"},
};

constexpr ThresholdDef kDestructiveStatement[] = {
    {"rows", "rows", 100000, 10000, kManyRows, "Rows that must be changed or lost"},
    {"share", "fraction", 0.3, 0, 1, "Share of the rows of the table that must be changed or lost"},
    {"shown_s", "s", 600, 10, kDay, "Time after the statement for which the failure is shown"},
    {"novelty_s", "s", 30 * kDay, 0, 365 * kDay,
     "A role that did such a thing in this time before is not reported again"},
};

constexpr ThresholdDef kSettingTampering[] = {
    {"grace_s", "s", 0, 0, kDay, "Time a setting must have been unsafe before it is told of"},
};

constexpr ThresholdDef kChecksumFailure[] = {
    {"shown_s", "s", 7 * kDay, 10, 365 * kDay, "Time after the latest failure for which it is shown"},
};

constexpr ThresholdDef kUnvalidatedConstraint[] = {
    {"age_s", "s", kDay, 0, 365 * kDay, "Time a constraint must have been seen not validated or disabled"},
};

constexpr ThresholdDef kIndexCorruption[] = {
    {"max_bytes", "bytes", 64.0 * 1024 * 1024, 0, 1e12, "Largest index that is checked with amcheck"},
    {"interval_s", "s", 600, 1, 365 * kDay, "Time between two checks with amcheck in one database"},
};

constexpr ThresholdDef kConstraintBurst[] = {
    {"count", "errors", 50, 2, 1e9, "Violations of one constraint in the window"},
    {"clear_count", "errors", 10, 1, 1e9,
     "Once raised, the failure lasts until a window has fewer violations", "count"},
    {"factor", "ratio", 5, 1, 1e6, "Violations in relation to the most that are usual in a window"},
    {"window_s", "s", 60, 1, kDay, "Time over which violations are counted"},
    {"learn_s", "s", 1800, 0, kDay, "Time after the start of the worker in which it only learns what is usual"},
    {"accept_s", "s", 3600, 60, 30 * kDay, "A burst that lasts this long is usual from then on"},
};

constexpr ThresholdDef kSequenceBehind[] = {
    {"samples", "inspections", 1, 1, 1000, "Inspections in which the sequence must be behind"},
    {"near", "values", 100000, 1, 1e18,
     "Values until the first one that exists; a sequence further away is a note, not a warning"},
};

constexpr ThresholdDef kDistributionDrift[] = {
    {"min_rows", "rows", 1000, 10, kManyRows, "Rows behind the statistics, on both sides"},
    {"null_rise", "fraction", 0.05, 0.001, 1, "Rise of the null fraction between two states of the statistics"},
    {"clear_null_rise", "fraction", 0.02, 0, 1, "Once raised, the failure lasts until the rise falls to this",
     "null_rise"},
    {"z", "deviations", 6, 2, 1000, "Distance from chance in the two-proportion test"},
    {"min_recent_rows", "rows", 200, 20, 1e6, "Rows in the last blocks of the table"},
    {"recent_rise", "fraction", 0.1, 0.01, 1, "Rise of the null fraction in the newest rows"},
    {"clear_recent_rise", "fraction", 0.05, 0, 1, "Once raised, the failure lasts until the rise falls to this",
     "recent_rise"},
    {"samples", "inspections", 2, 1, 1000, "Consecutive inspections with more NULLs in the newest rows"},
    {"index", "ratio", 0.25, 0.01, 100, "Population stability index of the frequent values"},
    {"clear_index", "ratio", 0.1, 0, 100, "Once raised, the failure lasts until the index falls to this", "index"},
    {"distinct_factor", "ratio", 10, 2, 1e9, "Factor by which the different values became fewer or more"},
    {"clear_distinct_factor", "ratio", 5, 1, 1e9, "Once raised, the failure lasts until the factor falls to this",
     "distinct_factor"},
    {"shift", "fraction", 0.3, 0.1, 1, "Distance of the distributions of the numbers"},
    {"clear_shift", "fraction", 0.2, 0, 1, "Once raised, the failure lasts until the distance falls to this", "shift"},
    {"accept_s", "s", 7 * kDay, 60, 365 * kDay, "A state that lasts this long is what later ones are compared with"},
};

constexpr ThresholdDef kRowCountCliff[] = {
    {"share", "fraction", 0.5, 0.01, 1, "Share of the rows that must have gone between two inspections"},
    {"clear_share", "fraction", 0.3, 0, 1, "Once raised, the failure lasts until no more than this share is missing",
     "share"},
    {"min_rows", "rows", 10000, 1, kManyRows, "Rows that must have gone"},
    {"samples", "inspections", 2, 1, 1000, "Consecutive inspections in which the rows must be missing"},
    {"quiet_s", "s", 2 * kDay, 0, 365 * kDay,
     "Time the table must have been watched without such a fall; what falls more often is routine"},
    {"accept_s", "s", 7 * kDay, 60, 365 * kDay, "A number of rows that lasts this long is the usual one"},
};

constexpr FailureDef kFailures[] = {
    {"P01", "idle_in_transaction_blocker", "locks", "performance", "warning",
     "A session that is idle inside a transaction holds locks others wait for.",
     "Terminate exactly this session, one per round, deepest root first.",
     "The locks of the blocked sessions are granted.",
     "None for the lost open work; role, application and last statement are "
     "recorded.",
     "Cancel (it has no effect); end an idle session that blocks nobody; end "
     "the owner of a prepared transaction.",
     kIdleBlocker},
    {"P02", "ddl_lock_queue", "locks", "performance", "critical",
     "A waiting ACCESS EXCLUSIVE request keeps weaker requests queued behind "
     "it.",
     "Cancel the waiting statement: it has done nothing yet.", "Nobody is queued on the relation.",
     "Run the statement again later, with lock_timeout.",
     "Terminate the holder first; touch DDL that has its lock; end a vacuum "
     "to prevent wraparound.",
     kDdlQueue},
    {"P07", "stale_statistics", "statistics", "performance", "warning",
     "A large part of a table changed since its statistics were collected.",
     "ANALYZE the table, one at a time, up to a size limit.", "The time of the last analyze is new.",
     "None needed.", "Analyze a whole database at peak load; forget partitioned parents.", kStaleStatistics},
    {"P11", "checkpoint_storm", "checkpointer", "performance", "warning",
     "Checkpoints are requested because max_wal_size is filled too quickly.",
     "Raise max_wal_size within a share of the free WAL disk.",
     "Checkpoint cycles of the old size pass without requested checkpoints.",
     "Restore the previous max_wal_size and reload.",
     "Switch off fsync, full_page_writes or synchronous_commit.", kCheckpointStorm},
    {"P12", "vacuum_starved", "vacuum", "performance", "warning",
     "Dead rows of a table grow faster than vacuum removes them.",
     "VACUUM the table with cost delay, then autovacuum options for the "
     "table.",
     "The share of dead rows falls below the clear limit.", "Restore the previous storage options.",
     "VACUUM FULL or CLUSTER; judge by the time of the last vacuum alone.", kVacuumStarved},
    {"P15", "invalid_index", "indexes", "performance", "warning",
     "An index that no build is working on is invalid: it costs writes and "
     "serves no query.",
     "DROP INDEX CONCURRENTLY; ask first where the index is unique.",
     "The index is gone and its definition is recorded.", "Create the index from the recorded definition.",
     "Drop while a build may run; drop an invalid primary key or unique index "
     "silently.",
     kInvalidIndex},
    {"R04", "connection_exhaustion", "connections", "resource", "critical",
     "The connection slots of ordinary roles are used up.",
     "End the longest idle sessions of the leaking application, a few at a "
     "time.",
     "The share in use falls below the clear limit and no connection is "
     "refused.",
     "None needed: the application connects again.",
     "End active sessions; raise max_connections; end a pooler's "
     "administrative connection.",
     kConnectionExhaustion},
    {"R01", "xid_wraparound", "transactions", "resource", "warning",
     "Transaction ids are used up faster than rows are frozen; at the end the server accepts no writes.",
     "Free what holds the horizon, then VACUUM (FREEZE) the oldest tables of the oldest database.",
     "The age of the oldest database falls below the clear limit.", "None needed.",
     "End a vacuum to prevent wraparound; VACUUM FULL; switch autovacuum off; restart into single-user mode.",
     kXidWraparound},
    {"R03", "multixact_exhaustion", "transactions", "resource", "warning",
     "Multixact ids or the space of their members are used up faster than they are removed.",
     "VACUUM the tables with the oldest relminmxid, after ending what holds old snapshots; slow down what locks "
     "the same rows from many transactions.",
     "The share in use falls below the clear limit.", "None needed.",
     "End a vacuum to prevent wraparound; VACUUM FULL; switch autovacuum off.", kMultixactExhaustion},
    {"R05", "disk_full", "storage", "resource", "warning",
     "The file system of the data directory or of pg_wal is nearly full; on a full one of pg_wal the server stops.",
     "Find what grows (WAL held back by a slot or a failing archiver, temporary files, logs, bloat, data) and "
     "treat that, or enlarge the file system.",
     "The share in use falls below the clear limit.", "None needed.",
     "Delete anything in pg_wal or pg_xact; drop data; VACUUM FULL, which needs the space of the whole table.",
     kDiskFull},
    {"R06", "slot_wal_retention", "replication", "resource", "warning",
     "A replication slot holds back so much WAL that its disk fills, or so much that it will be lost.",
     "Bring its reader back or make it faster; drop the slot when its reader is gone for good.",
     "The WAL held back falls below the clear limit.",
     "None: a dropped slot cannot be restored, its reader must be set up anew.",
     "Delete files of pg_wal; drop a slot whose reader may come back.", kSlotWalRetention},
    {"R08", "temp_file_explosion", "storage", "resource", "warning",
     "Statements spill so much to temporary files that the disk of the data directory fills.",
     "Cancel the statement that writes most of it; then set temp_file_limit for its role.",
     "The temporary files are gone.", "Run the statement again, with more work_mem or less data.",
     "Delete files of running processes.", kTempFileExplosion},
    {"R11", "sequence_exhaustion", "sequences", "resource", "warning",
     "A sequence, or the column it fills, is nearly at its end: inserts will fail there.",
     "Widen the column to bigint with a new column, a trigger and a copy in portions; where only the sequence is "
     "too narrow, ALTER SEQUENCE ... AS bigint.",
     "The used share falls below the clear limit.", "The maximum there was before.",
     "CYCLE; ALTER COLUMN TYPE on a large table, which rewrites it under an exclusive lock.",
     kSequenceExhaustion},
    {"S01", "brute_force", "security", "security", "warning",
     "Many logins from one address fail, for one role or for many; critical "
     "once one of them succeeds.",
     "Tell a person: who is behind the address cannot be seen from here.",
     "No more failed logins from the address; logins of the role elsewhere "
     "go on.",
     "None needed.",
     "Edit pg_hba.conf; lock the role, which locks its owner out; blame an "
     "address whose logins mostly succeed.",
     kBruteForce},
    {"S02", "privilege_escalation", "security", "security", "warning",
     "A role got power over the server: an attribute or a membership; a note "
     "when a superuser gave it.",
     "Tell a person, with who gave what to whom.",
     "Shown for some minutes; the grant itself stays a person's to judge.",
     "None needed.", "Revoke by itself: it may be the operator's own role.", kPrivilegeEscalation},
    {"S03", "server_file_access", "security", "security", "warning",
     "A role ran a program on the server, used its files or installed code "
     "that can do both, and had not done so before.",
     "Tell a person, with role, application and program or file.",
     "Shown for some minutes; the same by the same role is known from then on.",
     "None needed.", "Drop the function or the extension.", kServerFileAccess},
    {"S04", "bulk_exfiltration", "security", "security", "warning",
     "A role was given far more rows than in any window of the last 30 days.",
     "Tell a person, with role, application, address and how much.",
     "The role is given no more than is usual again.", "None needed.",
     "End a dump, a load or a report; judge a superuser, a replication role or pg_dump.", kBulkExfiltration},
    {"S05", "injection_probing", "security", "security", "warning",
     "A role at an address tries out what it may do: errors of many kinds in a burst, or one refused "
     "statement after the other; a note when it is the same refusal each time.",
     "Tell a person, with role, application, address and the kinds of errors, never their text.",
     "No more such errors from there.", "None needed.",
     "Block by the text of a statement; blame a deploy for a column it lacks, or pg_restore.", kInjectionProbing},
    {"S06", "destructive_statement", "security", "security", "warning",
     "DELETE or UPDATE without WHERE, TRUNCATE or DROP of a large table by a role that does not do so as a rule.",
     "Tell a person, with who did what to which table.",
     "Shown for some minutes; whether it was meant stays a person's to judge.",
     "None by itself: restore to a point in time before it.", "Undo it by itself.", kDestructiveStatement},
    {"S08", "setting_tampering", "security", "security", "warning",
     "A setting that protects the data was switched off while the server ran: fsync, full_page_writes, autovacuum, "
     "zero_damaged_pages, ignore_checksum_failure.",
     "Tell a person, with who set it, or that a file was edited.", "The setting is as it should be again.",
     "None needed.", "Set it back: a person may have meant it; blame a server that was started so.", kSettingTampering},
    {"Q01", "checksum_failure", "storage", "data_quality", "critical",
     "Pages were read whose checksum is not that of their contents.",
     "Tell a person at once, with database, time and block.",
     "Shown for some days; a later failure is shown again.", "None.",
     "zero_damaged_pages, ignore_checksum_failure, pg_resetwal; vacuum or restore over the evidence.",
     kChecksumFailure},
    {"Q02", "index_corruption", "indexes", "data_quality", "critical",
     "amcheck found an index that is not in order: queries miss rows, unique indexes let duplicates in.",
     "Tell a person; REINDEX CONCURRENTLY when the reason is known.", "amcheck passes.", "None needed.",
     "Reindex before asking why; delete duplicate rows.", kIndexCorruption},
    {"Q03", "collation_mismatch", "indexes", "data_quality", "warning",
     "The operating system sorts differently than when the database was created: indexes on text may be wrong.",
     "Check the indexes with amcheck, rebuild them, refresh the version then.",
     "The versions are the same again.", "None.", "Refresh the version first: it hides the trouble.", {}},
    {"Q05", "constraint_violation_burst", "data", "data_quality", "warning",
     "A constraint refuses rows far more often than it usually does.",
     "Tell a person, with constraint and SQLSTATE.", "A window with few violations.", "None needed.",
     "Drop or disable the constraint.", kConstraintBurst},
    {"Q06", "sequence_behind", "sequences", "data_quality", "warning",
     "A sequence will give values that its column has already; a note while nobody asks it.",
     "Set the sequence forward.", "The sequence is ahead of the column.", "None: never back.",
     "Set a sequence back; touch one on a subscriber.", kSequenceBehind},
    {"Q07", "unvalidated_constraint", "data", "data_quality", "info",
     "A constraint was never checked against the rows of before, or the triggers of a foreign key are disabled.",
     "VALIDATE CONSTRAINT when there is time; enable the triggers.", "The constraint is validated.", "None needed.",
     "Delete rows that violate it.", kUnvalidatedConstraint},
    {"Q08", "distribution_drift", "data", "data_quality", "warning",
     "What a watched column holds is not what it held: NULLs, different values or their shares.",
     "Tell a person, with before and after.", "The column is as it was, or the new state has lasted.",
     "None needed.", "Change data.", kDistributionDrift},
    {"Q09", "row_count_cliff", "data", "data_quality", "warning",
     "Most rows of a large table have gone at once.", "Tell a person, with before and after.",
     "The rows are back, or the new number has lasted.", "None.", "Restore by itself.", kRowCountCliff},
};

// Position of a limit in catalogue order, or -1.
ptrdiff_t Position(std::string_view failure, std::string_view name, const ThresholdDef** def) {
  ptrdiff_t position = 0;
  for (const FailureDef& candidate : kFailures) {
    if (failure != candidate.type && failure != candidate.id) {
      position += static_cast<ptrdiff_t>(candidate.thresholds.size());
      continue;
    }
    for (const ThresholdDef& threshold : candidate.thresholds) {
      if (name == threshold.name) {
        *def = &threshold;
        return position;
      }
      ++position;
    }
    return -1;
  }
  return -1;
}

}  // namespace

std::span<const FailureDef> Failures() { return kFailures; }

const FailureDef* FindFailure(std::string_view type_or_id) {
  for (const FailureDef& failure : kFailures) {
    if (type_or_id == failure.type || type_or_id == failure.id) return &failure;
  }
  return nullptr;
}

Thresholds::Thresholds() { Reset(); }

void Thresholds::Reset() {
  values_.clear();
  for (const FailureDef& failure : kFailures) {
    for (const ThresholdDef& threshold : failure.thresholds) {
      values_.push_back(threshold.default_value);
    }
  }
}

double Thresholds::Get(std::string_view failure, std::string_view name) const {
  const ThresholdDef* def = nullptr;
  const ptrdiff_t position = Position(failure, name, &def);
  if (position < 0) return std::nan("");
  const double value = values_[static_cast<size_t>(position)];
  return def->raised_by == nullptr ? value : std::min(value, Get(failure, def->raised_by));
}

bool Thresholds::Set(std::string_view failure, std::string_view name, double value) {
  const ThresholdDef* def = nullptr;
  const ptrdiff_t position = Position(failure, name, &def);
  if (position < 0 || !std::isfinite(value)) return false;
  if (value < def->lowest || value > def->highest) return false;
  values_[static_cast<size_t>(position)] = value;
  return true;
}

}  // namespace heal
