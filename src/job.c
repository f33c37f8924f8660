/*-------------------------------------------------------------------------
 *
 * job.c
 *	  Job slots in shared memory and the dynamic workers that serve them.
 *
 * A slot's state word carries a generation beside the HealJobState. It grows
 * with every job, and all transitions compare and exchange the whole word, so
 * a worker whose healer is gone can neither claim nor answer a job of the next
 * healer:
 *
 *		FREE -> STARTING		healer, after the job is written
 *		STARTING -> RUNNING		worker, which then takes a private copy
 *		RUNNING -> WRITING		worker, when it has a result
 *		WRITING -> FINISHED		worker; it cannot be interrupted in between
 *		STARTING, RUNNING -> FINISHED	healer, when the process is gone
 *		FINISHED -> FREE		healer
 *
 * The worker works on its copy only: the slot is touched for the claim and for
 * the answer.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "access/xact.h"
#include "common/pg_lzcompress.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "job.h"

#define WORKER_ACTION		"pg_heal action"
#define WORKER_INSPECTOR	"pg_heal inspector"

/* A state of its own, seen in this file only; see above. */
#define JOB_WRITING			(HEAL_JOB_FINISHED + 1)

#define STATE_BITS			8
#define STATE_OF(word)		((int) ((word) & ((1 << STATE_BITS) - 1)))
#define GENERATION_OF(word)	((word) >> STATE_BITS)
#define STATE_WORD(generation, state) \
	(((uint32) (generation) << STATE_BITS) | (uint32) (state))

/* First byte of a compressed result; no JSON text begins with it. */
#define COMPRESSED_TEXT		'\1'

/* Header of a slot: all but the data. */
#define SLOT_HEADER			offsetof(HealJobSlot, data)

/* ---- healer side ---- */

/* What this healer knows of the jobs it started. */
typedef struct JobHandle
{
	bool		mine;
	BackgroundWorkerHandle *worker;
} JobHandle;

static JobHandle handles[HEAL_MAX_JOBS];
static bool predecessor_forgotten = false;

/* ---- worker side ---- */

MemoryContext worker_context = NULL;

static HealJobSlot *my_slot = NULL; /* claimed and not answered */
static HealJobSlot *my_job = NULL;	/* private copy */
static uint32 my_generation;
static bool my_job_began = false;	/* connected: statements may have run */
static bool my_answer_kept = false;	/* see worker_keep_answer */
static char fatal_message[HEAL_REQUEST_TEXT];
static int	fatal_sqlerrcode;
static emit_log_hook_type prev_emit_log_hook = NULL;

/* ------------------------------------------------------------------------
 * Healer side
 * ------------------------------------------------------------------------ */

static int
slot_number(HealJobSlot *job)
{
	return (int) (job - heal_shared->jobs);
}

/* End all workers of this healer when it leaves: nobody would hear them. */
static void
terminate_own_workers(int code, Datum arg)
{
	for (int i = 0; i < HEAL_MAX_JOBS; i++)
		if (handles[i].mine && handles[i].worker != NULL)
			TerminateBackgroundWorker(handles[i].worker);
}

/* Is pid a worker that serves a job slot? */
static bool
is_job_worker(int pid)
{
	const char *type = GetBackgroundWorkerTypeByPid(pid);

	return type != NULL &&
		(strcmp(type, WORKER_ACTION) == 0 || strcmp(type, WORKER_INSPECTOR) == 0);
}

/*
 * Once per healer: take the slots over, and end workers of a healer that died
 * without doing so itself. The core verifies what they were doing; letting them
 * go on would change the ground under that verification.
 */
static void
forget_predecessor(void)
{
	if (predecessor_forgotten)
		return;
	predecessor_forgotten = true;

	for (int i = 0; i < HEAL_MAX_JOBS; i++)
	{
		HealJobSlot *job = &heal_shared->jobs[i];
		uint32		word = pg_atomic_read_u32(&job->state);

		/* A worker in WRITING reaches FINISHED by itself; see slot_free. */
		while (STATE_OF(word) != HEAL_JOB_FREE && STATE_OF(word) != JOB_WRITING)
		{
			if (pg_atomic_compare_exchange_u32(&job->state, &word,
											   STATE_WORD(GENERATION_OF(word) + 1, HEAL_JOB_FREE)))
				break;
		}
	}

	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		int			pid = ProcGlobal->allProcs[i].pid;

		if (pid > 0 && pid != MyProcPid && is_job_worker(pid))
			(void) kill(pid, SIGTERM);
	}

	before_shmem_exit(terminate_own_workers, (Datum) 0);
}

/* Can slot i take a job? Also frees what a predecessor's worker left finished. */
static bool
slot_free(int i)
{
	HealJobSlot *job = &heal_shared->jobs[i];
	uint32		word = pg_atomic_read_u32(&job->state);

	if (!handles[i].mine && STATE_OF(word) == HEAL_JOB_FINISHED)
	{
		word = STATE_WORD(GENERATION_OF(word) + 1, HEAL_JOB_FREE);
		pg_atomic_write_u32(&job->state, word);
	}
	return STATE_OF(word) == HEAL_JOB_FREE;
}

int
job_free_slots(void)
{
	int			n = 0;

	forget_predecessor();
	for (int i = 0; i < HEAL_MAX_JOBS; i++)
		if (slot_free(i))
			n++;
	return n;
}

/* Register the process for slot i; false when no worker slot is free. */
static bool
start_worker(int i, HealJobKind kind, uint32 generation)
{
	BackgroundWorker worker;
	MemoryContext oldcxt;
	bool		registered;
	const char *type = kind == HEAL_JOB_INSPECT ? WORKER_INSPECTOR : WORKER_ACTION;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "pg_heal", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "heal_worker_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, type, sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, type, sizeof(worker.bgw_type));
	worker.bgw_main_arg = Int32GetDatum(i);
	memcpy(worker.bgw_extra, &generation, sizeof(generation));
	worker.bgw_notify_pid = MyProcPid;

	/* The handle must outlive the caller's context. */
	oldcxt = MemoryContextSwitchTo(TopMemoryContext);
	registered = RegisterDynamicBackgroundWorker(&worker, &handles[i].worker);
	MemoryContextSwitchTo(oldcxt);
	return registered;
}

/*
 * Put a job into a free slot and start its worker. NULL when there is no free
 * slot or no free background worker; the caller tries again later.
 */
HealJobSlot *
job_start(HealJobKind kind, uint64 command_id, Oid database, const char *data, uint32 used,
		  Oid relation, bool as_owner, int lock_timeout, int statement_timeout)
{
	forget_predecessor();

	if (used > HEAL_JOB_BYTES)
		return NULL;

	for (int i = 0; i < HEAL_MAX_JOBS; i++)
	{
		HealJobSlot *job = &heal_shared->jobs[i];
		uint32		generation;

		if (!slot_free(i))
			continue;

		generation = (GENERATION_OF(pg_atomic_read_u32(&job->state)) + 1) & (PG_UINT32_MAX >> STATE_BITS);
		job->kind = kind;
		job->command_id = command_id;
		job->database = database;
		job->relation = relation;
		job->as_owner = as_owner;
		job->lock_timeout = lock_timeout;
		job->statement_timeout = statement_timeout;
		job->started_at = GetCurrentTimestamp();
		job->outcome = HC_OUT_LOST;
		job->sqlstate[0] = '\0';
		job->message[0] = '\0';
		job->duration_us = 0;
		job->used = used;
		if (used > 0)
			memcpy(job->data, data, used);
		pg_write_barrier();
		pg_atomic_write_u32(&job->state, STATE_WORD(generation, HEAL_JOB_STARTING));

		if (!start_worker(i, kind, generation))
		{
			pg_atomic_write_u32(&job->state, STATE_WORD(generation, HEAL_JOB_FREE));
			return NULL;
		}
		handles[i].mine = true;
		return job;
	}
	return NULL;
}

/* The process of an unfinished job is gone: say what that means. */
static void
finish_dead_job(HealJobSlot *job, uint32 word)
{
	if (STATE_OF(word) == HEAL_JOB_STARTING)
	{
		job->outcome = HC_OUT_FAILED;
		strlcpy(job->sqlstate, "53000", sizeof(job->sqlstate));
		strlcpy(job->message, "could not start the worker process", sizeof(job->message));
	}
	else
	{
		job->outcome = HC_OUT_LOST;
		strlcpy(job->sqlstate, "57P01", sizeof(job->sqlstate));
		strlcpy(job->message, "worker process ended without a result", sizeof(job->message));
	}
	job->used = 0;
	job->duration_us = GetCurrentTimestamp() - job->started_at;
	pg_write_barrier();
	pg_atomic_write_u32(&job->state, STATE_WORD(GENERATION_OF(word), HEAL_JOB_FINISHED));
}

bool
job_is_finished(HealJobSlot *job)
{
	JobHandle  *handle = &handles[slot_number(job)];
	uint32		word;
	pid_t		pid;

	if (!handle->mine)
		return false;

	word = pg_atomic_read_u32(&job->state);
	if ((STATE_OF(word) == HEAL_JOB_STARTING || STATE_OF(word) == HEAL_JOB_RUNNING) &&
		GetBackgroundWorkerPid(handle->worker, &pid) == BGWH_STOPPED)
	{
		/* It may have answered between the two looks; now it cannot any more. */
		pg_memory_barrier();
		word = pg_atomic_read_u32(&job->state);
		if (STATE_OF(word) != HEAL_JOB_FINISHED)
			finish_dead_job(job, word);
		word = pg_atomic_read_u32(&job->state);
	}

	if (STATE_OF(word) != HEAL_JOB_FINISHED)
		return false;
	pg_read_barrier();
	return true;
}

/* A finished action or capture; inspections are taken over by inspect.c. */
HealJobSlot *
job_next_finished(void)
{
	forget_predecessor();
	for (int i = 0; i < HEAL_MAX_JOBS; i++)
	{
		HealJobSlot *job = &heal_shared->jobs[i];

		if (handles[i].mine && job->kind != HEAL_JOB_INSPECT && job_is_finished(job))
			return job;
	}
	return NULL;
}

char *
job_text(HealJobSlot *job)
{
	uint32		raw_size;
	Size		header = 1 + sizeof(raw_size);
	char	   *text;

	if (job->used < header || job->data[0] != COMPRESSED_TEXT)
		return pnstrdup(job->data, job->used);

	memcpy(&raw_size, job->data + 1, sizeof(raw_size));
	if (raw_size > WORKER_MAX_TEXT)
		return pstrdup("");
	text = palloc(raw_size + 1);
	if (pglz_decompress(job->data + header, job->used - header, text, raw_size, true) != (int32) raw_size)
		raw_size = 0;
	text[raw_size] = '\0';
	return text;
}

void
job_release(HealJobSlot *job)
{
	JobHandle  *handle = &handles[slot_number(job)];
	uint32		word = pg_atomic_read_u32(&job->state);

	if (handle->worker != NULL)
		pfree(handle->worker);
	handle->worker = NULL;
	handle->mine = false;
	pg_atomic_write_u32(&job->state, STATE_WORD(GENERATION_OF(word), HEAL_JOB_FREE));
}

/* ------------------------------------------------------------------------
 * Worker side
 * ------------------------------------------------------------------------ */

/* Remember why this process is about to end: its exit callback cannot ask. */
static void
remember_fatal(ErrorData *edata)
{
	if (edata->elevel == FATAL && edata->message != NULL)
	{
		fatal_sqlerrcode = edata->sqlerrcode;
		strlcpy(fatal_message, edata->message, sizeof(fatal_message));
	}
	if (prev_emit_log_hook)
		prev_emit_log_hook(edata);
}

/* Copy the result into the slot, unless the slot was taken away from us. */
static void
answer(void)
{
	HealJobSlot *slot = my_slot;
	uint32		word = STATE_WORD(my_generation, HEAL_JOB_RUNNING);

	my_slot = NULL;
	if (!pg_atomic_compare_exchange_u32(&slot->state, &word, STATE_WORD(my_generation, JOB_WRITING)))
		return;

	slot->outcome = my_job->outcome;
	memcpy(slot->sqlstate, my_job->sqlstate, sizeof(slot->sqlstate));
	memcpy(slot->message, my_job->message, sizeof(slot->message));
	slot->duration_us = GetCurrentTimestamp() - slot->started_at;
	slot->used = my_job->used;
	memcpy(slot->data, my_job->data, my_job->used);
	pg_write_barrier();
	pg_atomic_write_u32(&slot->state, STATE_WORD(my_generation, HEAL_JOB_FINISHED));
	healer_wake();
}

/* The process leaves with its job unanswered: FATAL, or told to go. */
static void
answer_at_exit(int code, Datum arg)
{
	if (my_slot == NULL)
		return;
	if (my_answer_kept)
	{
		worker_result(my_job, HC_OUT_DONE, 0, "%s", "");
		answer();
		return;
	}
	my_job->used = 0;
	worker_result(my_job,
				  my_job_began ? HC_OUT_LOST : HC_OUT_FAILED,
				  fatal_sqlerrcode != 0 ? fatal_sqlerrcode : ERRCODE_ADMIN_SHUTDOWN,
				  "%s", fatal_message[0] != '\0' ? fatal_message : "worker process ended without a result");
	answer();
}

/* Take the job; false when it is not ours any more. */
static bool
claim(int slot)
{
	HealJobSlot *job;
	uint32		word;

	if (slot < 0 || slot >= HEAL_MAX_JOBS || heal_shared == NULL)
		return false;

	/* Before the claim: an error here must leave the slot to the healer. */
	worker_context = AllocSetContextCreate(TopMemoryContext, "pg_heal worker", ALLOCSET_DEFAULT_SIZES);
	my_job = MemoryContextAlloc(worker_context, sizeof(HealJobSlot));

	job = &heal_shared->jobs[slot];
	memcpy(&my_generation, MyBgworkerEntry->bgw_extra, sizeof(my_generation));
	word = STATE_WORD(my_generation, HEAL_JOB_STARTING);
	if (!pg_atomic_compare_exchange_u32(&job->state, &word, STATE_WORD(my_generation, HEAL_JOB_RUNNING)))
		return false;

	memcpy(my_job, job, SLOT_HEADER);
	if (my_job->used > HEAL_JOB_BYTES)
		my_job->used = 0;
	memcpy(my_job->data, job->data, my_job->used);

	/* Torn input: the healer went away and the slot was given a new job. */
	pg_read_barrier();
	if (pg_atomic_read_u32(&job->state) != STATE_WORD(my_generation, HEAL_JOB_RUNNING))
		return false;

	my_slot = job;
	return true;
}

static void
set_option(const char *name, const char *value)
{
	/* OVERRIDE beats the settings of the database, and SIGHUP keeps it. */
	SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

static void
set_timeout_option(const char *name, int ms)
{
	char		value[16];

	snprintf(value, sizeof(value), "%d", Max(ms, 0));
	set_option(name, value);
}

/*
 * A session that does not depend on what the owner of the database set, and that
 * can act when the server is read-only by default or has lost its synchronous
 * standby. Cost-based vacuum delay stays as the administrator set it.
 */
static void
settle_session(void)
{
	set_option("application_name", "pg_heal");
	set_option("search_path", "pg_catalog, pg_temp");
	set_option("synchronous_commit", "local");
	set_option("default_transaction_read_only", "off");
	set_option("default_transaction_isolation", "read committed");
	set_option("default_transaction_deferrable", "off");
	set_option("session_replication_role", "origin");
	set_option("idle_in_transaction_session_timeout", "0");
	set_option("idle_session_timeout", "0");
	set_timeout_option("lock_timeout", my_job->lock_timeout);
	set_timeout_option("statement_timeout", my_job->statement_timeout);
	set_option("TimeZone", "UTC");
	set_option("DateStyle", "ISO, YMD");
	set_option("IntervalStyle", "postgres");
	set_option("extra_float_digits", "1");
	set_option("bytea_output", "hex");
	set_option("standard_conforming_strings", "on");
	set_option("quote_all_identifiers", "off");
	set_option("transform_null_equals", "off");
	set_option("zero_damaged_pages", "off");
	set_option("default_tablespace", "");
	set_option("row_security", "off");
	set_option("jit", "off");
	set_option("stats_fetch_consistency", "cache");
}

/* Add what this process used to the totals of its part. */
static void
account(HealJobKind kind)
{
	HealPartUse *part;
	struct rusage usage;
	int64		cpu;
	int64		elapsed = GetCurrentTimestamp() - my_job->started_at;

	if (getrusage(RUSAGE_SELF, &usage) != 0)
		return;
	cpu = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64CONST(1000000) +
		usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;

	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	part = &heal_shared->parts[kind == HEAL_JOB_INSPECT ? HEAL_PART_INSPECTOR : HEAL_PART_ACTION];
	part->cpu_us += cpu;
	part->memory_bytes = MemoryContextMemAllocated(TopMemoryContext, true);
	part->longest_tick_us = Max(part->longest_tick_us, elapsed);
	LWLockRelease(heal_shared->lock);
}

/* Do the job; whatever goes wrong becomes its result. */
static void
run_job(HealJobSlot *job)
{
	worker_result(job, HC_OUT_DONE, 0, "%s", "");

	PG_TRY();
	{
		switch (job->kind)
		{
			case HEAL_JOB_SQL:
				action_run(job);
				break;
			case HEAL_JOB_CAPTURE:
				capture_run(job);
				break;
			case HEAL_JOB_INSPECT:
				inspect_run(job);
				break;
		}
	}
	PG_CATCH();
	{
		worker_catch(job, HC_OUT_FAILED);
		job->used = 0;
	}
	PG_END_TRY();
}

/* From here on a crash of this process is one of ours: see launcher.c. */
static int	watched_slot;

/* The slot may be another worker's already: it is free before we have left. */
static void
unwatch(int code, Datum arg)
{
	uint32		expected = (uint32) MyProcPid;

	(void) pg_atomic_compare_exchange_u32(&heal_shared->worker_pids[watched_slot], &expected, 0);
}

static void
worker_quit(SIGNAL_ARGS)
{
	unwatch(2, (Datum) 0);
	_exit(2);
}

static void
watch(int slot)
{
	if (slot < 0 || slot >= HEAL_MAX_JOBS || heal_shared == NULL)
		return;
	watched_slot = slot;
	on_shmem_exit(unwatch, (Datum) 0);
	pg_atomic_write_u32(&heal_shared->worker_pids[slot], (uint32) MyProcPid);
	pqsignal(SIGQUIT, worker_quit);
}

/* Main function of a worker; the argument is the number of its slot. */
void
heal_worker_main(Datum slot)
{
	/* SIGINT is StatementCancelHandler already: timeouts need it. */
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	watch(DatumGetInt32(slot));
	if (!claim(DatumGetInt32(slot)))
		return;

	prev_emit_log_hook = emit_log_hook;
	emit_log_hook = remember_fatal;
	before_shmem_exit(answer_at_exit, (Datum) 0);

	/*
	 * As the bootstrap superuser, which needs no free client slot. A database
	 * that allows no connections is left alone: FATAL, and so is the result.
	 */
	BackgroundWorkerInitializeConnectionByOid(my_job->database, InvalidOid, 0);
	settle_session();
	MemoryContextSwitchTo(worker_context);
	my_job_began = true;

	run_job(my_job);
	pgstat_report_activity(STATE_IDLE, NULL);

	account(my_job->kind);
	answer();
}

/* ---- for the code that runs in the worker ---- */

/* Messages may have been cut, and may be in another encoding. Must not raise. */
static void
make_utf8(char *text, Size size)
{
	int			len = strlen(text);
	int			valid = pg_encoding_verifymbstr(PG_UTF8, text, len);

	if (valid == len)
		return;
	if (len == size - 1 && len - valid < MAX_MULTIBYTE_CHAR_LEN)
	{
		text[valid] = '\0';
		return;
	}
	for (char *p = text; *p != '\0'; p++)
		if (IS_HIGHBIT_SET(*p))
			*p = '?';
}

void
worker_result(HealJobSlot *job, hc_outcome_status status, int sqlerrcode, const char *fmt,...)
{
	va_list		args;

	job->outcome = status;
	strlcpy(job->sqlstate, sqlerrcode != 0 ? unpack_sql_state(sqlerrcode) : "", sizeof(job->sqlstate));
	va_start(args, fmt);
	vsnprintf(job->message, sizeof(job->message), fmt, args);
	va_end(args);
	make_utf8(job->message, sizeof(job->message));
}

/*
 * Called in PG_CATCH. The order is the server's own for a failed command: keep
 * the error, abort, forget timeouts and cancel requests that came too late.
 */
void
worker_catch(HealJobSlot *job, hc_outcome_status status)
{
	ErrorData  *edata;
	char	   *message;

	HOLD_INTERRUPTS();
	disable_all_timeouts(false);
	QueryCancelPending = false;

	MemoryContextSwitchTo(worker_context);
	edata = CopyErrorData();
	FlushErrorState();

	AbortOutOfAnyTransaction();
	/* Only the current user comes back with the abort, not the session's. */
	SetSessionAuthorization(GetAuthenticatedUserId(), true);
	PortalErrorCleanup();
	MemoryContextSwitchTo(worker_context);

	message = edata->message ? edata->message : pstrdup("missing error text");
	if (edata->detail != NULL)
		message = psprintf("%s (%s)", message, edata->detail);
	worker_result(job, status, edata->sqlerrcode, "%s", message);

	FreeErrorData(edata);
	RESUME_INTERRUPTS();
}

void
worker_keep_answer(HealJobSlot *job)
{
	Assert(job == my_job);
	my_answer_kept = true;
}

static void text_too_large(Size len) pg_attribute_noreturn();

static void
text_too_large(Size len)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("result of %zu bytes is too large to be handed over", len)));
}

/* Put text that is larger than a slot into it, compressed. */
static void
set_compressed_text(HealJobSlot *job, const char *text, Size len)
{
	uint32		raw_size = len;
	Size		header = 1 + sizeof(raw_size);
	char	   *packed;
	int32		packed_len;

	if (len > WORKER_MAX_TEXT)
		text_too_large(len);
	packed = palloc(PGLZ_MAX_OUTPUT(len));
	packed_len = pglz_compress(text, len, packed, PGLZ_strategy_always);
	if (packed_len < 0 || header + packed_len > HEAL_JOB_BYTES)
		text_too_large(len);

	job->data[0] = COMPRESSED_TEXT;
	memcpy(job->data + 1, &raw_size, sizeof(raw_size));
	memcpy(job->data + header, packed, packed_len);
	job->used = header + packed_len;
	pfree(packed);
}

void
worker_set_text(HealJobSlot *job, const char *text)
{
	char	   *utf8 = pg_server_to_any(text, strlen(text), PG_UTF8);
	Size		len = strlen(utf8);

	if (len > HEAL_JOB_BYTES)
	{
		set_compressed_text(job, utf8, len);
		return;
	}
	memcpy(job->data, utf8, len);
	job->used = len;
}

char *
worker_from_utf8(const char *text)
{
	return pg_any_to_server(text, strlen(text), PG_UTF8);
}

/* Statement timeouts are armed by the main loop of a client backend, not here. */
void
worker_timeout_start(HealJobSlot *job)
{
	if (job->statement_timeout > 0)
		enable_timeout_after(STATEMENT_TIMEOUT, job->statement_timeout);
}

void
worker_timeout_stop(void)
{
	disable_timeout(STATEMENT_TIMEOUT, false);
}

void
worker_query_begin(HealJobSlot *job, int isolation)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactReadOnly = true;
	XactIsoLevel = isolation;
	worker_timeout_start(job);
	PushActiveSnapshot(GetTransactionSnapshot());
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

void
worker_query_end(void)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	worker_timeout_stop();
	MemoryContextSwitchTo(worker_context);
}
