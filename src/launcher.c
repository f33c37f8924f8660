/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  Static background worker that starts, stops and restarts the healer.
 *
 * The healer stays connected to pg_heal.database, and a connected worker keeps
 * that database from being dropped. So the one process that lives as long as
 * the server has no database: it can end the healer when pg_heal.enabled is
 * turned off or pg_heal.database changes, and start it again.
 *
 * The launcher leaves with a nonzero status, so that the postmaster starts it
 * again, and takes the healer with it, so that there is never a second one.
 *
 * A healer that ends is started again after 1, 2, 4, ... 60 seconds. One that
 * crashes, or whose worker does, takes the whole server through crash recovery,
 * and shared memory with it; therefore the number of crashes in a row is kept in a file of one byte,
 * raised before the healer starts and put back when it ends in an orderly way.
 * After two crashes the healer is told to observe only, after three it stays
 * down.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "common/file_perm.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/pidfile.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "pg_heal.h"

#define LAUNCHER_RESTART_S 10
#define MAX_BACKOFF_MS (60 * 1000)

/* A healer that ran this long starts its back-off anew. */
#define STEADY_RUN_MS (60 * 1000)

/* Time without a crash that makes up for former ones; see crashes_forgiven. */
#define CLEAN_RUN_MS (5 * 60 * 1000)
#define CLEAN_OBSERVING_MS (60 * 60 * 1000)

#define CRASHES_STAY_DOWN 3

/* How long to wait for the healer of a former launcher. */
#define FORMER_HEALER_MS (30 * 1000)

#define POSTMASTER_PID_FILE "postmaster.pid"
#define CRASH_DIRECTORY "pg_heal"
#define CRASH_FILE CRASH_DIRECTORY "/crashes"

typedef enum DatabaseState
{
	DATABASE_READY,
	DATABASE_MISSING,
	DATABASE_CLOSED				/* allows no connections */
} DatabaseState;

/* The healer as the launcher sees it; handle NULL: there is none. */
typedef struct Healer
{
	BackgroundWorkerHandle *handle;
	char		database[NAMEDATALEN];
	bool		running;		/* seen with a pid */
	bool		stopping;
	TimestampTz started_at;
	TimestampTz next_start;		/* not before */
	int			backoff_ms;
} Healer;

static Healer healer;
static TimestampTz launcher_started_at;

/* Said in the log already. */
static char reason_said[HEAL_TEXT];
static bool stays_down_said = false;

/* Read by the SIGQUIT handler. */
static volatile pid_t running_pid = 0;
static volatile int crashes = 0;
static volatile int crash_file = -1;

/*---- Crash count ----*/

/*
 * One byte, written in place: works on a full disk, and in a signal handler.
 * It needs no fsync, for it guards against crashes of processes.
 */
static void
crash_file_write(int count)
{
	char		digit = '0' + Min(count, 9);

	if (crash_file >= 0 && pwrite(crash_file, &digit, 1, 0) != 1)
	{
		/* Nothing to be done: the healer then runs without this guard. */
	}
}

/*
 * Open the file and take the count over. Without the file (a full disk, say)
 * healing goes on, for it may be what the disk needs.
 */
static void
crash_file_open(void)
{
	char		digit = '0';

	if (MakePGDirectory(CRASH_DIRECTORY) < 0 && errno != EEXIST)
		ereport(WARNING,
				(errcode_for_file_access(),
				 errmsg("could not create directory \"%s\": %m", CRASH_DIRECTORY)));

	crash_file = BasicOpenFile(CRASH_FILE, O_RDWR | O_CREAT | PG_BINARY);
	if (crash_file < 0)
	{
		ereport(WARNING,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", CRASH_FILE),
				 errdetail("Crashes of the healer are not counted.")));
		return;
	}

	ReserveExternalFD();

	if (pread(crash_file, &digit, 1, 0) == 1 && digit >= '0' && digit <= '9')
		crashes = digit - '0';
}

/* Set the count, in memory, in the file and for the healer to see. */
static void
crashes_set(int count)
{
	crashes = count;
	crash_file_write(count);

	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	heal_shared->crashes_in_row = count;
	LWLockRelease(heal_shared->lock);
}

/* Gone, without having been told to. The postmaster reaps a culprit at once. */
static bool
process_crashed(pid_t pid)
{
	return pid > 0 && kill(pid, 0) != 0;
}

/* Was it the healer, or a worker of its? */
static bool
one_of_ours_crashed(void)
{
	/* One that has only just been started may have crashed unseen. */
	bool		starting = healer.handle != NULL && running_pid == 0;

	if ((starting || process_crashed(running_pid)) && !heal_shared->healer_told_to_quit)
		return true;
	for (int i = 0; i < HEAL_MAX_JOBS; i++)
	{
		if (process_crashed((pid_t) pg_atomic_read_u32(&heal_shared->worker_pids[i])))
			return true;
	}
	return false;
}

/*
 * Immediate shutdown, or some process crashed. If it was none of ours the start
 * of the healer is taken off the count again: three crashes of others must not
 * silence it. The postmaster has reaped the culprit before it signals the rest.
 * Only async-signal-safe calls from here on.
 */
static void
launcher_quit(SIGNAL_ARGS)
{
	if (!one_of_ours_crashed())
		crash_file_write(crashes);

	_exit(2);
}

/*---- Published state ----*/

static void
publish_no_healer(void)
{
	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	heal_shared->healer_pid = 0;
	heal_shared->healer_pgprocno = -1;
	LWLockRelease(heal_shared->lock);
}

static void
publish_launcher(void)
{
	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	heal_shared->launcher_pid = MyProcPid;
	heal_shared->crashes_in_row = crashes;
	/* Shared memory is new after each start; we run when recovery is over. */
	if (heal_shared->server_started_at == 0)
		heal_shared->server_started_at = launcher_started_at;
	LWLockRelease(heal_shared->lock);
}

/* What the launcher itself costs. */
static void
publish_launcher_use(void)
{
	struct rusage use;
	int64		cpu_us;
	int64		memory = MemoryContextMemAllocated(TopMemoryContext, true);

	getrusage(RUSAGE_SELF, &use);
	cpu_us = (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * USECS_PER_SEC +
		use.ru_utime.tv_usec + use.ru_stime.tv_usec;

	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	heal_shared->parts[HEAL_PART_LAUNCHER].cpu_us = cpu_us;
	heal_shared->parts[HEAL_PART_LAUNCHER].memory_bytes = memory;
	LWLockRelease(heal_shared->lock);
}

/*---- Starting ----*/

/*
 * Look the database up by scanning pg_database, as a process without a database
 * has no catalog cache to ask. A healer sent to a missing one would only log
 * FATAL after FATAL.
 */
static DatabaseState
look_up_database(const char *name)
{
	DatabaseState state = DATABASE_MISSING;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();

	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		if (strcmp(NameStr(form->datname), name) != 0)
			continue;
		state = form->datallowconn ? DATABASE_READY : DATABASE_CLOSED;
		break;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);

	CommitTransactionCommand();
	return state;
}

/* Is the healer of a former launcher still leaving? */
static bool
former_healer_lives(TimestampTz now)
{
	pid_t		pid;

	LWLockAcquire(heal_shared->lock, LW_SHARED);
	pid = heal_shared->healer_pid;
	LWLockRelease(heal_shared->lock);

	if (pid == 0 || BackendPidGetProc(pid) == NULL)
		return false;

	/* The number may by now be somebody else's. */
	return !TimestampDifferenceExceeds(launcher_started_at, now, FORMER_HEALER_MS);
}

/* Try again later, twice as late as the last time. */
static void
back_off(TimestampTz now)
{
	healer.backoff_ms = healer.backoff_ms == 0 ? 1000 : Min(healer.backoff_ms * 2, MAX_BACKOFF_MS);
	healer.next_start = TimestampTzPlusMilliseconds(now, healer.backoff_ms);
}

/* Say why there is no healer, in shared memory and (when new) in the log. */
static void
cannot_start(TimestampTz now, const char *reason, const char *hint)
{
	if (strcmp(reason_said, reason) != 0)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("healer is not started: %s", reason),
				 errhint("%s", hint)));
	strlcpy(reason_said, reason, sizeof(reason_said));
	publish_state(reason);
	back_off(now);
}

/* Is there any reason not to start it? */
static bool
may_start(TimestampTz now)
{
	char		reason[HEAL_TEXT];

	if (crashes >= CRASHES_STAY_DOWN)
	{
		snprintf(reason, sizeof(reason), "stays down after %d crashes in a row", crashes);
		publish_state(reason);
		if (!stays_down_said)
			ereport(WARNING,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("healer is not started: it %s", reason),
					 errhint("Set pg_heal.enabled to off and, when the cause is removed, to on again.")));
		stays_down_said = true;
		return false;
	}

	if (former_healer_lives(now))
	{
		healer.next_start = TimestampTzPlusMilliseconds(now, 200);
		return false;
	}

	switch (look_up_database(heal_database))
	{
		case DATABASE_READY:
			return true;
		case DATABASE_MISSING:
			snprintf(reason, sizeof(reason), "database \"%s\" does not exist", heal_database);
			break;
		case DATABASE_CLOSED:
			snprintf(reason, sizeof(reason), "database \"%s\" does not accept connections", heal_database);
			break;
	}
	cannot_start(now, reason, "Set pg_heal.database to the database that holds the extension and reload the configuration.");
	return false;
}

static void
describe_healer(BackgroundWorker *worker)
{
	memset(worker, 0, sizeof(*worker));
	snprintf(worker->bgw_name, BGW_MAXLEN, "pg_heal healer");
	snprintf(worker->bgw_type, BGW_MAXLEN, "pg_heal healer");
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	snprintf(worker->bgw_library_name, BGW_MAXLEN, "pg_heal");
	snprintf(worker->bgw_function_name, BGW_MAXLEN, "heal_healer_main");
	strlcpy(worker->bgw_extra, healer.database, BGW_EXTRALEN);
	worker->bgw_notify_pid = MyProcPid;
}

static void
start_healer(TimestampTz now)
{
	BackgroundWorker worker;
	MemoryContext old;
	bool		registered;

	if (!may_start(now))
		return;

	strlcpy(healer.database, heal_database, NAMEDATALEN);
	describe_healer(&worker);

	/* From here on the healer's own state is the one to show. */
	publish_no_healer();
	publish_state("");
	heal_shared->healer_told_to_quit = false;
	crash_file_write(crashes + 1);

	/* Transactions leave us in a context that does not last. */
	old = MemoryContextSwitchTo(TopMemoryContext);
	registered = RegisterDynamicBackgroundWorker(&worker, &healer.handle);
	MemoryContextSwitchTo(old);

	if (!registered)
	{
		healer.handle = NULL;
		crash_file_write(crashes);
		cannot_start(now, "no free background worker slot", "Raise max_worker_processes and restart the server.");
		return;
	}

	healer.running = false;
	healer.stopping = false;
	healer.started_at = now;
}

/*---- Watching and stopping ----*/

static void
stop_healer(void)
{
	TerminateBackgroundWorker(healer.handle);
	healer.stopping = true;
}

/* The healer has a pid. */
static void
healer_is_up(pid_t pid)
{
	running_pid = pid;
	if (healer.running)
		return;

	healer.running = true;
	reason_said[0] = '\0';
	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	heal_shared->healer_pid = pid;
	LWLockRelease(heal_shared->lock);
}

/* The healer has ended, and not by a crash, else we would not be here. */
static void
healer_is_gone(TimestampTz now)
{
	running_pid = 0;
	pfree(healer.handle);
	healer.handle = NULL;
	publish_no_healer();

	if (healer.stopping)
	{
		crashes_set(0);
		healer.backoff_ms = 0;
		healer.next_start = now;
		return;
	}

	crash_file_write(crashes);
	if (TimestampDifferenceExceeds(healer.started_at, now, STEADY_RUN_MS))
		healer.backoff_ms = 0;
	back_off(now);
	publish_state("the healer has ended and will be started again; see the server log");
}

/*
 * A healer that ran for a while is forgiven its former crashes. One that only
 * observed has not shown that acting is safe again: it must run longer.
 */
static int
clean_run_ms(void)
{
	return crashes >= HEAL_CRASHES_OBSERVE ? CLEAN_OBSERVING_MS : CLEAN_RUN_MS;
}

static bool
crashes_forgiven(TimestampTz now)
{
	return TimestampDifferenceExceeds(healer.started_at, now, clean_run_ms());
}

/* See what became of the healer. */
static void
watch_healer(TimestampTz now)
{
	pid_t		pid;

	switch (GetBackgroundWorkerPid(healer.handle, &pid))
	{
		case BGWH_STARTED:
			healer_is_up(pid);
			break;
		case BGWH_STOPPED:
			healer_is_gone(now);
			break;
		case BGWH_NOT_YET_STARTED:
		case BGWH_POSTMASTER_DIED:
			break;
	}
}

static bool
healer_wanted(void)
{
	return heal_enabled && (healer.handle == NULL || strcmp(healer.database, heal_database) == 0);
}

/* Turned off by hand: also the way to leave "stays down" behind. */
static void
rest(void)
{
	if (crashes != 0)
		crashes_set(0);
	stays_down_said = false;
	healer.backoff_ms = 0;
	healer.next_start = 0;
	publish_state("pg_heal.enabled is off");
}

/* One round: bring what is in line with what should be. */
static void
launcher_step(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (healer.handle != NULL)
		watch_healer(now);

	if (healer.handle != NULL)
	{
		if (!healer_wanted() && !healer.stopping)
			stop_healer();
		else if (crashes != 0 && healer.running && !healer.stopping && crashes_forgiven(now))
		{
			crashes_set(0);
			crash_file_write(1);	/* it is still running */
		}
	}
	else if (!heal_enabled)
		rest();
	else if (now >= healer.next_start)
		start_healer(now);

	publish_launcher_use();
}

/* Time until the next step is due without being woken, -1 none. */
static long
time_to_sleep(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz due;

	if (healer.handle != NULL)
	{
		if (healer.stopping || !healer.running)
			return 1000;		/* in case a notification got lost */
		if (crashes == 0)
			return -1;
		due = TimestampTzPlusMilliseconds(healer.started_at, clean_run_ms() + 1);
		if (due <= now)
			return -1;
	}
	else if (heal_enabled && crashes < CRASHES_STAY_DOWN)
		due = healer.next_start;
	else
		return -1;

	return Max(TimestampDifferenceMilliseconds(now, due), 10);
}

/*---- Process ----*/

/* The postmaster writes into its pid file that it is shutting down. */
static bool
server_is_stopping(void)
{
	char		line[MAXPGPATH];
	bool		stopping = false;
	FILE	   *file = AllocateFile(POSTMASTER_PID_FILE, "r");

	if (file == NULL)
		return false;
	for (int i = 1; i <= LOCK_FILE_LINE_PM_STATUS && fgets(line, sizeof(line), file); i++)
	{
		if (i == LOCK_FILE_LINE_PM_STATUS)
			stopping = strncmp(line, PM_STATUS_STOPPING, strlen(PM_STATUS_STOPPING)) == 0;
	}
	FreeFile(file);
	return stopping;
}

/*
 * Told to go. By the postmaster for good, and quietly; by anybody else only to
 * come back, which takes a nonzero status.
 */
static void
leave_if_told(void)
{
	if (ProcDiePending && server_is_stopping())
		proc_exit(0);
	CHECK_FOR_INTERRUPTS();
}

/* Whatever ends us ends the healer. */
static void
launcher_exit(int code, Datum arg)
{
	/* An error may have brought us here from anywhere. */
	LWLockReleaseAll();

	if (healer.handle != NULL)
	{
		TerminateBackgroundWorker(healer.handle);
		crash_file_write(crashes);
	}

	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	heal_shared->launcher_pid = 0;
	strlcpy(heal_shared->healer_state, "the launcher has ended and will be started again", HEAL_TEXT);
	LWLockRelease(heal_shared->lock);
}

void
heal_launcher_main(Datum arg)
{
	uint32		wait_event = 0;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	pqsignal(SIGQUIT, launcher_quit);
	BackgroundWorkerUnblockSignals();

	/* Shared catalogs only. */
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname("pg_heal launcher");

	launcher_started_at = GetCurrentTimestamp();
	before_shmem_exit(launcher_exit, (Datum) 0);
	crash_file_open();
	publish_launcher();

	for (;;)
	{
		long		timeout;

		leave_if_told();

		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			healer.backoff_ms = 0;
			healer.next_start = 0;
		}

		launcher_step();

		timeout = time_to_sleep();
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout >= 0 ? WL_TIMEOUT : 0),
						 timeout,
						 compat_wait_event(&wait_event, "PgHealLauncherMain"));
		ResetLatch(MyLatch);
	}
}

void
launcher_register(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	snprintf(worker.bgw_name, BGW_MAXLEN, "pg_heal launcher");
	snprintf(worker.bgw_type, BGW_MAXLEN, "pg_heal launcher");
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = LAUNCHER_RESTART_S;
	snprintf(worker.bgw_library_name, BGW_MAXLEN, "pg_heal");
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "heal_launcher_main");

	RegisterBackgroundWorker(&worker);
}
