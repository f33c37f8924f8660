/*-------------------------------------------------------------------------
 *
 * action.c
 *	  Carry out what the core decided: signals in the healer, at once; SQL in a
 *	  worker of its own.
 *
 * A signal is the one act that cannot be undone, so everything known about its
 * target is read again from shared memory right before it is sent: first the
 * slow part, is it still the cause, then the identity, then kill(). Never
 * anything but SIGINT and SIGTERM: the death of a backend by SIGKILL takes the
 * whole server down.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#include "job.h"

/* How often to retry what changes while it is being read. */
#define READ_ATTEMPTS		1000
/* How long the postmaster may take to pass a changed setting on. */
#define RELOAD_WAIT_MS		2000
/* How long a command waits for a worker: others need them only for a while. */
#define WORKER_WAIT_MS		10000

/* ------------------------------------------------------------------------
 * Signals
 * ------------------------------------------------------------------------ */

static void
set_outcome(hc_outcome *outcome, hc_outcome_status status, const char *sqlstate, const char *message)
{
	outcome->status = status;
	outcome->sqlstate = sqlstate;
	outcome->message = message;
}

/* Entry of a process in the shared array of backend statuses. */
static volatile PgBackendStatus *
shared_status(PGPROC *proc)
{
	/* The array is private to the server, but our own entry is in it. */
#if PG_VERSION_NUM >= 170000
	return MyBEEntry - MyProcNumber + GetNumberFromPGProc(proc);
#else
	if (proc->backendId == InvalidBackendId || MyBackendId == InvalidBackendId)
		return NULL;
	return MyBEEntry - (MyBackendId - 1) + (proc->backendId - 1);
#endif
}

/* A consistent copy of it, without anybody's lock. */
static bool
read_status(PGPROC *proc, PgBackendStatus *copy)
{
	volatile PgBackendStatus *entry = shared_status(proc);

	if (entry == NULL)
		return false;

	for (int i = 0; i < READ_ATTEMPTS; i++)
	{
		int			before;
		int			after;

		pgstat_begin_read_activity(entry, before);
		memcpy(copy, unvolatize(PgBackendStatus *, entry), sizeof(PgBackendStatus));
		pgstat_end_read_activity(entry, after);
		if (pgstat_read_activity_complete(before, after))
			return copy->st_procpid > 0;
	}
	return false;
}

/* Is this still the very session, doing the very same? NULL: yes, else why not. */
static const char *
identity_mismatch(const hc_session_identity *target, const PgBackendStatus *now)
{
	if (now->st_procpid != target->pid)
		return "the process has gone";
	if (now->st_backendType != B_BACKEND)
		return "the process is not a client backend";
	if (now->st_proc_start_timestamp != target->backend_start)
		return "the process number belongs to another session now";
	if (now->st_xact_start_timestamp != target->xact_start)
		return "the session is in another transaction now";
	if (now->st_query_id != 0 && target->query_id != 0 && now->st_query_id != target->query_id)
		return "the session runs another statement now";
	if (now->st_state_start_timestamp != target->state_change)
		return "the session has done something since";
	return NULL;
}

/* Does a mode that somebody waits for conflict with one that is held? */
static bool
blocks_waiter(LOCK *lock, LOCKMASK held)
{
	LockMethod	method = GetLocksMethodTable(lock);

	for (LOCKMODE mode = 1; mode <= method->numLockModes; mode++)
		if ((lock->waitMask & LOCKBIT_ON(mode)) != 0 &&
			(method->conflictTab[mode] & held) != 0)
			return true;
	return false;
}

/*
 * Does proc hold a lock that somebody waits for? Looks at the locks of this one
 * process, a partition at a time. Who waits has moved locks taken by the fast
 * path into the shared table, so those need no look of their own.
 */
static bool
blocks_somebody(PGPROC *proc)
{
	bool		found = false;

	for (int i = 0; i < NUM_LOCK_PARTITIONS && !found; i++)
	{
		LWLock	   *partition = LockHashPartitionLockByIndex(i);

		LWLockAcquire(partition, LW_SHARED);
#if PG_VERSION_NUM >= 160000
		{
			dlist_iter	iter;

			dlist_foreach(iter, &proc->myProcLocks[i])
			{
				PROCLOCK   *held = dlist_container(PROCLOCK, procLink, iter.cur);

				if (blocks_waiter(held->tag.myLock, held->holdMask))
				{
					found = true;
					break;
				}
			}
		}
#else
		{
			SHM_QUEUE  *queue = &proc->myProcLocks[i];
			PROCLOCK   *held = (PROCLOCK *) SHMQueueNext(queue, queue, offsetof(PROCLOCK, procLink));

			while (held != NULL && !found)
			{
				found = blocks_waiter(held->tag.myLock, held->holdMask);
				held = (PROCLOCK *) SHMQueueNext(queue, &held->procLink, offsetof(PROCLOCK, procLink));
			}
		}
#endif
		LWLockRelease(partition);
	}
	return found;
}

/* Copy the tag and mode of the lock proc waits for; false when it does not wait. */
static bool
awaited_lock(PGPROC *proc, LOCKTAG *tag, LOCKMODE *mode)
{
	for (int i = 0; i < READ_ATTEMPTS; i++)
	{
		LOCK	   *lock = *((LOCK *volatile *) &proc->waitLock);
		LOCKTAG		seen;
		LWLock	   *partition;
		bool		stable;

		if (lock == NULL)
			return false;

		/*
		 * The lock may be recycled under our eyes, yet its memory stays. Its
		 * tag tells which partition protects it, if it is still the one.
		 */
		memcpy(&seen, &lock->tag, sizeof(seen));
		partition = LockHashPartitionLock(LockTagHashCode(&seen));
		LWLockAcquire(partition, LW_SHARED);
		stable = proc->waitLock == lock && memcmp(&lock->tag, &seen, sizeof(seen)) == 0;
		if (stable)
		{
			*tag = seen;
			*mode = proc->waitLockMode;
		}
		LWLockRelease(partition);
		if (stable)
			return true;
	}
	return false;
}

/* Does proc wait for AccessExclusiveLock on the relation of the command? */
static bool
waits_for_relation(PGPROC *proc, const hc_command *command)
{
	LOCKTAG		tag;
	LOCKMODE	mode;

	return awaited_lock(proc, &tag, &mode) &&
		tag.locktag_type == LOCKTAG_RELATION &&
		tag.locktag_field2 == command->relation_oid &&
		(command->database_oid == 0 || tag.locktag_field1 == 0 ||
		 tag.locktag_field1 == command->database_oid) &&
		mode == AccessExclusiveLock;
}

/* Part of a guard that needs locks; NULL: it holds. */
static const char *
cause_gone(PGPROC *proc, const hc_command *command)
{
	switch (command->guard)
	{
		case HC_GUARD_IDLE_IN_TRANSACTION:
			return blocks_somebody(proc) ? NULL : "the session blocks nobody any more";
		case HC_GUARD_WAITING_LOCK:
			return waits_for_relation(proc, command) ? NULL :
				"the session does not wait for the lock on the relation any more";
		case HC_GUARD_IDLE:
			return NULL;
	}
	return "the guard is not known";
}

/* Part of a guard that is in the status entry; NULL: it holds. */
static const char *
state_mismatch(const hc_command *command, const PgBackendStatus *now)
{
	switch (command->guard)
	{
		case HC_GUARD_IDLE_IN_TRANSACTION:
			if (now->st_state == STATE_IDLEINTRANSACTION ||
				now->st_state == STATE_IDLEINTRANSACTION_ABORTED)
				return NULL;
			return "the session is not idle in a transaction any more";
		case HC_GUARD_WAITING_LOCK:
			return now->st_state == STATE_RUNNING ? NULL : "the session is not active any more";
		case HC_GUARD_IDLE:
			return now->st_state == STATE_IDLE && now->st_xact_start_timestamp == 0 ? NULL :
				"the session is not idle any more";
	}
	return "the guard is not known";
}

/* All checks, the slow one first. NULL: send the signal. */
static const char *
why_not_signal(const hc_command *command)
{
	PGPROC	   *proc;
	PgBackendStatus now;
	const char *why;

	if (command->target.pid <= 1 || command->target.pid == MyProcPid)
		return "the process is not a client backend";
	proc = BackendPidGetProc(command->target.pid);
	if (proc == NULL)
		return "the process has gone";

	why = cause_gone(proc, command);
	if (why != NULL)
		return why;

	/*
	 * If identity and PGPROC still match now, it was this session whose locks
	 * we looked at.
	 */
	if (!read_status(proc, &now) || proc->pid != command->target.pid)
		return "the process has gone";
	why = identity_mismatch(&command->target, &now);
	if (why != NULL)
		return why;
	return state_mismatch(command, &now);
}

/* To the whole process group, as pg_terminate_backend does. */
static int
send_signal(int pid, int signal_number)
{
#ifdef HAVE_SETSID
	return kill(-pid, signal_number);
#else
	return kill(pid, signal_number);
#endif
}

static void
signal_session(const hc_command *command, hc_outcome *outcome)
{
	int			signal_number = command->kind == HC_CMD_CANCEL ? SIGINT : SIGTERM;
	const char *why = why_not_signal(command);

	if (why != NULL)
		set_outcome(outcome, HC_OUT_REFUSED, "", psprintf("process %d: %s", command->target.pid, why));
	else if (send_signal(command->target.pid, signal_number) == 0)
		set_outcome(outcome, HC_OUT_DONE, "",
					psprintf("sent %s to process %d", signal_number == SIGINT ? "SIGINT" : "SIGTERM",
							 command->target.pid));
	else if (errno == ESRCH)
		set_outcome(outcome, HC_OUT_REFUSED, "", psprintf("process %d: the process has gone", command->target.pid));
	else
		set_outcome(outcome, HC_OUT_FAILED, "58000",
					psprintf("could not send signal to process %d: %m", command->target.pid));
}

/* ------------------------------------------------------------------------
 * Jobs, healer side
 * ------------------------------------------------------------------------ */

/* Database 0 means the healer's own. */
static Oid
command_database(const hc_command *command)
{
	return command->database_oid != 0 ? command->database_oid : MyDatabaseId;
}

static void
append_text(StringInfo data, const char *text)
{
	appendBinaryStringInfo(data, text, strlen(text) + 1);
}

/* A job that is ready and found no worker; in TopMemoryContext. */
typedef struct WaitingJob
{
	HealJobKind kind;
	uint64		command_id;
	Oid			database;
	Oid			relation;
	bool		as_owner;
	int			lock_timeout;
	int			statement_timeout;
	TimestampTz since;
	uint32		used;
	char		data[FLEXIBLE_ARRAY_MEMBER];
} WaitingJob;

static List *waiting_jobs = NIL;

static bool
start_waiting(WaitingJob *job)
{
	return job_start(job->kind, job->command_id, job->database, job->data, job->used, job->relation,
					 job->as_owner, job->lock_timeout, job->statement_timeout) != NULL;
}

static WaitingJob *
make_job(const hc_command *command, StringInfo data)
{
	WaitingJob *job = MemoryContextAlloc(TopMemoryContext, offsetof(WaitingJob, data) + data->len);

	job->kind = command->kind == HC_CMD_SQL ? HEAL_JOB_SQL : HEAL_JOB_CAPTURE;
	job->command_id = command->id;
	job->database = command_database(command);
	job->relation = command->relation_oid;
	job->as_owner = command->as_owner != 0;
	job->lock_timeout = command->lock_timeout_ms;
	job->statement_timeout = command->statement_timeout_ms;
	job->since = GetCurrentTimestamp();
	job->used = data->len;
	memcpy(job->data, data->data, data->len);
	return job;
}

/*
 * Data of a job: guard, statements and probe, each ended by a zero byte; of a
 * capture the items alone. False with the outcome filled when it cannot start,
 * also not a little later.
 */
static bool
start_job(const hc_command *command, hc_outcome *outcome)
{
	StringInfoData data;
	WaitingJob *job;
	MemoryContext oldcxt;

	initStringInfo(&data);
	if (command->kind == HC_CMD_SQL)
	{
		append_text(&data, command->guard_sql);
		append_text(&data, command->sql);
		append_text(&data, command->probe_sql);
	}
	else
		append_text(&data, command->items);

	if (data.len > HEAL_JOB_BYTES)
	{
		set_outcome(outcome, HC_OUT_FAILED, "54000", "command is too large for an action slot");
		pfree(data.data);
		return false;
	}

	job = make_job(command, &data);
	pfree(data.data);

	/* Those that wait go first. */
	if (waiting_jobs == NIL && start_waiting(job))
	{
		pfree(job);
		return true;
	}
	oldcxt = MemoryContextSwitchTo(TopMemoryContext);
	waiting_jobs = lappend(waiting_jobs, job);
	MemoryContextSwitchTo(oldcxt);
	return true;
}

/* Is there a command that waits for a worker? */
bool
action_waits(void)
{
	return waiting_jobs != NIL;
}

/*
 * Start commands that wait. True, with the outcome, for one that is given up:
 * it waited too long, or acting was paused meanwhile; call again until false.
 */
bool
action_retry(bool paused, hc_outcome *outcome)
{
	while (waiting_jobs != NIL)
	{
		WaitingJob *job = linitial(waiting_jobs);
		/* Either direction: a clock that jumps must not make it wait for ever. */
		bool		expired = Abs(GetCurrentTimestamp() - job->since) > WORKER_WAIT_MS * INT64CONST(1000);
		bool		started = !paused && start_waiting(job);

		if (!started && !paused && !expired)
			return false;

		waiting_jobs = list_delete_first(waiting_jobs);
		memset(outcome, 0, sizeof(*outcome));
		outcome->command_id = job->command_id;
		outcome->json = "";
		pfree(job);
		if (started)
			continue;
		if (paused)
			set_outcome(outcome, HC_OUT_REFUSED, "55000", "acting was paused before the action began");
		else if (job_free_slots() == 0)
			set_outcome(outcome, HC_OUT_FAILED, "53000", "all action slots are in use");
		else
			set_outcome(outcome, HC_OUT_FAILED, "53000",
						"no background worker is free for the action; max_worker_processes may be too small");
		return true;
	}
	return false;
}

/* Who gave the commands is gone. */
void
action_forget(void)
{
	list_free_deep(waiting_jobs);
	waiting_jobs = NIL;
}

bool
action_begin(const hc_command *command, hc_outcome *outcome)
{
	instr_time	start;
	instr_time	end;

	memset(outcome, 0, sizeof(*outcome));
	outcome->command_id = command->id;
	outcome->json = "";
	set_outcome(outcome, HC_OUT_DONE, "", "");

	INSTR_TIME_SET_CURRENT(start);
	switch (command->kind)
	{
		case HC_CMD_CANCEL:
		case HC_CMD_TERMINATE:
			signal_session(command, outcome);
			break;
		case HC_CMD_SQL:
		case HC_CMD_CAPTURE:
			if (start_job(command, outcome))
				return true;
			break;
		case HC_CMD_INSPECT:
			inspect_request(command_database(command));
			break;
	}
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	outcome->duration_us = (int64) INSTR_TIME_GET_MICROSEC(end);
	return false;
}

void
action_outcome(HealJobSlot *job, hc_outcome *outcome)
{
	memset(outcome, 0, sizeof(*outcome));
	outcome->command_id = job->command_id;
	outcome->status = job->outcome;
	outcome->sqlstate = pstrdup(job->sqlstate);
	outcome->message = pstrdup(job->message);
	outcome->json = job_text(job);
	outcome->duration_us = job->duration_us;
}

/* ------------------------------------------------------------------------
 * Jobs, worker side
 * ------------------------------------------------------------------------ */

/* Cut the next text off the data; ERROR when there is none. */
static char *
next_text(HealJobSlot *job, uint32 *at)
{
	const char *text = job->data + *at;
	Size		left = job->used - *at;
	Size		len = strnlen(text, left);

	if (len == left)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("action slot does not hold a complete command")));
	*at += len + 1;
	return pstrdup(text);
}

/* The guard: one row, one column, true. */
static bool
guard_holds(const char *guard, HealJobSlot *job)
{
	bool		holds = false;

	worker_query_begin(job, XACT_READ_COMMITTED);
	pgstat_report_activity(STATE_RUNNING, guard);
	if (SPI_execute(guard, false, 2) != SPI_OK_SELECT || SPI_tuptable->tupdesc->natts != 1)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("guard of an action is not a query with one column")));
	if (SPI_gettypeid(SPI_tuptable->tupdesc, 1) != BOOLOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("guard of an action is not boolean")));
	if (SPI_processed == 1)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

		holds = !isnull && DatumGetBool(value);
	}
	worker_query_end();
	return holds;
}

/* Strip what would end the probe inside a sub-select. */
static char *
without_semicolon(char *sql)
{
	int			len = strlen(sql);

	while (len > 0 && (sql[len - 1] == ';' || isspace((unsigned char) sql[len - 1])))
		len--;
	sql[len] = '\0';
	return sql;
}

/* The probe's first row as a JSON object; "" when it has none. */
static void
run_probe(char *probe, HealJobSlot *job)
{
	/* Line breaks: the probe may end in a comment. */
	char	   *sql = psprintf("SELECT pg_catalog.row_to_json(probe)::pg_catalog.text FROM (\n%s\n) AS probe LIMIT 1",
							   without_semicolon(probe));

	worker_query_begin(job, XACT_READ_COMMITTED);
	pgstat_report_activity(STATE_RUNNING, probe);
	if (SPI_execute(sql, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "probe is not a query");
	if (SPI_processed == 1)
		worker_set_text(job, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	worker_query_end();
}

/*
 * A changed setting reaches other processes when the postmaster has read its
 * files and tells us all; a probe that runs earlier would see the old value.
 */
static void
wait_for_reload(void)
{
	TimestampTz start = GetCurrentTimestamp();

	while (!ConfigReloadPending &&
		   !TimestampDifferenceExceeds(start, GetCurrentTimestamp(), RELOAD_WAIT_MS))
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 50, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
}

/*
 * The statements did what they did: a probe that fails leaves the verification
 * without evidence, it does not make the action fail.
 */
static void
try_probe(char *probe, HealJobSlot *job)
{
	PG_TRY();
	{
		run_probe(probe, job);
	}
	PG_CATCH();
	{
		worker_catch(job, HC_OUT_DONE);
		job->used = 0;
	}
	PG_END_TRY();
}

/* The texts of an SQL job. */
typedef struct ActionTexts
{
	char	   *guard;
	char	   *sql;
	char	   *probe;
} ActionTexts;

/*
 * Read the job, parse, compare names, in one transaction (a conversion from
 * UTF-8 may need the catalogs). NULL when refused.
 */
static SqlTop *
prepare(HealJobSlot *job, ActionTexts *texts)
{
	uint32		at = 0;
	SqlTop	   *top;
	char	   *why_not = NULL;
	bool		matches;

	worker_query_begin(job, XACT_READ_COMMITTED);
	MemoryContextSwitchTo(worker_context);
	texts->guard = worker_from_utf8(next_text(job, &at));
	texts->sql = worker_from_utf8(next_text(job, &at));
	texts->probe = worker_from_utf8(next_text(job, &at));
	job->used = 0;

	top = sql_top_parse(texts->sql);
	matches = sql_top_relation_matches(top, job, &why_not);
	worker_query_end();

	if (!matches)
	{
		worker_result(job, HC_OUT_REFUSED, 0, "%s", why_not);
		return NULL;
	}
	return top;
}

void
action_run(HealJobSlot *job)
{
	ActionTexts texts;
	SqlTop	   *top = prepare(job, &texts);

	if (top == NULL)
		return;
	if (texts.guard[0] != '\0' && !guard_holds(texts.guard, job))
	{
		worker_result(job, HC_OUT_REFUSED, 0, "the condition of the action does not hold any more");
		return;
	}

	if (!sql_top_run(top, job))
	{
		job->used = 0;
		return;
	}

	if (top->changes_settings)
		wait_for_reload();
	if (texts.probe[0] != '\0')
		try_probe(texts.probe, job);
}
