/*-------------------------------------------------------------------------
 *
 * hooks.c
 *	  Sensors inside every backend: executor, server log, authentication.
 *
 * Executor. Each backend writes to a slot of its own, found by its PGPROC
 * number, so there is neither lock nor contention; slots are never cleared and
 * the sum over them are the totals since server start. When a slot passes to a
 * backend of another database, what it counted for the former one moves to a
 * table of databases. Only statements a client sent are measured, with two
 * readings of the time (see ticks.h). A statement inside another one (functions,
 * triggers, rules) must cost next to nothing: while a top-level statement runs a
 * pointer tells, and inside DO and CALL, which do not go through the executor,
 * the destination of the rows does.
 *
 * There is no PG_TRY on the way. A statement that fails never comes back to us;
 * the transaction or subtransaction it ran in is aborted, and that callback
 * counts the error and forgets the statement. Failures before the executor runs
 * (syntax, names, permissions) are the business of the log hook.
 *
 * Log. The hook may run in any process and almost any state, so it does nothing
 * but atomic additions and, for what cannot wait for the next tick, set the
 * healer's latch.
 *
 * Authentication. Failures and successes per role and address, in a small table
 * under auth_lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/ip.h"
#include "executor/executor.h"
#include "libpq/auth.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "utils/portal.h"

#include "compat.h"
#include "pg_heal.h"
#include "ticks.h"

/* Refusals can be provoked from outside: at most one wake-up of a kind in this time. */
#define REFUSAL_WAKE_INTERVAL_US (200 * INT64CONST(1000))

typedef enum Refusal
{
	REFUSAL_SLOTS,				/* no connection slot left */
	REFUSAL_LOGIN,
	REFUSALS
} Refusal;

/* Every so many failures of one role and address in quick succession. */
#define AUTH_BURST_FAILURES 5
#define AUTH_BURST_GAP_US (10 * USECS_PER_SEC)

#define WAITING_FOR_LOCK "process %d still waiting for "
#define CHECKPOINTS_TOO_FREQUENT "checkpoints are occurring too frequently "

/* Databases whose past statements are kept apart; later ones share the last. */
#define EXEC_DATABASES 64

/*
 * Written by one backend at a time, read by anybody. All that a short statement
 * needs is in the first cache line; the calls are the sum of the buckets.
 */
typedef struct ExecSlot
{
	pg_atomic_uint64 rate;		/* TickRate; the healer may set it to 0 */
	pg_atomic_uint64 time_ns;
	pg_atomic_uint64 rows;		/* returned to the client */
	pg_atomic_uint64 latency[HEAL_LATENCY_BUCKETS];
	pg_atomic_uint64 errors;

	/* under HookShared.mutex */
	Oid			database;		/* of the present or latest backend */
	uint64		calls_before;	/* counts that belong to other databases */
	uint64		errors_before;
	uint64		time_ns_before;
} ExecSlot;

typedef union ExecSlotPadded
{
	ExecSlot	slot;
	char		pad[TYPEALIGN(PG_CACHE_LINE_SIZE, sizeof(ExecSlot))];
} ExecSlotPadded;

typedef struct ExecDatabase
{
	Oid			database;
	uint64		calls;
	uint64		errors;
	uint64		time_ns;
} ExecDatabase;

typedef struct HookShared
{
	pg_atomic_uint64 last_refusal_wake[REFUSALS];	/* TimestampTz */
	int			n_slots;

	slock_t		mutex;			/* protects what follows */
	int			n_databases;
	ExecDatabase databases[EXEC_DATABASES];
} HookShared;

static HookShared *hook_shared = NULL;
static ExecSlotPadded *exec_slots = NULL;

static ExecutorRun_hook_type prev_executor_run = NULL;
static ExecutorFinish_hook_type prev_executor_finish = NULL;
static emit_log_hook_type prev_emit_log = NULL;
static ClientAuthentication_hook_type prev_client_authentication = NULL;

/* The top-level statement in the executor, if any. */
static QueryDesc *running = NULL;
static int	running_level = 0;	/* transaction nesting it started in */
static uint64 running_since;	/* ticks ... */
static TickRate running_rate;	/* ... of this size */

static ExecSlot *my_slot = NULL;
static bool authentication_counted = false; /* this connection's failure */

/*---- Shared memory ----*/

/* PGPROCs that can run statements come first in the array of all. */
static int
slot_count(void)
{
	return MaxBackends;
}

static Size
slots_size(void)
{
	return mul_size(slot_count(), sizeof(ExecSlotPadded));
}

Size
hooks_shmem_size(void)
{
	return add_size(CACHELINEALIGN(sizeof(HookShared)), CACHELINEALIGN(slots_size()));
}

static void
slot_initialize(ExecSlot *slot, TickRate rate)
{
	memset(slot, 0, sizeof(ExecSlot));
	pg_atomic_init_u64(&slot->rate, rate);
	pg_atomic_init_u64(&slot->errors, 0);
	pg_atomic_init_u64(&slot->time_ns, 0);
	pg_atomic_init_u64(&slot->rows, 0);
	for (int b = 0; b < HEAL_LATENCY_BUCKETS; b++)
		pg_atomic_init_u64(&slot->latency[b], 0);
}

void
hooks_shmem_startup(bool found)
{
	bool		present;
	TickRate	rate;

	hook_shared = ShmemInitStruct("pg_heal hooks", sizeof(HookShared), &present);
	exec_slots = ShmemInitStruct("pg_heal executor slots", slots_size(), &present);
	if (found)
		return;

	memset(hook_shared, 0, sizeof(HookShared));
	for (int i = 0; i < REFUSALS; i++)
		pg_atomic_init_u64(&hook_shared->last_refusal_wake[i], 0);
	SpinLockInit(&hook_shared->mutex);
	rate = ticks_calibrate();
	hook_shared->n_slots = slot_count();
	for (int i = 0; i < hook_shared->n_slots; i++)
		slot_initialize(&exec_slots[i].slot, rate);
}

/*---- Wake-ups ----*/

/* Ask for a look, unless somebody has and the healer has not answered yet. */
void
hooks_request_look(void)
{
	if (pg_atomic_read_u32(&heal_shared->wake_wanted) != 0)
		return;
	if (pg_atomic_exchange_u32(&heal_shared->wake_wanted, 1) == 0)
		healer_wake();
}

/* The same for events a stranger can cause at will. */
static void
request_look_for_refusal(Refusal kind)
{
	pg_atomic_uint64 *last_wake = &hook_shared->last_refusal_wake[kind];
	uint64		now = (uint64) GetCurrentTimestamp();
	uint64		last = pg_atomic_read_u64(last_wake);

	/* A clock set back makes the difference huge, which is no harm. */
	if (now - last < REFUSAL_WAKE_INTERVAL_US)
		return;
	if (pg_atomic_compare_exchange_u64(last_wake, &last, now))
		hooks_request_look();
}

/*---- Executor ----*/

/* A single writer needs no atomic addition. */
static inline void
slot_add(pg_atomic_uint64 *counter, uint64 amount)
{
	pg_atomic_write_u64(counter, pg_atomic_read_u64(counter) + amount);
}

/* Bucket b holds [2^b, 2^(b+1)) microseconds, the first one also 0. */
static inline int
latency_bucket(uint64 us)
{
	if (us < 2)
		return 0;
	return Min(pg_leftmost_one_pos64(us), HEAL_LATENCY_BUCKETS - 1);
}

/* The running statement is over: write it down and forget it. */
static void
exec_record(bool failed)
{
	uint64		ns = ticks_ns(running_rate, running_since, ticks_now(running_rate));

	slot_add(&my_slot->time_ns, ns);
	slot_add(&my_slot->latency[latency_bucket(ns / 1000)], 1);
	if (failed)
		slot_add(&my_slot->errors, 1);

	running = NULL;
}

/* Where past statements of a database are summed up; under the mutex. */
static ExecDatabase *
exec_database(Oid database)
{
	ExecDatabase *entry;

	for (int i = 0; i < hook_shared->n_databases; i++)
	{
		if (hook_shared->databases[i].database == database)
			return &hook_shared->databases[i];
	}

	if (hook_shared->n_databases < EXEC_DATABASES)
		entry = &hook_shared->databases[hook_shared->n_databases++];
	else
	{
		entry = &hook_shared->databases[EXEC_DATABASES - 1];
		database = InvalidOid;
	}
	entry->database = database;
	return entry;
}

static uint64
slot_calls(ExecSlot *slot)
{
	uint64		calls = 0;

	for (int b = 0; b < HEAL_LATENCY_BUCKETS; b++)
		calls += pg_atomic_read_u64(&slot->latency[b]);
	return calls;
}

/* Make the slot this database's; once per backend, mostly with nothing to do. */
static void
slot_adopt(ExecSlot *slot, Oid database)
{
	uint64		calls = slot_calls(slot);
	uint64		errors = pg_atomic_read_u64(&slot->errors);
	uint64		time_ns = pg_atomic_read_u64(&slot->time_ns);

	if (slot->database == database)
		return;

	SpinLockAcquire(&hook_shared->mutex);
	if (calls != slot->calls_before)
	{
		ExecDatabase *past = exec_database(slot->database);

		past->calls += calls - slot->calls_before;
		past->errors += errors - slot->errors_before;
		past->time_ns += time_ns - slot->time_ns_before;
	}
	slot->database = database;
	slot->calls_before = calls;
	slot->errors_before = errors;
	slot->time_ns_before = time_ns;
	SpinLockRelease(&hook_shared->mutex);
}

/* Find this backend's slot; auxiliary processes have none. */
static bool
exec_attach(void)
{
	int			procno;

	if (!shmem_usable() || hook_shared == NULL || MyProc == NULL)
		return false;

	procno = compat_my_procno();
	if (procno < 0 || procno >= hook_shared->n_slots)
		return false;

	slot_adopt(&exec_slots[procno].slot, MyDatabaseId);
	my_slot = &exec_slots[procno].slot;
	return true;
}

/*
 * Did a client send this statement? Rows of SPI, SQL functions and parallel
 * workers go elsewhere. Two destinations leave it open and the portal tells:
 * statements without rows sent by the extended protocol go nowhere, as do some
 * of SQL functions; INSERT ... RETURNING and its like go to a tuplestore, as
 * does a function's RETURN QUERY.
 */
static bool
is_top_level(const QueryDesc *query_desc)
{
	if (query_desc->dest == NULL)
		return false;

	switch (query_desc->dest->mydest)
	{
		case DestRemote:
		case DestRemoteExecute:
		case DestRemoteSimple:
		case DestIntoRel:
		case DestCopyOut:
		case DestTransientRel:
			return true;
		case DestNone:
			return ActivePortal != NULL &&
				ActivePortal->strategy == PORTAL_MULTI_QUERY &&
				list_member_ptr(ActivePortal->stmts, query_desc->plannedstmt);
		case DestTuplestore:
			return ActivePortal != NULL &&
				(ActivePortal->strategy == PORTAL_ONE_RETURNING ||
				 ActivePortal->strategy == PORTAL_ONE_MOD_WITH);
		default:
			return false;
	}
}

/*
 * AFTER triggers (foreign keys among them) run in ExecutorFinish. That follows
 * at once for statements that change rows, but may be a long way off for a
 * cursor.
 */
static inline bool
ends_in_finish(const QueryDesc *query_desc)
{
	return query_desc->operation != CMD_SELECT ||
		query_desc->plannedstmt->hasModifyingCTE;
}

/* The rows of COPY are counted by its own hook, with those that have no plan. */
static inline bool
goes_to_client(const QueryDesc *query_desc)
{
	const CommandDest dest = query_desc->dest->mydest;

	return dest == DestRemote || dest == DestRemoteExecute || dest == DestRemoteSimple;
}

static inline void
run_next(COMPAT_EXECUTOR_RUN_ARGS)
{
	if (prev_executor_run)
		prev_executor_run(COMPAT_EXECUTOR_RUN_PASS);
	else
		standard_ExecutorRun(COMPAT_EXECUTOR_RUN_PASS);
}

static void
heal_executor_run(COMPAT_EXECUTOR_RUN_ARGS)
{
	if (running != NULL ||
		!is_top_level(query_desc) ||
		(my_slot == NULL && !exec_attach()))
	{
		run_next(COMPAT_EXECUTOR_RUN_PASS);
		return;
	}

	running = query_desc;
	running_level = GetCurrentTransactionNestLevel();
	running_rate = pg_atomic_read_u64(&my_slot->rate);
	running_since = ticks_now(running_rate);

	run_next(COMPAT_EXECUTOR_RUN_PASS);

	if (!ends_in_finish(query_desc))
	{
		if (goes_to_client(query_desc))
			slot_add(&my_slot->rows, query_desc->estate->es_processed);
		exec_record(false);
	}
}

static void
heal_executor_finish(QueryDesc *query_desc)
{
	if (prev_executor_finish)
		prev_executor_finish(query_desc);
	else
		standard_ExecutorFinish(query_desc);

	if (running == query_desc)
	{
		exec_record(false);
		object_note_change(query_desc);
	}
}

/* The end of a transaction is the end of whatever ran in it. */
static void
exec_xact_callback(XactEvent event, void *arg)
{
	if (running == NULL)
		return;

	switch (event)
	{
		case XACT_EVENT_ABORT:
			exec_record(true);
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			running = NULL;
			break;
		default:
			break;
	}
}

/*
 * A subtransaction deeper than the statement is an EXCEPTION block somewhere
 * inside it and the statement goes on; one at its own level is a savepoint of
 * the client's, and the statement has failed.
 */
static void
exec_subxact_callback(SubXactEvent event, SubTransactionId my_subid,
					  SubTransactionId parent_subid, void *arg)
{
	if (running != NULL &&
		event == SUBXACT_EVENT_ABORT_SUB &&
		GetCurrentTransactionNestLevel() <= running_level)
		exec_record(true);
}

/* Rows a COPY gave away. */
void
hooks_note_rows(uint64 rows)
{
	if (my_slot != NULL || exec_attach())
		slot_add(&my_slot->rows, rows);
}

/* What a backend has counted, with what others counted in its slot before. */
void
hooks_slot_counts(int procno, uint64 *rows, uint64 *statements)
{
	*rows = pg_atomic_read_u64(&exec_slots[procno].slot.rows);
	*statements = slot_calls(&exec_slots[procno].slot);
}

/* Go back to the clock when the counter no longer agrees with it. */
void
hooks_check_ticks(void)
{
	if (hook_shared == NULL || pg_atomic_read_u64(&exec_slots[0].slot.rate) == 0 || !ticks_astray())
		return;
	for (int i = 0; i < hook_shared->n_slots; i++)
		pg_atomic_write_u64(&exec_slots[i].slot.rate, 0);
	ereport(LOG,
			(errmsg("pg_heal measures statements by the system clock from now on"),
			 errdetail("The time stamp counter does not agree with it any more.")));
}

void
hooks_read_exec(HealExecTotals *totals)
{
	memset(totals, 0, sizeof(*totals));
	if (hook_shared == NULL)
		return;

	for (int i = 0; i < hook_shared->n_slots; i++)
	{
		ExecSlot   *slot = &exec_slots[i].slot;
		uint64		calls = slot_calls(slot);

		if (calls == 0)
			continue;
		totals->calls += calls;
		totals->errors += pg_atomic_read_u64(&slot->errors);
		totals->time_us += pg_atomic_read_u64(&slot->time_ns) / 1000;
		for (int b = 0; b < HEAL_LATENCY_BUCKETS; b++)
			totals->latency[b] += pg_atomic_read_u64(&slot->latency[b]);
	}
}

/* Calls, errors and time of one database; its latency is not kept apart. */
void
hooks_read_exec_database(Oid database, HealExecTotals *totals)
{
	uint64		time_ns = 0;

	memset(totals, 0, sizeof(*totals));
	if (hook_shared == NULL)
		return;

	SpinLockAcquire(&hook_shared->mutex);
	for (int i = 0; i < hook_shared->n_databases; i++)
	{
		ExecDatabase *past = &hook_shared->databases[i];

		if (past->database != database)
			continue;
		totals->calls += past->calls;
		totals->errors += past->errors;
		time_ns += past->time_ns;
	}
	for (int i = 0; i < hook_shared->n_slots; i++)
	{
		ExecSlot   *slot = &exec_slots[i].slot;

		if (slot->database != database)
			continue;
		totals->calls += slot_calls(slot) - slot->calls_before;
		totals->errors += pg_atomic_read_u64(&slot->errors) - slot->errors_before;
		time_ns += pg_atomic_read_u64(&slot->time_ns) - slot->time_ns_before;
	}
	SpinLockRelease(&hook_shared->mutex);

	totals->time_us = time_ns / 1000;
}

/*---- Server log ----*/

static inline void
count(HealLogCounter counter)
{
	pg_atomic_fetch_add_u64(&heal_shared->log_counters[counter], 1);
}

static inline bool
starts_with(const char *text, const char *prefix)
{
	return text != NULL && strncmp(text, prefix, strlen(prefix)) == 0;
}

/* message_id is the untranslated format, whatever lc_messages says. */
static void
note_log_line(const ErrorData *edata)
{
	if (starts_with(edata->message_id, WAITING_FOR_LOCK))
	{
		count(HEAL_LOG_LOCK_WAITS);
		hooks_request_look();
	}
	else if (starts_with(edata->message_id, CHECKPOINTS_TOO_FREQUENT))
		count(HEAL_LOG_CHECKPOINTS_TOO_FREQUENT);
}

/* What matters at any level: a full disk and damaged data. */
static void
note_damage(int sqlstate)
{
	switch (sqlstate)
	{
		case ERRCODE_DISK_FULL:
			count(HEAL_LOG_DISK_FULL);
			hooks_request_look();
			break;
		case ERRCODE_DATA_CORRUPTED:
		case ERRCODE_INDEX_CORRUPTED:
			count(HEAL_LOG_CORRUPTION);
			hooks_request_look();
			break;
		default:
			break;
	}
}

/* Refused by pg_hba.conf or an unknown role: the other hook was not called. */
static void
note_refused_login(void)
{
	if (!authentication_counted)
		pg_atomic_fetch_add_u64(&heal_shared->auth_failures, 1);
	authentication_counted = true;
	request_look_for_refusal(REFUSAL_LOGIN);
}

static void
note_error_class(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_DATA_EXCEPTION:
			count(HEAL_LOG_BAD_INPUT);
			break;
		case ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION:
			count(HEAL_LOG_CONSTRAINT);
			break;
		case ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION:
			count(HEAL_LOG_SYNTAX_OR_NAME);
			break;
		default:
			break;
	}
}

static void
note_error(int sqlstate)
{
	count(HEAL_LOG_ERRORS);

	switch (sqlstate)
	{
		case ERRCODE_TOO_MANY_CONNECTIONS:
			count(HEAL_LOG_TOO_MANY_CONNECTIONS);
			request_look_for_refusal(REFUSAL_SLOTS);
			break;
		case ERRCODE_T_R_DEADLOCK_DETECTED:
			hooks_request_look();
			break;
		case ERRCODE_QUERY_CANCELED:
			count(HEAL_LOG_CANCELED);
			break;
		case ERRCODE_INSUFFICIENT_PRIVILEGE:
			count(HEAL_LOG_PERMISSION);
			break;
		case ERRCODE_INVALID_PASSWORD:
		case ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION:
			note_refused_login();
			break;
		default:
			note_error_class(sqlstate);
			break;
	}
}

/*
 * A backend refused with 53300 comes here without a PGPROC: nothing below may
 * need one.
 */
static void
heal_emit_log(ErrorData *edata)
{
	static bool inside = false;

	if (!inside && CritSectionCount == 0 && shmem_usable() && hook_shared != NULL)
	{
		inside = true;
		if (edata->elevel == LOG)
			note_log_line(edata);
		note_damage(edata->sqlerrcode);
		if (edata->elevel >= ERROR &&
			(ERRCODE_TO_CATEGORY(edata->sqlerrcode) == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION ||
			 edata->sqlerrcode == ERRCODE_DATA_CORRUPTED || edata->sqlerrcode == ERRCODE_INDEX_CORRUPTED))
			violations_note(edata);
		if (edata->elevel >= ERROR)
		{
			note_error(edata->sqlerrcode);
			client_note_error(edata);
		}
		inside = false;
	}

	if (prev_emit_log)
		prev_emit_log(edata);
}

/*---- Authentication ----*/

/* Numeric address, "" for a local socket. */
static void
client_address(Port *port, char *addr, size_t size)
{
	addr[0] = '\0';
	if (port->raddr.addr.ss_family == AF_UNIX)
		return;
	if (pg_getnameinfo_all(&port->raddr.addr, port->raddr.salen,
						   addr, size, NULL, 0,
						   NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		strlcpy(addr, port->remote_host ? port->remote_host : "", size);
}

/* Which of two slots is the smaller loss: no failures first, then the older. */
static bool
auth_slot_less_valuable(const HealAuthSlot *a, const HealAuthSlot *b)
{
	if ((a->failures == 0) != (b->failures == 0))
		return a->failures == 0;
	return a->last_at < b->last_at;
}

/* The slot of this role and address, taken from another pair if need be. */
static HealAuthSlot *
auth_slot(const char *role, const char *addr)
{
	HealAuthSlot *victim = &heal_shared->auth[0];

	for (int i = 0; i < HEAL_AUTH_SLOTS; i++)
	{
		HealAuthSlot *slot = &heal_shared->auth[i];

		if (slot->last_at != 0 &&
			strcmp(slot->role, role) == 0 &&
			strcmp(slot->addr, addr) == 0)
			return slot;
		if (auth_slot_less_valuable(slot, victim))
			victim = slot;
	}

	memset(victim, 0, sizeof(HealAuthSlot));
	strlcpy(victim->role, role, sizeof(victim->role));
	strlcpy(victim->addr, addr, sizeof(victim->addr));
	return victim;
}

/* Write down one attempt; true if it makes a burst of failures, or ends one. */
static bool
auth_note(const char *role, const char *addr, bool success)
{
	TimestampTz now = GetCurrentTimestamp();
	HealAuthSlot *slot;
	bool		burst = false;

	LWLockAcquire(heal_shared->auth_lock, LW_EXCLUSIVE);
	slot = auth_slot(role, addr);
	if (success)
	{
		slot->successes++;
		if (slot->run >= AUTH_BURST_FAILURES)
			slot->broken_in++;
		burst = slot->run >= AUTH_BURST_FAILURES;
		slot->run = 0;
	}
	else
	{
		slot->failures++;
		slot->run++;
		burst = slot->failures % AUTH_BURST_FAILURES == 0 &&
			now - slot->last_at < AUTH_BURST_GAP_US;
	}
	slot->last_at = now;
	heal_shared->auth_changes++;
	LWLockRelease(heal_shared->auth_lock);

	return burst;
}

static void
heal_client_authentication(Port *port, int status)
{
	char		role[NAMEDATALEN];
	char		addr[sizeof(((HealAuthSlot *) NULL)->addr)];

	if (prev_client_authentication)
		prev_client_authentication(port, status);

	/* A client that left without answering (to ask for a password) is no failure. */
	if (status == STATUS_EOF || !shmem_usable() || MyProc == NULL)
		return;

	/* Same truncation as the table's, so that a long name finds its slot. */
	strlcpy(role, port->user_name ? port->user_name : "", sizeof(role));
	client_address(port, addr, sizeof(addr));

	if (status != STATUS_OK)
	{
		pg_atomic_fetch_add_u64(&heal_shared->auth_failures, 1);
		authentication_counted = true;
	}

	if (auth_note(role, addr, status == STATUS_OK))
		hooks_request_look();
	if (status == STATUS_OK)
		client_attach(port, role, addr);
}

/*---- Installation ----*/

void
hooks_install(void)
{
	prev_executor_run = ExecutorRun_hook;
	ExecutorRun_hook = heal_executor_run;
	prev_executor_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = heal_executor_finish;
	prev_emit_log = emit_log_hook;
	emit_log_hook = heal_emit_log;
	prev_client_authentication = ClientAuthentication_hook;
	ClientAuthentication_hook = heal_client_authentication;

	RegisterXactCallback(exec_xact_callback, NULL);
	RegisterSubXactCallback(exec_subxact_callback, NULL);
}
