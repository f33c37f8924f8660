/*-------------------------------------------------------------------------
 *
 * pg_heal.h
 *	  Structures and externs of the server side, grouped by defining file.
 *
 * The server side only senses and acts. What it senses is described in
 * heal_core/observation.h, what it is told to do in heal_core/decisions.h;
 * calls into the core are made by core_bridge.c alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_HEAL_H
#define PG_HEAL_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#include "heal_core/decisions.h"
#include "heal_core/observation.h"

#define HEAL_VERSION "0.1.0"

/* ---- guc.c ---- */

extern bool heal_enabled;
extern char *heal_database;
extern int	heal_monitoring_interval;	/* ms */
extern int	heal_inspect_interval;	/* ms */
extern int	heal_component_timeout; /* ms */
extern bool heal_history_enabled;
extern int	heal_log_level;			/* 0 debug, 1 info, 2 warning, 3 error */
extern int	heal_log_format;		/* 0 text, 1 json */
extern int	heal_history_size;
extern int	heal_history_max_events;
extern int	heal_history_retention; /* ms may not fit: seconds */

extern void guc_define(void);
/* Fill what the core needs from the current GUC values; paused is the caller's. */
extern void guc_fill_settings(hc_settings *settings);
extern const char *guc_mode_name(int mode);

/* ---- shmem.c ---- */

#define HEAL_MAX_COMPONENTS 32
#define HEAL_MAX_REQUESTS	16
#define HEAL_MAX_JOBS		4
#define HEAL_JOB_BYTES		(512 * 1024)
#define HEAL_TEXT			256
#define HEAL_REQUEST_TEXT	1024
#define HEAL_REPLY_JSON		(32 * 1024)

/* Counters of the log hook; atomics because any process may count. */
typedef enum HealLogCounter
{
	HEAL_LOG_ERRORS,
	HEAL_LOG_LOCK_WAITS,
	HEAL_LOG_TOO_MANY_CONNECTIONS,
	HEAL_LOG_DISK_FULL,
	HEAL_LOG_CORRUPTION,
	HEAL_LOG_CANCELED,
	HEAL_LOG_CONSTRAINT,
	HEAL_LOG_BAD_INPUT,
	HEAL_LOG_PERMISSION,
	HEAL_LOG_SYNTAX_OR_NAME,
	HEAL_LOG_CHECKPOINTS_TOO_FREQUENT,
	HEAL_LOG_COUNTERS
} HealLogCounter;

/* One published component, as heal_status shows it. */
typedef struct HealComponentSlot
{
	char		component[NAMEDATALEN];
	char		state[16];
	TimestampTz since;
	int32		open_incidents;
	char		worst_failure[NAMEDATALEN];
	TimestampTz last_recovery_at;
	char		detail[HEAL_TEXT];
} HealComponentSlot;

typedef enum HealRequestState
{
	HEAL_REQUEST_FREE,
	HEAL_REQUEST_WRITTEN,		/* by the backend; healer has not seen it */
	HEAL_REQUEST_TAKEN,			/* by the healer */
	HEAL_REQUEST_ANSWERED,		/* reply is there; backend frees the slot */
	HEAL_REQUEST_ABANDONED		/* backend gave up; healer frees the slot */
} HealRequestState;

typedef struct HealRequestSlot
{
	HealRequestState state;
	uint64		id;
	int			kind;			/* hc_request_kind */
	int64		target;
	int32		flag;
	char		role[NAMEDATALEN];
	char		text[HEAL_REQUEST_TEXT];
	char		component[NAMEDATALEN];
	int			backend_pgprocno;	/* whose latch to set */
	/* reply */
	char		sqlstate[6];
	char		message[HEAL_REQUEST_TEXT];
	char		detail[HEAL_REQUEST_TEXT];
	char		hint[HEAL_REQUEST_TEXT];
	char		json[HEAL_REPLY_JSON];
} HealRequestSlot;

typedef enum HealJobKind
{
	HEAL_JOB_SQL,
	HEAL_JOB_CAPTURE,
	HEAL_JOB_INSPECT
} HealJobKind;

typedef enum HealJobState
{
	HEAL_JOB_FREE,
	HEAL_JOB_STARTING,			/* registered, not running yet */
	HEAL_JOB_RUNNING,
	HEAL_JOB_FINISHED			/* result is there, or the process is gone */
} HealJobState;

/*
 * One action, capture or inspection. The healer owns a slot while FREE,
 * STARTING and FINISHED, the worker while RUNNING. Pre-allocated so that a
 * full disk, or a full /dev/shm, cannot keep a remedy from running.
 */
typedef struct HealJobSlot
{
	pg_atomic_uint32 state;		/* HealJobState */
	HealJobKind kind;
	uint64		command_id;		/* 0 for a scheduled inspection */
	Oid			database;
	Oid			relation;
	bool		as_owner;
	int			lock_timeout;	/* ms */
	int			statement_timeout;	/* ms */
	TimestampTz started_at;
	/* result */
	hc_outcome_status outcome;
	char		sqlstate[6];
	char		message[HEAL_REQUEST_TEXT];
	int64		duration_us;
	uint32		used;			/* bytes of data */
	char		data[HEAL_JOB_BYTES];	/* in: job text, see job.c; out: result */
} HealJobSlot;

/* Authentication failures per role and address; under auth_lock. */
#define HEAL_AUTH_SLOTS 128
typedef struct HealAuthSlot
{
	char		role[NAMEDATALEN];
	char		addr[64];
	uint64		failures;
	uint64		successes;
	uint64		broken_in;		/* successes right after a run of failures */
	uint64		run;			/* failures since the last success */
	TimestampTz last_at;
} HealAuthSlot;

/* What pg_heal itself costs, as heal_overhead shows it. */
typedef enum HealPart
{
	HEAL_PART_LAUNCHER,
	HEAL_PART_HEALER,
	HEAL_PART_INSPECTOR,
	HEAL_PART_ACTION,
	HEAL_PART_HOOKS,
	HEAL_PARTS
} HealPart;

typedef struct HealPartUse
{
	int64		cpu_us;
	int64		memory_bytes;
	int64		shared_bytes;
	int64		disk_bytes;
	int64		longest_tick_us;
	int32		locks_held;
} HealPartUse;

/* A metric of users, as the views show it; texts are UTF-8. */
#define HEAL_METRIC_ERROR 200
typedef struct HealUserMetric
{
	char		name[NAMEDATALEN];
	char		component[NAMEDATALEN];
	char		category[16];
	char		unit[32];
	int32		counter;
	int32		bad;			/* as in hc_user_metric */
	double		value;			/* NaN: not known */
	TimestampTz observed_at;	/* of that value, 0 never */
	TimestampTz last_run_at;	/* 0 never */
	int64		last_run_us;
	char		error[HEAL_METRIC_ERROR];	/* of the last run, "" none */
	hc_metric_status status;	/* observed_at 0: the core said nothing */
} HealUserMetric;

/*
 * Samples that are not in heal.metric_history yet, oldest first: shipped
 * metrics, then those of users.
 */
#define HEAL_HISTORY_FRAMES 300
#define HEAL_HISTORY_COLUMNS (HC_METRIC_COUNT + HC_MAX_USER_METRICS)
typedef struct HealHistory
{
	int			n_frames;
	int			n_user;
	char		user_names[HC_MAX_USER_METRICS][NAMEDATALEN];
	TimestampTz at[HEAL_HISTORY_FRAMES];
	double		values[HEAL_HISTORY_FRAMES][HEAL_HISTORY_COLUMNS];
} HealHistory;

typedef struct HealShared
{
	LWLock	   *lock;			/* protects everything down to "atomics" */

	pid_t		launcher_pid;
	pid_t		healer_pid;
	int			healer_pgprocno;	/* -1: none */
	char		healer_state[HEAL_TEXT];	/* "" fine, else why there is no healer */
	TimestampTz last_tick_at;
	int			crashes_in_row; /* a process of ours died without a clean exit */
	bool		paused;
	char		pause_reason[HEAL_TEXT];
	TimestampTz server_started_at;	/* start, promotion or end of crash recovery */
	bool		crash_recovered;

	int			n_components;
	HealComponentSlot components[HEAL_MAX_COMPONENTS];
	hc_metric_status metrics[HC_METRIC_COUNT];
	HealPartUse parts[HEAL_PARTS];
	int			n_user_metrics;
	HealUserMetric user_metrics[HC_MAX_USER_METRICS];
	HealHistory history;

	uint64		next_request;
	HealRequestSlot requests[HEAL_MAX_REQUESTS];

	LWLock	   *auth_lock;
	HealAuthSlot auth[HEAL_AUTH_SLOTS];
	uint64		auth_changes;	/* grows with every change of a slot */

	/*
	 * For the crash guard, without a lock, as signal handlers use it: each
	 * process writes its own field, the launcher reads.
	 */
	bool		healer_told_to_quit;	/* SIGQUIT: not the one that crashed */
	pg_atomic_uint32 worker_pids[HEAL_MAX_JOBS];	/* 0 when ended, or told to quit */

	/* atomics: no lock */
	pg_atomic_uint32 wake_wanted;	/* a hook asked for a look */
	pg_atomic_uint64 config_generation; /* thresholds, policies, graph changed */
	pg_atomic_uint64 log_counters[HEAL_LOG_COUNTERS];
	pg_atomic_uint64 auth_failures;

	HealJobSlot jobs[HEAL_MAX_JOBS];
} HealShared;

extern HealShared *heal_shared; /* NULL when not preloaded */

extern void shmem_init(void);	/* from _PG_init: request and startup hooks */
/* Attached, and not in the course of leaving: hooks ask before each touch. */
extern bool shmem_usable(void);
/* ERROR 55000 with the postgresql.conf line when not preloaded. */
extern void shmem_check(void);
/* Set the healer's latch; safe in any process and hook. */
extern void healer_wake(void);

/* ---- hooks.c ---- */

#define HEAL_LATENCY_BUCKETS 32 /* powers of two of microseconds */

typedef struct HealExecTotals
{
	uint64		calls;
	uint64		errors;
	uint64		time_us;
	uint64		latency[HEAL_LATENCY_BUCKETS];
} HealExecTotals;

extern Size hooks_shmem_size(void);
extern void hooks_shmem_startup(bool found);
extern void hooks_install(void);	/* from _PG_init */
/* Totals over all backends since server start. */
extern void hooks_check_ticks(void);	/* by the healer, now and then */
extern void hooks_read_exec(HealExecTotals *totals);
/* The same for one database; without the latency histogram. */
extern void hooks_read_exec_database(Oid database, HealExecTotals *totals);

/* Of the slot of a PGPROC, since server start. */
extern void hooks_slot_counts(int procno, uint64 *rows, uint64 *statements);
extern void hooks_note_rows(uint64 rows);

/* Ask the healer for a look, unless somebody has. */
extern void hooks_request_look(void);

/* ---- clients.c ---- */

struct Port;
extern Size clients_shmem_size(void);
extern void clients_shmem_startup(bool found, LWLock *lock);
extern void client_attach(const struct Port *port, const char *role, const char *addr);
extern void client_note_error(const ErrorData *edata);
extern bool clients_look_due(int64 now, int64 last_look);
extern void collect_clients(hc_observation *obs, bool full);

/* ---- security_hook.c ---- */

extern Size security_shmem_size(void);
extern void security_shmem_startup(bool found);
extern void security_install(void); /* from _PG_init */
extern int	security_read(uint64 *seq, hc_security_event **events);
extern void security_note(hc_security_kind kind, const char *object, const char *detail, double rows, double of_rows);

/* ---- object_hook.c ---- */

struct QueryDesc;
extern void object_hook_install(void);	/* from _PG_init */
/* A statement of a client that changed rows has finished. */
extern void object_note_change(const struct QueryDesc *query_desc);

/* ---- violations.c ---- */

extern Size violations_shmem_size(void);
extern void violations_shmem_startup(bool found);
extern void violations_note(const ErrorData *edata);	/* in the log hook */
extern void collect_violations(hc_observation *obs);

/* ---- watch.c ---- */

extern void watch_load(void);	/* in a transaction */
extern int64 watch_check_bytes(void);
extern int64 watch_check_interval_us(void);
extern uint32 watch_put(const char *database, char *data, uint32 *used);

/* ---- launcher.c, healer.c ---- */

/* So many crashes in a row, and the healer only observes. */
#define HEAL_CRASHES_OBSERVE 2

extern void launcher_register(void);
extern PGDLLEXPORT void heal_launcher_main(Datum arg);
extern PGDLLEXPORT void heal_healer_main(Datum arg);

/* ---- pause.c ---- */

extern void pause_load(void);
extern bool pause_is_on(void);
extern void pause_follow(bool on, const hc_observation *obs);

/* ---- publish.c ---- */

extern void publish_state(const char *state);
extern void publish_nothing(void);
extern void publish_decisions(const hc_decisions *decisions, const char *trouble);
extern void publish_use(int64 longest_tick_us);

/* ---- collect_*.c: one source each; arrays palloc'd in CurrentMemoryContext ----
 * Called inside a read-only transaction. A collector may raise: the healer
 * catches it and its part stays unknown. */

extern void collect_sessions(hc_observation *obs, double *metrics);
extern void collect_locks(hc_observation *obs, double *metrics);	/* after sessions */
extern void collect_server(hc_observation *obs, hc_server *server, double *metrics);	/* counters, checkpointer, WAL, archiver, disk */
extern double host_own_memory(int pid);
extern void collect_host(double *metrics);	/* CPU, memory and disk of the machine, memory of backends */
extern uint32 collect_unsafe_settings(void);
extern void collect_security(hc_observation *obs);	/* logins, statements that matter for security */
extern void collect_replication(hc_observation *obs, double *metrics);	/* standbys, slots, prepared transactions, horizon */
extern void collect_hooks(double *metrics, bool whole_interval);	/* executor, log, authentication counters */
/* Text of another backend as valid text of this one, clipped to limit bytes; palloc'd. */
extern char *collect_text(const char *text, int limit);
/* Prepared transactions with their xids; palloc'd, returns their number. */
extern uint32 collect_prepared(hc_prepared **prepared, TransactionId **xids);
/* Number of backends waiting for a heavyweight lock, without any lock: the cheap look. */
extern int	collect_lock_waiters(void);

/* ---- inspect.c: slow cycle, database by database ---- */

/* Start the next due inspection, take finished ones over. Outside a transaction. */
extern void inspect_schedule(TimestampTz now);
extern void inspect_request(Oid database);	/* HC_CMD_INSPECT */
/* The newest facts of every database (memory of the inspector module). */
extern void inspect_fill(hc_observation *obs, double *metrics);
extern void inspect_run(HealJobSlot *job);	/* in the worker */

/* Is there such a database? Also true while they have not been listed. */
extern bool inspect_knows_database(const char *name);

/* ---- user_metrics.c: what users measure, healer side ---- */

extern void user_metrics_load(void);	/* in a transaction */
/* Is it time to run one in this database, out of the turn of inspections? */
extern void user_metrics_check_databases(TimestampTz now);
extern bool user_metrics_due(const char *database, TimestampTz now);
/* Append the queries to be run there now to a job; the longest unread first. */
extern uint32 user_metrics_request(const char *database, TimestampTz now, bool with_inspection, StringInfo job);
extern void user_metrics_take(const char *answers, uint32 n, TimestampTz now);
/* The run that was asked for last gave no answer. */
extern void user_metrics_failed(const char *why, TimestampTz now);
extern void user_metrics_fill(hc_observation *obs);
extern void user_metrics_publish(const hc_decisions *decisions);

/* ---- metric_history.c: samples of all metrics ---- */

extern void metric_history_add(TimestampTz at, const double *metrics);
extern void metric_history_write(bool writable);	/* when it is time */

/* ---- job.c: slots and dynamic workers ---- */

extern HealJobSlot *job_start(HealJobKind kind, uint64 command_id, Oid database, const char *data, uint32 used,
							  Oid relation, bool as_owner, int lock_timeout, int statement_timeout);
extern HealJobSlot *job_next_finished(void);	/* NULL: none; also finds dead workers */
extern void job_release(HealJobSlot *job);
extern int	job_free_slots(void);
extern PGDLLEXPORT void heal_worker_main(Datum slot);

/* ---- action.c ---- */

/* Carry out a command: signals at once, the rest by job_start. Returns false
 * and fills *outcome when it is finished already (signals, refusals). */
extern bool action_begin(const hc_command *command, hc_outcome *outcome);
/* Commands that wait for a free background worker, see action.c. */
extern bool action_waits(void);
extern bool action_retry(bool paused, hc_outcome *outcome);
extern void action_forget(void);
/* Outcome of a finished SQL or CAPTURE job, copied to CurrentMemoryContext. */
extern void action_outcome(HealJobSlot *job, hc_outcome *outcome);
extern void action_run(HealJobSlot *job);	/* in the worker: guard, statements, probe */

/* ---- capture.c ---- */

extern void capture_run(HealJobSlot *job);	/* in the worker: items JSON in, items JSON out */

/* ---- mailbox.c ---- */

/* Backend side: send and wait interruptibly; ERROR on failure, else the JSON result. */
extern char *mailbox_call(hc_request_kind kind, int64 target, int32 flag, const char *text, const char *component);
/* Healer side. */
extern uint32 mailbox_take(hc_request **requests);	/* palloc'd */
extern void mailbox_answer(const hc_reply *reply);
extern void mailbox_fail_all(const char *sqlstate, const char *message);	/* healer goes away */

/* ---- journal.c: pre-allocated ring $PGDATA/pg_heal/journal ---- */

typedef struct HealJournalRecord
{
	uint64		seq;
	hc_record	record;			/* json in CurrentMemoryContext */
} HealJournalRecord;

/* Opens or creates; foreign: the file belongs to another server (a copy). */
extern bool journal_open(bool *foreign, char **why_not);
extern uint64 journal_append(const hc_record *records, uint32 n);	/* durable on return; last seq */
extern uint32 journal_read_after(uint64 applied_seq, HealJournalRecord **records);
extern void journal_mark_applied(uint64 seq);
extern void journal_close(void);
extern const char *journal_server_identity(void);	/* sysid/timeline/dev/inode */
extern int64 journal_bytes(void);

/* ---- store.c: all writes to schema heal, and what the core is restored from ---- */

extern bool store_extension_ready(char **why_not);	/* in a transaction */
extern bool store_pin_extension(void);	/* in a transaction, before its tables are touched */
extern void store_queue(const HealJournalRecord *records, uint32 n);
/* Own transaction; false when the server cannot write now (kept queued). */
extern bool store_flush(void);
extern uint32 store_load(hc_record **records, bool *foreign, uint64 *applied_seq);	/* rows to restore from */
extern hc_config *store_load_config(void);	/* in a transaction; palloc'd */
extern void store_trim(void);	/* retention */
extern bool store_try(void (*work) (void), const char *what);	/* in a transaction of its own; false: failed and said so */

/* ---- core_bridge.c: the only caller of the core ---- */

typedef struct HealCore HealCore;

/* The engine dies with cxt. Failures become ERROR (see style 7.2). */
extern HealCore *bridge_create(MemoryContext cxt);
extern void bridge_restore(HealCore *core, const hc_record *records, uint32 n, bool foreign);
extern const hc_decisions *bridge_step(HealCore *core, const hc_observation *obs);	/* valid until the next call */
extern char *bridge_diagnose(const hc_config *config, const hc_settings *settings, const char *evidence);	/* palloc'd JSON */
extern void bridge_check_graph(const hc_config *config);
typedef struct BridgeGrade
{
	double		precision;
	double		low;
	double		high;			/* all NaN before anything was graded */
	bool		demoted;
} BridgeGrade;
extern BridgeGrade bridge_detector_grade(double confirmed, double refuted, double unexplained);
extern const char *bridge_catalogue(void);	/* JSON, static */
extern const char *bridge_metric_name(int metric);
extern void bridge_metric_describe(int metric, const char **component, const char **category, const char **unit);

#endif							/* PG_HEAL_H */
