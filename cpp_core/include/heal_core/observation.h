/*
 * observation.h: what the shell tells the core. Plain data, no function.
 * Conventions: see c_api.h.
 */
#ifndef HEAL_CORE_OBSERVATION_H_
#define HEAL_CORE_OBSERVATION_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- metrics ---- */

typedef enum hc_metric_id
{
#define HC_METRIC(id, name, component, category, unit, kind, bad, description) HC_M_##id,
#include "heal_core/metrics.def"
#undef HC_METRIC
	HC_METRIC_COUNT
} hc_metric_id;

#define HC_MAX_USER_METRICS 128

/* A metric its users defined as a query. Its value is as old as observed_at says:
 * the same time again is no new sample. */
typedef struct hc_user_metric
{
	const char *name;			/* unique, not one of metrics.def */
	const char *component;
	const char *category;		/* performance resource security data_quality */
	const char *unit;
	int32_t		counter;		/* 1: cumulative, its rate per second is judged */
	int32_t		bad;			/* bad direction: 1 up, -1 down, 0 both, 2 none */
	double		value;			/* NaN: not known (not run yet, failed, NULL) */
	int64_t		observed_at;
} hc_user_metric;

/* ---- facts ---- */

typedef enum hc_backend_kind
{
	HC_BACKEND_CLIENT,
	HC_BACKEND_WALSENDER,
	HC_BACKEND_AUTOVACUUM_WORKER,
	HC_BACKEND_BGWORKER,
	HC_BACKEND_OTHER
} hc_backend_kind;

typedef enum hc_session_state
{
	HC_STATE_UNKNOWN,			/* also: track_activities off */
	HC_STATE_ACTIVE,
	HC_STATE_IDLE,
	HC_STATE_IDLE_IN_TRANSACTION,
	HC_STATE_IDLE_IN_TRANSACTION_ABORTED,
	HC_STATE_FASTPATH
} hc_session_state;

enum
{
	HC_SESSION_SUPERUSER = 1 << 0,
	HC_SESSION_REPLICATION = 1 << 1,	/* role has REPLICATION */
	HC_SESSION_OWN = 1 << 2,			/* a process of pg_heal */
	HC_SESSION_ANTI_WRAPAROUND = 1 << 3,	/* autovacuum to prevent wraparound */
	HC_SESSION_LOCK_WAIT = 1 << 4,		/* waits for a heavyweight lock */
	HC_SESSION_SYNCREP_WAIT = 1 << 5,
	HC_SESSION_MAINTENANCE = 1 << 6,	/* runs VACUUM, ANALYZE, CREATE INDEX, REINDEX, CLUSTER, COPY, basebackup (progress command) */
	HC_SESSION_PARALLEL_WORKER = 1 << 7
};

/* Who is meant, exactly. A signal is refused unless all of it still matches. */
typedef struct hc_session_identity
{
	int32_t		pid;
	int64_t		backend_start;
	int64_t		xact_start;			/* 0: no transaction */
	uint64_t	query_id;			/* 0: not computed */
	int64_t		state_change;		/* guards idle sessions: still idle since then */
} hc_session_identity;

typedef struct hc_session
{
	hc_session_identity id;
	hc_backend_kind kind;
	hc_session_state state;
	uint32_t	flags;				/* HC_SESSION_* */
	int64_t		query_start;
	uint32_t	role_oid;
	uint32_t	database_oid;
	const char *role;
	const char *database;
	const char *application;
	const char *client_addr;		/* "" for a local socket */
	const char *query;				/* at most 256 bytes, for evidence */
	uint32_t	xid_age;			/* age(backend_xid), 0 none */
	uint32_t	xmin_age;			/* age(backend_xmin), 0 none */
	int32_t		leader_pid;			/* parallel leader, 0 none */
} hc_session;

/* Lock modes are PostgreSQL's numbers, 1 AccessShare .. 8 AccessExclusive. */
typedef enum hc_lock_kind
{
	HC_LOCK_RELATION,
	HC_LOCK_TUPLE,
	HC_LOCK_TRANSACTION,
	HC_LOCK_VIRTUALXID,
	HC_LOCK_ADVISORY,
	HC_LOCK_OTHER
} hc_lock_kind;

/* One lock somebody waits for. Holders and waiters are slices of the arrays
 * below; waiters stand in queue order. */
typedef struct hc_lock
{
	hc_lock_kind kind;
	uint32_t	database_oid;		/* 0 shared */
	uint32_t	relation_oid;		/* 0 unless RELATION or TUPLE */
	const char *name;				/* qualified relation name or tag text */
	uint32_t	first_holder,
				n_holders;
	uint32_t	first_waiter,
				n_waiters;
} hc_lock;

typedef struct hc_lock_holder
{
	int32_t		pid;				/* 0: prepared transaction */
	uint32_t	mode_mask;			/* bit n: mode n is held */
	const char *gid;				/* of a prepared transaction, else "" */
} hc_lock_holder;

typedef struct hc_lock_waiter
{
	int32_t		pid;
	int32_t		mode;
	int64_t		wait_start;			/* 0 unknown yet */
} hc_lock_waiter;

typedef struct hc_prepared
{
	const char *gid;
	const char *role;
	const char *database;
	int64_t		prepared_at;
	uint32_t	xid_age;
} hc_prepared;

typedef struct hc_slot
{
	const char *name;
	int			logical;
	int			active;
	int			lost;				/* holds neither WAL nor horizon */
	int			temporary;
	int64_t		retained_bytes;
	uint32_t	xmin_age;			/* larger of xmin and catalog_xmin, 0 none */
	const char *database;
} hc_slot;

typedef struct hc_standby
{
	int32_t		pid;
	const char *application;
	const char *state;
	int64_t		lag_bytes;
	uint32_t	xmin_age;			/* hot_standby_feedback, 0 none */
} hc_standby;

enum
{
	HC_TABLE_AUTOVACUUM_OFF = 1 << 0,	/* by storage option */
	HC_TABLE_PARTITIONED = 1 << 1,
	HC_TABLE_SYSTEM = 1 << 2,
	HC_TABLE_BUSY = 1 << 3,			/* being vacuumed, analysed, indexed or altered now */
	HC_TABLE_TEMPORARY = 1 << 4
};

typedef struct hc_table
{
	uint32_t	database_oid;
	uint32_t	relation_oid;
	const char *database;			/* plain */
	const char *schema;				/* plain */
	const char *name;				/* plain */
	const char *qualified;			/* quoted for SQL: "sch"."tab" */
	const char *owner;
	uint32_t	flags;				/* HC_TABLE_* */
	int64_t		bytes;				/* heap size by relpages, no stat() */
	int64_t		live_tuples;
	int64_t		dead_tuples;
	int64_t		mod_since_analyze;
	int64_t		last_vacuum;		/* manual or automatic */
	int64_t		last_analyze;
	const char *reloptions;			/* {a=b,c=d} or "" */
} hc_table;

enum
{
	HC_INDEX_UNIQUE = 1 << 0,
	HC_INDEX_PRIMARY = 1 << 1,
	HC_INDEX_EXCLUSION = 1 << 2,
	HC_INDEX_BUILDING = 1 << 3,		/* pg_stat_progress_create_index, or a CREATE INDEX/REINDEX holds a lock on the table */
	HC_INDEX_PARTITION = 1 << 4,	/* of, or on, a partitioned table */
	HC_INDEX_LEFTOVER_NAME = 1 << 5,	/* _ccnew, _ccold */
	HC_INDEX_CONSTRAINT = 1 << 6,	/* backs a constraint */
	HC_INDEX_SYSTEM = 1 << 7
};

/* Only indexes that are not valid are listed. */
typedef struct hc_index
{
	uint32_t	database_oid;
	uint32_t	index_oid;
	uint32_t	table_oid;
	const char *database;
	const char *qualified;			/* quoted for SQL */
	const char *table_qualified;
	const char *owner;
	const char *definition;			/* pg_get_indexdef */
	uint32_t	flags;				/* HC_INDEX_* */
	int64_t		bytes;
} hc_index;

typedef struct hc_sequence
{
	uint32_t	database_oid;
	const char *database;
	const char *qualified;
	double		used;				/* 0..1 of what the owning column can hold */
} hc_sequence;

/* What the authentication hook counted for a role at an address; totals since
 * the pair was first seen, of which the server keeps the latest ones. */
typedef struct hc_login
{
	const char *role;			/* as the client gave it, may not exist */
	const char *address;		/* numeric; "" for a local socket */
	uint64_t	failures;
	uint64_t	successes;
	int64_t		last_at;
	uint64_t	broken_in;			/* successes that came right after five or more failures */
} hc_login;

typedef enum hc_security_kind
{
	HC_SEC_PRIVILEGE,			/* a role got an attribute or membership of power */
	HC_SEC_SERVER_PROGRAM,		/* a program was run on the server */
	HC_SEC_SERVER_FILE,			/* a file of the server was read or written */
	HC_SEC_UNTRUSTED_CODE,		/* code that can do what the server can was installed */
	HC_SEC_DESTRUCTIVE,			/* all rows of a table are changed, removed or dropped with it */
	HC_SEC_SETTING				/* ALTER SYSTEM of a setting that protects the data */
} hc_security_kind;

/* A statement that matters for security, as a hook saw it succeed or begin. */
typedef struct hc_security_event
{
	uint64_t	seq;				/* grows; after a restart of the healer the latest come again */
	int64_t		at;
	hc_security_kind kind;
	int32_t		superuser;			/* is that role one */
	const char *role;			/* whose session */
	const char *database;
	const char *application;
	const char *client_addr;
	const char *object;			/* role, program, file, function or table; cut, without arguments */
	const char *detail;			/* "SUPERUSER", "member of pg_read_server_files", "DELETE without WHERE" */
	double		rows;				/* DESTRUCTIVE: changed or lost ... */
	double		of_rows;			/* ... of so many, else 0 */
} hc_security_event;

/* Errors that somebody makes who tries out what statements the server takes. */
enum
{
	HC_PROBE_SYNTAX = 1 << 0,		/* 42601 */
	HC_PROBE_TEXT = 1 << 1,			/* 22P02: not a number, not a date */
	HC_PROBE_TYPE = 1 << 2,			/* 42804 42846 */
	HC_PROBE_POSITION = 1 << 3,		/* 42P10 42803: ORDER BY, GROUP BY */
	HC_PROBE_CARDINALITY = 1 << 4,	/* 21000 */
	HC_PROBE_COLUMN = 1 << 5,		/* 42703 42702 */
	HC_PROBE_TABLE = 1 << 6,		/* 42P01 3F000 */
	HC_PROBE_FUNCTION = 1 << 7		/* 42883 */
};

/* What the sessions of a client got and were refused since the observation
 * before. Clients that did nothing are not listed. */
typedef struct hc_client
{
	const char *role;
	const char *database;
	const char *application;	/* as named when connecting */
	const char *client_addr;	/* "" for a local socket */
	uint32_t	flags;				/* HC_SESSION_SUPERUSER, _REPLICATION */
	uint64_t	rows;				/* returned by finished statements, COPY too */
	uint64_t	statements;			/* that were executed, of any kind but utility */
	uint64_t	refused;			/* permission denied, 42501 ... */
	uint64_t	refused_what;		/* ... a bit for each message, equal ones the same */
	uint64_t	probing;			/* errors of the kinds HC_PROBE_* ... */
	uint64_t	probing_what;
	uint32_t	probing_kinds;
} hc_client;

/* ---- data quality; names are plain ---- */

#define HC_COLUMN_BINS 16
#define HC_COLUMN_DECILES 9

/* Statistics of a watched column: of the newest ANALYZE and of the newest rows.
 * No value of a user is in it: frequent values are counted by a hash of theirs
 * in few bins, numbers are told by their deciles. */
typedef struct hc_column_stats
{
	uint32_t	database_oid;
	uint32_t	relation_oid;
	int32_t		column_number;
	const char *database;
	const char *schema;
	const char *table;
	const char *column;
	int64_t		watched_at;			/* heal_watch(); watching again accepts what is */
	int64_t		analyzed_at;		/* 0 not known */
	double		rows;				/* of the table; NaN: never analyzed, and so is all down to deciles */
	double		sample_rows;		/* most rows that ANALYZE looked at */
	double		null_fraction;
	double		distinct;			/* different values */
	double		frequent;			/* share of the rows whose value is a frequent one */
	double		bins[HC_COLUMN_BINS];	/* shares of the frequent values */
	double		deciles[HC_COLUMN_DECILES]; /* of the other values, 10 % to 90 %; NaN: no number, or in order of insertion */
	double		recent_rows;		/* rows in the last blocks of the table; NaN: not looked at */
	double		recent_nulls;
} hc_column_stats;

/* Rows of a large table, or of one that was large before. */
typedef struct hc_row_count
{
	uint32_t	database_oid;
	uint32_t	relation_oid;
	const char *database;
	const char *schema;
	const char *table;
	int64_t		live_tuples;
	int64_t		deleted;			/* counter of rows deleted */
} hc_row_count;

typedef enum hc_fault_kind
{
	HC_FAULT_NOT_VALID,				/* a constraint that was not validated */
	HC_FAULT_TRIGGER_OFF,			/* a foreign key whose triggers are disabled */
	HC_FAULT_INDEX_DAMAGED,			/* amcheck found damage */
	HC_FAULT_COLLATION				/* the collation's version is not that of the data */
} hc_fault_kind;

typedef struct hc_fault
{
	uint32_t	database_oid;
	uint32_t	object_oid;			/* constraint, index or database */
	hc_fault_kind kind;
	const char *database;
	const char *table;				/* schema.table, "" none */
	const char *object;
	const char *detail;
} hc_fault;

/* Errors of SQLSTATE class 23 and of damaged data, counted since the server
 * started. Sent when it changed. */
typedef struct hc_violation
{
	uint32_t	database_oid;
	const char *database;
	const char *sqlstate;
	const char *schema;
	const char *table;
	const char *constraint;			/* or column; of damage the message */
	uint64_t	count;
} hc_violation;

/* Databases with failed checksums. Sent when it changed. */
typedef struct hc_checksum
{
	uint32_t	database_oid;		/* 0: shared catalogs */
	const char *database;
	int64_t		failures;
	int64_t		last_at;
} hc_checksum;

/* A sequence behind the column it fills. */
typedef struct hc_behind
{
	uint32_t	database_oid;
	uint32_t	sequence_oid;
	uint32_t	table_oid;
	const char *database;
	const char *sequence;			/* quoted for SQL */
	const char *table;				/* quoted for SQL */
	const char *column;				/* quoted for SQL */
	int64_t		next_value;			/* what it gives next */
	int64_t		largest;			/* of the column */
	int64_t		collision;			/* smallest value of the column from next_value on */
	int32_t		used;				/* has it ever been asked? */
} hc_behind;

/* A database the inspectors looked at. Facts of a database not listed are
 * older than this observation and must not be taken as gone. */
typedef struct hc_inspection
{
	uint32_t	database_oid;
	const char *database;
	int64_t		inspected_at;		/* changes when there is a new look */
	int			complete;			/* 0: timed out or over the row limit */
} hc_inspection;

enum
{
	HC_SERVER_BASE_BACKUP = 1 << 0,
	HC_SERVER_MIGRATION = 1 << 1,	/* declared: advisory lock or application_name */
	HC_SERVER_CRASH_RECOVERED = 1 << 2, /* this start followed a crash */
	HC_SERVER_READ_ONLY = 1 << 3,	/* tables cannot be written now */
	HC_SERVER_HEALER_CRASHED = 1 << 4	/* the healer itself died before: observe */
};

/* Settings that protect the data, not as they should be. */
enum
{
	HC_UNSAFE_FSYNC = 1 << 0,
	HC_UNSAFE_FULL_PAGE_WRITES = 1 << 1,
	HC_UNSAFE_AUTOVACUUM = 1 << 2,
	HC_UNSAFE_ZERO_DAMAGED_PAGES = 1 << 3,
	HC_UNSAFE_IGNORE_CHECKSUM_FAILURE = 1 << 4
};

typedef struct hc_server
{
	uint32_t	flags;				/* HC_SERVER_* */
	int64_t		started_at;			/* start, promotion or end of crash recovery, the latest */
	int32_t		max_connections;	/* what ordinary roles may use: reserved ones taken off */
	int32_t		autovacuum_max_workers;
	int64_t		max_wal_size_mb;
	int64_t		min_wal_size_mb;
	int64_t		checkpoint_timeout_s;
	int64_t		wal_disk_free_bytes;	/* -1 unknown */
	int64_t		wal_disk_total_bytes;	/* -1 unknown */
	int32_t		max_wal_size_file;	/* 1: set in a file other than postgresql.auto.conf's reach (command line) */

	/* What can run out. Of disks: bytes used, and bytes ordinary users may use
	 * in all; limit 0: unknown, for the WAL also: the file system of the data */
	int64_t		disk_used_bytes,
				disk_limit_bytes;
	int64_t		wal_disk_used_bytes,
				wal_disk_limit_bytes;
	int64_t		temp_bytes;			/* temporary files of statements there are now, -1 unknown */
	int64_t		multixact_members;	/* in use, 0 unknown */
	int64_t		max_slot_wal_keep_bytes;	/* not above 0: unlimited */
	int64_t		freeze_max_age,
				multixact_freeze_max_age;
	uint32_t	unsafe_settings;	/* HC_UNSAFE_*, of the server, not of a session */
} hc_server;

/* ---- settings (GUCs) ---- */

typedef enum hc_mode
{
	HC_MODE_OBSERVE,
	HC_MODE_APPROVE,
	HC_MODE_LIMITED,
	HC_MODE_AUTO
} hc_mode;

typedef enum hc_policy
{
	HC_POLICY_CONSERVATIVE,
	HC_POLICY_BALANCED,
	HC_POLICY_AGGRESSIVE
} hc_policy;

typedef struct hc_settings
{
	hc_mode		mode;
	hc_policy	policy;
	int32_t		paused;				/* heal_pause */
	int32_t		monitoring_interval_ms;
	int32_t		calm_period_ms;
	int32_t		confirm_samples;
	double		anomaly_threshold;
	int32_t		window_size;
	double		iqr_multiplier;
	double		min_confidence;
	int32_t		auto_baseline;
	int32_t		min_baseline_samples;
	double		inference_min_confidence;
	int32_t		inference_max_path_depth;
	double		inference_min_edge_probability;
	int32_t		inference_multi_hop;
	int32_t		rollback_enabled;
	int32_t		rollback_max_attempts;
	int32_t		rollback_timeout_ms;
	int32_t		rollback_verify;
	int32_t		rollback_max_depth;
	int64_t		snapshot_retention_ms;
	int32_t		max_retries;		/* -1: by policy */
	int32_t		retry_delay_ms;		/* -1: by policy */
	int32_t		recovery_timeout_ms;	/* -1: by policy */
	int32_t		concurrent_recoveries;
	int32_t		allow_superusers;	/* policy row allows signalling superusers */
	int32_t		predictive;			/* 1: a confident prediction opens an incident */
} hc_settings;

/* ---- configuration from the tables; sent when it changed ---- */

typedef struct hc_threshold
{
	const char *failure_type;
	const char *name;
	double		value;
} hc_threshold;

typedef struct hc_policy_row
{
	const char *scope;			/* server component database schema object role application */
	const char *subject;
	const char *setting;		/* autonomy exempt allow forbid window critical */
	const char *value;
} hc_policy_row;

typedef struct hc_causal_node
{
	const char *node;
	const char *kind;			/* root_cause mechanism symptom */
	const char *component;
	double		prior;			/* root: P(present); other: leak */
	const char *metric;			/* "" none */
} hc_causal_node;

typedef struct hc_causal_edge
{
	const char *cause;
	const char *effect;
	const char *edge_type;		/* direct_cause contributing correlation */
	double		weight;			/* of the type: 1.0 0.8 0.5 */
	double		probability;	/* P(effect | only this cause), before the weight */
	double		observations;	/* Beta counts behind probability */
} hc_causal_edge;

/* What became of the findings of a detector. Counts fade with age. */
typedef struct hc_detector_counts
{
	const char *detector;		/* failure type, or method: zscore iqr series forest */
	const char *subject;		/* the metric of a method; "" of a failure type */
	double		confirmed;		/* by a repair that was verified, or by a person */
	double		refuted;		/* by a person */
	double		unexplained;	/* anomalies without any incident */
} hc_detector_counts;

typedef struct hc_config
{
	const hc_threshold *thresholds;
	uint32_t	n_thresholds;
	const hc_policy_row *policies;
	uint32_t	n_policies;
	const hc_causal_node *nodes;	/* n_nodes 0: the shipped graph */
	uint32_t	n_nodes;
	const hc_causal_edge *edges;
	uint32_t	n_edges;
	const hc_detector_counts *detectors;	/* at most one row for each */
	uint32_t	n_detectors;
} hc_config;

/* ---- requests from SQL, answered in hc_decisions.replies ---- */

typedef enum hc_request_kind
{
	HC_REQ_APPROVE,				/* id: recommendation */
	HC_REQ_REJECT,				/* id: recommendation; text: reason */
	HC_REQ_EXECUTE,				/* id: incident; text: remedy */
	HC_REQ_SNAPSHOT,			/* text: label; component; id: parent, 0 none */
	HC_REQ_ROLLBACK,			/* id: snapshot; flag: force */
	HC_REQ_PAUSE,				/* text: reason */
	HC_REQ_RESUME,
	HC_REQ_RESET_BASELINE		/* text: metric, "" all */
} hc_request_kind;

typedef struct hc_request
{
	uint64_t	id_request;
	hc_request_kind kind;
	int64_t		id;
	int32_t		flag;
	const char *role;			/* who asked */
	const char *text;
	const char *component;
} hc_request;

/* ---- outcomes of commands ---- */

typedef enum hc_outcome_status
{
	HC_OUT_DONE,
	HC_OUT_FAILED,				/* an error; sqlstate and message say which */
	HC_OUT_REFUSED,				/* identity or guard did not hold any more: nothing was done */
	HC_OUT_LOST					/* the process that ran it died: unknown */
} hc_outcome_status;

typedef struct hc_outcome
{
	uint64_t	command_id;
	hc_outcome_status status;
	const char *sqlstate;		/* "" or five characters */
	const char *message;
	const char *json;			/* CAPTURE: items; SQL: the probe's row; else "" */
	int64_t		duration_us;
} hc_outcome;

/* ---- the observation ---- */

typedef struct hc_observation
{
	int64_t		now_us;
	int64_t		mono_us;
	int32_t		full_tick;			/* 1: metrics are a sample of this interval; 0: an extra look, metrics not to be learnt */
	const hc_settings *settings;
	const hc_config *config;		/* NULL: unchanged */
	const hc_server *server;
	const double *metrics;			/* HC_METRIC_COUNT values */
	const hc_user_metric *user_metrics; /* at most HC_MAX_USER_METRICS, the others are not looked at */
	uint32_t	n_user_metrics;

	const hc_session *sessions;
	uint32_t	n_sessions;
	const hc_lock *locks;
	uint32_t	n_locks;
	const hc_lock_holder *lock_holders;
	uint32_t	n_lock_holders;
	const hc_lock_waiter *lock_waiters;
	uint32_t	n_lock_waiters;
	int32_t		sessions_known;		/* 0: the collector failed: unknown, not empty */
	int32_t		locks_known;
	const hc_login *logins;
	uint32_t	n_logins;
	const hc_security_event *security_events;
	uint32_t	n_security_events;
	const hc_client *clients;
	uint32_t	n_clients;
	const hc_prepared *prepared;
	uint32_t	n_prepared;
	const hc_slot *slots;
	uint32_t	n_slots;
	const hc_standby *standbys;
	uint32_t	n_standbys;

	const hc_inspection *inspections;
	uint32_t	n_inspections;
	const hc_table *tables;
	uint32_t	n_tables;
	const hc_index *indexes;
	uint32_t	n_indexes;
	const hc_sequence *sequences;
	uint32_t	n_sequences;

	const hc_column_stats *columns;
	uint32_t	n_columns;
	const hc_row_count *row_counts;
	uint32_t	n_row_counts;
	const hc_fault *faults;
	uint32_t	n_faults;
	const hc_behind *behind;
	uint32_t	n_behind;
	const hc_violation *violations;
	uint32_t	n_violations;
	const hc_checksum *checksums;
	uint32_t	n_checksums;

	const hc_request *requests;
	uint32_t	n_requests;
	const hc_outcome *outcomes;
	uint32_t	n_outcomes;
} hc_observation;

#ifdef __cplusplus
}
#endif
#endif							/* HEAL_CORE_OBSERVATION_H_ */
