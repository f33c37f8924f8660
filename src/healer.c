/*-------------------------------------------------------------------------
 *
 * healer.c
 *	  Main loop of the healer: collect, step, write down, act, answer, publish.
 *
 * The healer is the one process that talks to the core. Every
 * pg_heal.monitoring_interval it takes a full tick; between ticks it looks
 * again when there is a reason: a request from SQL, a finished action, a hook
 * that saw trouble, new lock waiters, or because the core wants to see whether
 * something worked. Without a reason it only counts lock waiters, which costs
 * next to nothing.
 *
 * The order within a step is what makes it safe. Records are durable in the
 * journal before the first command runs; tables follow when the server can
 * write, and what goes wrong there never stops the healing. Each collector is
 * guarded: when it fails its part of the observation is unknown, not empty.
 *
 * Everything the core says lives until its next call, everything collected
 * until the next step (tick_cxt). No lock is held while the core runs.
 *
 *-------------------------------------------------------------------------
 */
#include "pg_heal.h"

#include <fcntl.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <math.h>
#include <time.h>
#include <unistd.h>

#include "access/xact.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "compat.h"
#include "job.h"

#define CHEAP_LOOK_US (200 * 1000)
#define IDLE_POLL_US (1000 * 1000)
#define CONFIG_RELOAD_US INT64CONST(300000000)

/* Looks that others can provoke are at least this far apart. */
#define LOOK_SPACING_US (50 * 1000)

/*
 * After signals the CPU is left to those who got them: the scheduler likes to
 * put a process that was woken on the CPU of the one that woke it, and there it
 * would keep its locks until our tables are written.
 */
#define SIGNALLED_NAP_US 1000

/* Steps in a row because a command was carried out on the spot. */
#define MAX_STEPS_IN_A_ROW 8

/* Engine failures in a row, each within this time of the one before. */
#define MAX_ENGINE_FAILURES 3
#define ENGINE_STEADY_US (60 * INT64CONST(1000000))

#define JOURNAL_RETRY_US (60 * INT64CONST(1000000))
#define COMPLAINT_US (60 * INT64CONST(1000000))

/* Sources of an observation, each guarded by itself. */
typedef enum Part
{
	PART_SESSIONS,
	PART_LOCKS,
	PART_SERVER,
	PART_REPLICATION,
	PART_HOOKS,
	PART_HOST,
	PART_SECURITY,
	PART_INSPECTIONS,
	PART_EXTENSION,
	PART_CONFIG,
	PART_COMMANDS,
	PART_SCHEDULE,
	PART_ENGINE,
	PARTS
} Part;

static const char *const part_names[PARTS] = {
	"sessions", "locks", "server statistics", "replication", "hook counters", "the host", "security", "inspections",
	"the extension", "the configuration", "a command", "the inspection schedule", "the engine",
};

/* One observation in the making. */
typedef struct Tick
{
	hc_observation obs;
	hc_settings settings;
	hc_server	server;
	double		metrics[HC_METRIC_COUNT];
	double		scratch[HC_METRIC_COUNT];	/* of the collector at work */
	bool		full;
	bool		extension_ready;
	char	   *why_not;
	hc_config  *config;
} Tick;

static MemoryContext healer_cxt = NULL;
static MemoryContext tick_cxt = NULL;
static MemoryContext core_cxt = NULL;	/* the engine dies with it */
static HealCore *core = NULL;

static bool journal_usable = false;
static char journal_trouble[HEAL_TEXT];
static int64 next_journal_try = 0;
static bool tables_writable = true;

/* Outcomes the core has not been told yet, in outcome_cxt. */
static MemoryContext outcome_cxt = NULL;
static hc_outcome *outcomes = NULL;
static uint32 n_outcomes = 0;
static uint32 max_outcomes = 0;
static bool outcome_urgent = false;	/* a command was carried out on the spot */
static bool inspection_wanted = false;	/* by the core, out of turn */

static hc_server last_server;	/* of the last look that succeeded */

static uint64 config_generation_seen = 0;
static int64 next_config_load = 0;

/* All times from here on are of the monotonic clock, in microseconds. */
static int64 next_start = 0;
static int64 next_tick = 0;
static int64 next_look = -1;	/* -1: the core wants none */
static int64 last_step = 0;
static int64 last_complaint[PARTS];
static int64 last_engine_failure = 0;
static int engine_failures = 0;
static int64 longest_tick = 0;

static int	waiters_seen = 0;	/* the most since the last tick that the core knows of */
static int	waiters_before = 0; /* at the last cheap look */

static int64
monotonic_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64) t.tv_sec * INT64CONST(1000000) + t.tv_nsec / 1000;
}

/*---- Guarding ----*/

static void
begin_read(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactReadOnly = true;
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(tick_cxt);
}

static void
end_read(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(tick_cxt);
}

/* In PG_CATCH: clean up as the main loop of a backend does; returns the error. */
static ErrorData *
recover(void)
{
	ErrorData  *error;

	HOLD_INTERRUPTS();
	disable_all_timeouts(false);
	QueryCancelPending = false;
	MemoryContextSwitchTo(tick_cxt);
	error = CopyErrorData();
	FlushErrorState();
	/* Outside a transaction nothing else releases them. */
	LWLockReleaseAll();
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(tick_cxt);
	RESUME_INTERRUPTS();
	return error;
}

/* Say what went wrong, at most once a minute for each part. */
static void
complain(Part part, const ErrorData *error)
{
	int64		now = monotonic_us();

	if (last_complaint[part] != 0 && now - last_complaint[part] < COMPLAINT_US)
		return;
	last_complaint[part] = now;
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("pg_heal failed at %s: %s", part_names[part], error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0));
}

/*
 * Run work for at most pg_heal.component_timeout. NULL, or the error that ended
 * it; then there is no transaction any more.
 */
static ErrorData *
guarded(Part part, void (*work) (void *), void *arg)
{
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		/* Client backends arm it for each statement; here nobody else does. */
		if (heal_component_timeout > 0)
			enable_timeout_after(STATEMENT_TIMEOUT, heal_component_timeout);
		work(arg);
		disable_timeout(STATEMENT_TIMEOUT, false);
		/* One that came too late is not meant for what follows. */
		QueryCancelPending = false;
	}
	PG_CATCH();
	{
		error = recover();
	}
	PG_END_TRY();

	if (error != NULL)
		complain(part, error);
	return error;
}

/*---- Session ----*/

static void
set_option(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * Whatever database and role settings say: this session must be able to write
 * when the server is read-only by default or its synchronous standby is gone,
 * must not wait for locks, and its errors must stay errors.
 */
static void
settle_session(void)
{
	char		timeout[16];

	snprintf(timeout, sizeof(timeout), "%d", heal_component_timeout);
	set_option("application_name", "pg_heal");
	set_option("search_path", "pg_catalog, pg_temp");
	set_option("synchronous_commit", "local");
	set_option("default_transaction_read_only", "off");
	set_option("default_transaction_isolation", "read committed");
	set_option("default_transaction_deferrable", "off");
	set_option("lock_timeout", "1s");
	set_option("statement_timeout", timeout);
	set_option("idle_in_transaction_session_timeout", timeout);
	set_option("session_replication_role", "origin");
	set_option("row_security", "off");
	set_option("exit_on_error", "off");
	set_option("TimeZone", "UTC");
	set_option("DateStyle", "ISO, YMD");
	set_option("IntervalStyle", "postgres");
	set_option("extra_float_digits", "1");
	set_option("max_parallel_workers_per_gather", "0");
	set_option("jit", "off");
}

/*---- Journal ----*/

static void
journal_lost(const char *why)
{
	journal_usable = false;
	next_journal_try = monotonic_us() + JOURNAL_RETRY_US;
	strlcpy(journal_trouble, why, sizeof(journal_trouble));
}

static void
open_journal(bool *foreign)
{
	char	   *why_not;

	journal_usable = journal_open(foreign, &why_not);
	if (journal_usable)
		return;
	if (strcmp(journal_trouble, why_not) != 0)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_heal only observes: it has no journal"),
				 errdetail_internal("%s", why_not)));
	journal_lost(why_not);
}

/* A journal that failed is tried again; what waits for the tables goes first. */
static void
retry_journal(void *arg)
{
	bool		foreign;

	open_journal(&foreign);
	if (journal_usable)
	{
		journal_trouble[0] = '\0';
		tables_writable = store_flush();
		ereport(LOG, (errmsg("pg_heal has a journal again")));
	}
}

/*---- Engine ----*/

static void
forget_outcomes(void)
{
	MemoryContextReset(outcome_cxt);
	outcomes = NULL;
	n_outcomes = max_outcomes = 0;
	outcome_urgent = false;
}

/* Throw the engine away; why is what heal_status shows until there is another. */
static void
drop_engine(const char *why)
{
	publish_state(why);
	mailbox_fail_all("55000", why);
	core = NULL;
	if (core_cxt != NULL)
		MemoryContextDelete(core_cxt);
	core_cxt = NULL;
	forget_outcomes();
	action_forget();
	inspection_wanted = false;
	publish_nothing();
}

/* All records of the journal after seq, appended to those of the tables. */
static uint32
append_journal(hc_record **records, uint32 n, uint64 seq)
{
	HealJournalRecord *portion;
	uint32		k;

	while ((k = journal_read_after(seq, &portion)) > 0)
	{
		*records = *records == NULL ?
			palloc_extended(sizeof(hc_record) * k, MCXT_ALLOC_HUGE) :
			repalloc_huge(*records, sizeof(hc_record) * (n + k));
		for (uint32 i = 0; i < k; i++)
			(*records)[n++] = portion[i].record;
		store_queue(portion, k);
		seq = portion[k - 1].seq;
	}
	return n;
}

/* Make an engine and tell it what tables and journal know. */
static void
build_engine(void *arg)
{
	hc_record  *records;
	bool		foreign_file = false;
	bool		foreign;
	uint64		applied;
	uint32		n;
	uint32		own = 0;

	open_journal(&foreign_file);
	n = store_load(&records, &foreign, &applied);
	core_cxt = AllocSetContextCreate(healer_cxt, "pg_heal core", ALLOCSET_SMALL_SIZES);
	core = bridge_create(core_cxt);

	/* Rows that came with a copy are history; what the journal adds is ours. */
	if (foreign && n > 0)
	{
		bridge_restore(core, records, n, true);
		own = n;
		ereport(LOG,
				(errmsg("tables of pg_heal came from another server or timeline"),
				 errdetail("Incidents that were open there are closed, and nothing is resumed.")));
	}
	n = append_journal(&records, n, applied);
	if (n > own)
		bridge_restore(core, records + own, n - own, false);
}

/* Is the extension there? In a transaction of its own. */
static void
look_for_extension(void *arg)
{
	Tick	   *tick = arg;

	begin_read();
	tick->extension_ready = store_extension_ready(&tick->why_not);
	end_read();
}

/* Start healing if that is possible now. */
static void
start_engine(void)
{
	Tick	   *tick;
	ErrorData  *error;
	char		why[HEAL_TEXT];

	MemoryContextReset(tick_cxt);
	MemoryContextSwitchTo(tick_cxt);
	tick = palloc0(sizeof(Tick));
	next_start = monotonic_us() + IDLE_POLL_US;

	error = guarded(PART_EXTENSION, look_for_extension, tick);
	if (error == NULL && !tick->extension_ready)
	{
		drop_engine(tick->why_not);
		return;
	}
	if (error == NULL)
		error = guarded(PART_ENGINE, build_engine, NULL);
	if (error != NULL)
	{
		snprintf(why, sizeof(why), "could not start: %s", error->message);
		drop_engine(why);
		return;
	}

	next_tick = monotonic_us();
	next_look = -1;
	next_config_load = 0;
	config_generation_seen = pg_atomic_read_u64(&heal_shared->config_generation) - 1;
	waiters_seen = waiters_before = 0;
	publish_state("");
}

/* The engine is broken: build another from what is written down. */
static void
engine_failed(const char *message)
{
	int64		now = monotonic_us();
	char		why[HEAL_TEXT];

	if (now - last_engine_failure > ENGINE_STEADY_US)
		engine_failures = 0;
	last_engine_failure = now;
	snprintf(why, sizeof(why), "the engine failed: %s", message);
	drop_engine(why);

	if (++engine_failures >= MAX_ENGINE_FAILURES)
		ereport(FATAL,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("healing engine failed %d times in a row", engine_failures),
				 errdetail_internal("%s", message)));
	ereport(WARNING,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("healing engine failed and is built anew"),
			 errdetail_internal("%s", message)));
	next_start = 0;
}

/*---- Collecting ----*/

static void
run_sessions(void *arg)
{
	Tick	   *tick = arg;

	collect_sessions(&tick->obs, tick->scratch);
}

static void
run_locks(void *arg)
{
	Tick	   *tick = arg;

	collect_locks(&tick->obs, tick->scratch);
}

static void
run_server(void *arg)
{
	Tick	   *tick = arg;

	collect_server(&tick->obs, &tick->server, tick->scratch);
}

static void
run_replication(void *arg)
{
	Tick	   *tick = arg;

	collect_replication(&tick->obs, tick->scratch);
}

static void
run_hooks(void *arg)
{
	Tick	   *tick = arg;

	collect_hooks(tick->scratch, tick->full);
}

static void
run_host(void *arg)
{
	Tick	   *tick = arg;

	collect_host(tick->scratch);
}

static void
run_security(void *arg)
{
	Tick	   *tick = arg;

	collect_security(&tick->obs);
	collect_clients(&tick->obs, tick->full);
	tick->server.unsafe_settings = collect_unsafe_settings();
	collect_violations(&tick->obs);
}

static void
run_inspections(void *arg)
{
	Tick	   *tick = arg;

	inspect_fill(&tick->obs, tick->scratch);
}

static void
run_extension(void *arg)
{
	Tick	   *tick = arg;

	tick->extension_ready = store_extension_ready(&tick->why_not);
}

static void
run_config(void *arg)
{
	Tick	   *tick = arg;

	/* While the extension is being dropped the configuration stays as it is. */
	if (store_pin_extension())
	{
		tick->config = store_load_config();
		user_metrics_load();
		watch_load();
	}
}

/* Run a collector in the tick's transaction; its metrics count only as a whole. */
static bool
collect(Tick *tick, Part part, void (*work) (void *))
{
	for (int i = 0; i < HC_METRIC_COUNT; i++)
		tick->scratch[i] = NAN;

	if (guarded(part, work, tick) != NULL)
	{
		begin_read();
		return false;
	}
	for (int i = 0; i < HC_METRIC_COUNT; i++)
		if (!isnan(tick->scratch[i]))
			tick->metrics[i] = tick->scratch[i];
	return true;
}

/* Sessions and locks; the graph says nothing without the sessions. */
static void
collect_activity(Tick *tick)
{
	hc_observation *obs = &tick->obs;

	if (!collect(tick, PART_SESSIONS, run_sessions))
	{
		obs->n_sessions = 0;
		obs->sessions_known = 0;
		return;
	}
	if (!collect(tick, PART_LOCKS, run_locks))
	{
		obs->n_locks = obs->n_lock_holders = obs->n_lock_waiters = 0;
		obs->locks_known = 0;
	}
}

static void
collect_facts(Tick *tick)
{
	hc_observation *obs = &tick->obs;

	tick->server = last_server;
	if (collect(tick, PART_SERVER, run_server))
		last_server = tick->server;
	else
	{
		tick->server = last_server;
		obs->n_checksums = 0;
	}
	if (!tables_writable)
		tick->server.flags |= HC_SERVER_READ_ONLY;

	if (!collect(tick, PART_REPLICATION, run_replication))
		obs->n_prepared = obs->n_slots = obs->n_standbys = 0;

	collect(tick, PART_HOOKS, run_hooks);
	if (tick->full)
		collect(tick, PART_HOST, run_host);
	if (!collect(tick, PART_SECURITY, run_security))
	{
		obs->n_logins = obs->n_security_events = obs->n_clients = obs->n_violations = 0;
		obs->logins = NULL;
	}

	if (!collect(tick, PART_INSPECTIONS, run_inspections))
		obs->n_inspections = obs->n_tables = obs->n_indexes = obs->n_sequences =
			obs->n_columns = obs->n_row_counts = obs->n_faults = obs->n_behind = 0;
}

/*
 * Thresholds, policies, graph: when somebody changed them. Now and then because
 * the grades of detectors change without an edit, and edits can avoid triggers.
 */
static void
collect_config(Tick *tick, uint64 generation)
{
	int64		now = monotonic_us();

	if (generation == config_generation_seen && now < next_config_load)
		return;
	/* Also after a failure, or it would be a reason for a look again and again. */
	config_generation_seen = generation;
	next_config_load = now + IDLE_POLL_US;
	if (!collect(tick, PART_CONFIG, run_config))
	{
		tick->config = NULL;
		return;
	}
	next_config_load = now + CONFIG_RELOAD_US;
}

/* Everything there is to see, in one read-only transaction. */
static void
collect_all(Tick *tick)
{
	/* Before the snapshot: what was announced later may not be in it, and is read the next time. */
	uint64		generation = pg_atomic_read_u64(&heal_shared->config_generation);

	for (int i = 0; i < HC_METRIC_COUNT; i++)
		tick->metrics[i] = NAN;
	tick->extension_ready = true;

	begin_read();
	collect(tick, PART_EXTENSION, run_extension);
	if (tick->extension_ready)
	{
		collect_activity(tick);
		collect_facts(tick);
		collect_config(tick, generation);
	}
	end_read();
}

static void
fill_observation(Tick *tick)
{
	hc_observation *obs = &tick->obs;
	hc_request *requests;

	guc_fill_settings(&tick->settings);
	tick->settings.paused = pause_is_on();
	/* What cannot be written down first is not done. */
	if (!journal_usable)
		tick->settings.mode = HC_MODE_OBSERVE;

	obs->now_us = GetCurrentTimestamp();
	obs->mono_us = monotonic_us();
	obs->full_tick = tick->full;
	obs->settings = &tick->settings;
	obs->config = tick->config;
	obs->server = &tick->server;
	obs->metrics = tick->metrics;
	user_metrics_fill(obs);
	obs->n_requests = mailbox_take(&requests);
	obs->requests = requests;
	obs->outcomes = outcomes;
	obs->n_outcomes = n_outcomes;
}

/*---- Outcomes ----*/

/* Keep an outcome until the core has been told. */
static void
add_outcome(const hc_outcome *outcome)
{
	MemoryContext old = MemoryContextSwitchTo(outcome_cxt);
	hc_outcome *kept;

	if (outcomes == NULL)
	{
		max_outcomes = 16;
		outcomes = palloc(sizeof(hc_outcome) * max_outcomes);
	}
	else if (n_outcomes == max_outcomes)
	{
		max_outcomes *= 2;
		outcomes = repalloc(outcomes, sizeof(hc_outcome) * max_outcomes);
	}
	kept = &outcomes[n_outcomes++];
	*kept = *outcome;
	kept->sqlstate = pstrdup(outcome->sqlstate);
	kept->message = pstrdup(outcome->message);
	kept->json = pstrdup(outcome->json);
	MemoryContextSwitchTo(old);
}

static void
fill_outcome(hc_outcome *outcome, const hc_command *command, hc_outcome_status status,
			 const char *sqlstate, const char *message)
{
	memset(outcome, 0, sizeof(*outcome));
	outcome->command_id = command->id;
	outcome->status = status;
	outcome->sqlstate = sqlstate;
	outcome->message = message;
	outcome->json = "";
}

static void
take_finished_jobs(void)
{
	HealJobSlot *job;
	hc_outcome	outcome;

	while ((job = job_next_finished()) != NULL)
	{
		action_outcome(job, &outcome);
		add_outcome(&outcome);
		job_release(job);
	}
	/* There may be a worker now for what found none. */
	while (action_retry(pause_is_on(), &outcome))
		add_outcome(&outcome);
}

/*---- Carrying out ----*/

typedef struct CommandRun
{
	const hc_command *command;
	hc_outcome	outcome;
	bool		running;
} CommandRun;

static void
run_command(void *arg)
{
	CommandRun *run = arg;

	begin_read();
	run->running = action_begin(run->command, &run->outcome);
	end_read();
}

static void
carry_out(const hc_command *command)
{
	CommandRun	run = {.command = command};
	ErrorData  *error;

	if (!journal_usable)
		fill_outcome(&run.outcome, command, HC_OUT_REFUSED, "55000",
					 "the journal of pg_heal cannot be written");
	else
	{
		error = guarded(PART_COMMANDS, run_command, &run);
		if (error != NULL)
			fill_outcome(&run.outcome, command, HC_OUT_FAILED,
						 pstrdup(unpack_sql_state(error->sqlerrcode)), error->message);
		else if (run.running)
			return;
	}
	add_outcome(&run.outcome);
	/* What an inspection finds comes later. */
	if (command->kind == HC_CMD_INSPECT)
		inspection_wanted = true;
	else
		outcome_urgent = true;
}

static void
carry_out_all(const hc_decisions *decisions)
{
	bool		signalled = false;

	for (uint32 i = 0; i < decisions->n_commands; i++)
	{
		const hc_command *command = &decisions->commands[i];

		carry_out(command);
		signalled |= command->kind == HC_CMD_CANCEL || command->kind == HC_CMD_TERMINATE;
	}
	if (signalled)
		pg_usleep(SIGNALLED_NAP_US);
}

/* Make the records durable and hand them to the store. */
static void
keep_records(const hc_record *records, uint32 n)
{
	HealJournalRecord *kept;
	uint64		last = 0;

	if (n == 0)
		return;
	if (journal_usable)
	{
		last = journal_append(records, n);
		if (last == 0)
			journal_lost("it could not be written");
	}

	kept = palloc(sizeof(HealJournalRecord) * n);
	for (uint32 i = 0; i < n; i++)
	{
		kept[i].seq = last == 0 ? 0 : last - n + 1 + i;
		kept[i].record = records[i];
	}
	store_queue(kept, n);
	pfree(kept);
}

static void
write_log(const hc_log_line *lines, uint32 n)
{
	for (uint32 i = 0; i < n; i++)
		ereport(lines[i].warning ? WARNING : LOG,
				(errmsg_internal("%s", lines[i].text)));
}

/*---- One step ----*/

/* What ails the healer itself, or NULL. */
static const char *
own_trouble(void)
{
	if (!journal_usable)
		return psprintf("observes only, has no journal: %s", journal_trouble);
	if (!tables_writable)
		return "tables in schema heal cannot be written now; the journal keeps what is new";
	return NULL;
}

typedef struct EngineRun
{
	const hc_observation *obs;
	const hc_decisions *decisions;
} EngineRun;

/* Nothing raises while the core runs: errors come from its status, afterwards. */
static void
run_engine(void *arg)
{
	EngineRun  *run = arg;

	run->decisions = bridge_step(core, run->obs);
}

static void
fail_requests(const hc_observation *obs, const char *message)
{
	for (uint32 i = 0; i < obs->n_requests; i++)
	{
		hc_reply	reply = {
			.id_request = obs->requests[i].id_request,
			.sqlstate = "XX000",
			.message = "pg_heal could not process the request",
			.detail = message,
			.hint = "See the server log.",
			.json = "",
		};

		mailbox_answer(&reply);
	}
}

/*
 * Ask the core. A refused observation leaves the engine as it was: if a faulty
 * configuration was the reason (somebody edited the graph by hand) the former
 * one stays in force. Any other failure costs the engine. NULL on failure.
 */
static const hc_decisions *
ask_core(Tick *tick)
{
	EngineRun	run = {.obs = &tick->obs};
	ErrorData  *error = guarded(PART_ENGINE, run_engine, &run);

	if (error != NULL && error->sqlerrcode == ERRCODE_INVALID_PARAMETER_VALUE && tick->obs.config != NULL)
	{
		tick->obs.config = NULL;
		error = guarded(PART_ENGINE, run_engine, &run);
	}
	if (error == NULL)
		return run.decisions;

	fail_requests(&tick->obs, error->message);
	if (error->sqlerrcode != ERRCODE_INVALID_PARAMETER_VALUE)
		engine_failed(error->detail != NULL ? error->detail : error->message);
	return NULL;
}

static void
schedule_look(int64 look_again_us)
{
	next_look = look_again_us < 0 ? -1 : monotonic_us() + Max(look_again_us, 10000);
}

static void
run_schedule(void *arg)
{
	inspect_schedule(GetCurrentTimestamp());
}

/* Look once and do what the core says. */
static void
step(bool full)
{
	int64		start = monotonic_us();
	Tick	   *tick;
	const hc_decisions *decisions;
	int			waiters = collect_lock_waiters();

	MemoryContextReset(tick_cxt);
	MemoryContextSwitchTo(tick_cxt);
	pgstat_report_activity(STATE_RUNNING, full ? "pg_heal: tick" : "pg_heal: look");
	pg_atomic_write_u32(&heal_shared->wake_wanted, 0);
	outcome_urgent = false;
	next_look = -1;
	last_step = start;
	waiters_seen = full ? waiters : Max(waiters_seen, waiters);

	tick = palloc0(sizeof(Tick));
	tick->full = full;
	take_finished_jobs();
	collect_all(tick);
	if (!tick->extension_ready)
	{
		drop_engine(tick->why_not);
		return;
	}
	fill_observation(tick);
	decisions = ask_core(tick);
	if (decisions == NULL)
		return;

	forget_outcomes();
	keep_records(decisions->records, decisions->n_records);
	carry_out_all(decisions);
	pause_follow(decisions->paused != 0, &tick->obs);
	schedule_look(decisions->look_again_us);
	publish_decisions(decisions, own_trouble());

	/* Tables first: who was answered finds what he asked for there. */
	tables_writable = store_flush();
	for (uint32 i = 0; i < decisions->n_replies; i++)
		mailbox_answer(&decisions->replies[i]);
	write_log(decisions->log, decisions->n_log);

	if (full)
		metric_history_add(tick->obs.now_us, tick->metrics);
	if (full)
		longest_tick = Max(longest_tick, monotonic_us() - start);
}

/* ... and again at once while commands were carried out on the spot. */
static void
step_until_settled(bool full)
{
	for (int i = 0; i < MAX_STEPS_IN_A_ROW; i++)
	{
		step(full && i == 0);
		if (core == NULL || !outcome_urgent)
			break;
	}
	/* Still not settled: soon, but let others run. */
	if (core != NULL && outcome_urgent)
		schedule_look(LOOK_SPACING_US);
}

/*---- Reasons for a step ----*/

/* A peek without the lock: a request missed now is seen by the next look. */
static bool
request_waits(void)
{
	for (int i = 0; i < HEAL_MAX_REQUESTS; i++)
		if (*(volatile HealRequestState *) &heal_shared->requests[i].state == HEAL_REQUEST_WRITTEN)
			return true;
	return false;
}

static bool
inspection_finished(void)
{
	for (int i = 0; i < HEAL_MAX_JOBS; i++)
		if (heal_shared->jobs[i].kind == HEAL_JOB_INSPECT && job_is_finished(&heal_shared->jobs[i]))
			return true;
	return false;
}

/*
 * More waiters than the core knows of, at two cheap looks in a row: a busy
 * server has short waits all the time.
 */
static bool
waiters_appeared(void)
{
	int			waiters = collect_lock_waiters();
	bool		appeared = waiters > waiters_seen && waiters_before > waiters_seen;

	waiters_before = waiters;
	return appeared;
}

/* Reasons that others can give as often as they like. */
static bool
provoked(int64 now)
{
	bool		wanted = pg_atomic_read_u32(&heal_shared->wake_wanted) != 0 ||
		pg_atomic_read_u64(&heal_shared->config_generation) != config_generation_seen ||
		waiters_appeared() ||
		clients_look_due(now, last_step);

	if (!wanted)
		return false;
	if (now - last_step >= LOOK_SPACING_US)
		return true;
	if (next_look < 0 || next_look > last_step + LOOK_SPACING_US)
		next_look = last_step + LOOK_SPACING_US;
	return false;
}

static bool
look_due(int64 now)
{
	return (next_look >= 0 && now >= next_look) ||
		request_waits() ||
		job_next_finished() != NULL ||
		action_waits() ||
		provoked(now);
}

/* The next tick is an interval after this one was due, unless time was lost. */
static void
schedule_tick(int64 now)
{
	int64		interval = (int64) heal_monitoring_interval * 1000;

	next_tick += interval;
	if (next_tick <= now)
		next_tick = now + interval;
}

static void
after_tick(void)
{
	if (core == NULL)
		return;
	if (!journal_usable && monotonic_us() >= next_journal_try)
		(void) guarded(PART_ENGINE, retry_journal, NULL);
	store_trim();
	metric_history_write(journal_usable && tables_writable);
	pgstat_report_stat(false);
	publish_use(longest_tick);
}

/* Do what is due. */
static void
cycle(void)
{
	int64		now = monotonic_us();
	bool		full;
	bool		look = false;

	if (core == NULL && now >= next_start)
		start_engine();
	if (core == NULL)
	{
		if (request_waits())
			mailbox_fail_all("55000", "the pg_heal worker is idle");
		return;
	}

	/* An inspection in its turn can wait for the next look, one asked for not. */
	if (inspection_finished())
	{
		(void) guarded(PART_SCHEDULE, run_schedule, NULL);
		look = inspection_wanted;
		inspection_wanted = false;
	}

	now = monotonic_us();
	full = now >= next_tick;
	if (full)
		schedule_tick(now);
	if (!full && !look && !look_due(now))
		return;

	step_until_settled(full);
	if (core != NULL)
		(void) guarded(PART_SCHEDULE, run_schedule, NULL);
	if (full)
		after_tick();
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* Milliseconds until something may be due. */
static long
time_to_sleep(void)
{
	int64		now = monotonic_us();
	int64		due;

	if (core == NULL)
		due = next_start;
	else
	{
		due = Min(next_tick, now + CHEAP_LOOK_US);
		if (next_look >= 0)
			due = Min(due, next_look);
	}
	return due <= now ? 0 : (long) ((due - now + 999) / 1000);
}

/*---- Process ----*/

/* Whatever ends us: nobody is left waiting. */
static void
leave(int code, Datum arg)
{
	LWLockReleaseAll();
	mailbox_fail_all("57P01", "the pg_heal worker is stopping");
	journal_close();

	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	if (heal_shared->healer_pid == MyProcPid)
	{
		heal_shared->healer_pid = 0;
		heal_shared->healer_pgprocno = -1;
	}
	LWLockRelease(heal_shared->lock);
}

static void
arrive(void)
{
	before_shmem_exit(leave, (Datum) 0);
	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	heal_shared->healer_pid = MyProcPid;
	heal_shared->healer_pgprocno = compat_my_procno();
	heal_shared->last_tick_at = 0;
	heal_shared->n_components = 0;
	strlcpy(heal_shared->healer_state, "the worker is starting", HEAL_TEXT);
	LWLockRelease(heal_shared->lock);
	/* What a former healer took up nobody will answer any more. */
	mailbox_fail_all("57P01", "the pg_heal worker was restarted");
}

/* Interrupts that end the process do so here; a cancel has nothing to cancel. */
static void
handle_interrupts(void)
{
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		settle_session();
		next_tick = Min(next_tick, monotonic_us() + (int64) heal_monitoring_interval * 1000);
	}
}

/* Somebody crashed, and it was not this process: see launcher.c. */
static void
healer_quit(SIGNAL_ARGS)
{
	heal_shared->healer_told_to_quit = true;
	_exit(2);
}

/*
 * Every tick allocates and frees the same few hundred kilobytes, and giving
 * them back to the kernel each time costs a fourth of the tick in page faults.
 * The server's copy of the backend status array is larger than what glibc
 * takes from the heap.
 */
static void
keep_memory(void)
{
#ifdef __GLIBC__
	mallopt(M_TRIM_THRESHOLD, 4 * 1024 * 1024);
	mallopt(M_MMAP_THRESHOLD, 2 * 1024 * 1024);
#endif
}

void
heal_healer_main(Datum arg)
{
	uint32		wait_event = 0;

	/* SIGINT is StatementCancelHandler already: the timeouts need it. */
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	pqsignal(SIGQUIT, healer_quit);
	BackgroundWorkerUnblockSignals();

	/* The database the launcher looked up; the setting may have changed since. */
	BackgroundWorkerInitializeConnection(MyBgworkerEntry->bgw_extra, NULL, 0);
	arrive();
	keep_memory();
	settle_session();

	healer_cxt = AllocSetContextCreate(TopMemoryContext, "pg_heal healer", ALLOCSET_DEFAULT_SIZES);
	tick_cxt = AllocSetContextCreate(healer_cxt, "pg_heal tick", ALLOCSET_DEFAULT_SIZES);
	outcome_cxt = AllocSetContextCreate(healer_cxt, "pg_heal outcomes", ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(tick_cxt);
	last_server.started_at = PgStartTime;
	last_server.wal_disk_free_bytes = last_server.wal_disk_total_bytes = -1;
	pause_load();

	for (;;)
	{
		handle_interrupts();
		cycle();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 time_to_sleep(), compat_wait_event(&wait_event, "PgHealHealerMain"));
		ResetLatch(MyLatch);
	}
}
