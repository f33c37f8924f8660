/*-------------------------------------------------------------------------
 *
 * shmem.c
 *	  The shared memory of pg_heal and how other processes reach the healer.
 *
 * Everything is sized at compile time (but for the executor slots of hooks.c,
 * which follow MaxBackends), so that no remedy waits for memory. The lock that
 * protects a field is named in pg_heal.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/pg_shmem.h"
#include "storage/proc.h"
#include "storage/shmem.h"

#include "compat.h"
#include "pg_heal.h"

#define HEAL_TRANCHE "pg_heal"

HealShared *heal_shared = NULL;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

/* Both live in the postmaster only. */
static bool started_after_crash = false;
static bool memory_was_set_up = false;

/* Ask for space and locks. */
static void
shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();

	RequestAddinShmemSpace(MAXALIGN(sizeof(HealShared)));
	RequestAddinShmemSpace(hooks_shmem_size());
	RequestAddinShmemSpace(security_shmem_size());
	RequestAddinShmemSpace(clients_shmem_size());
	RequestAddinShmemSpace(violations_shmem_size());
	RequestNamedLWLockTranche(HEAL_TRANCHE, 3);
}

/* First contents of a fresh segment. */
static void
shmem_initialize(HealShared *shared)
{
	LWLockPadded *locks = GetNamedLWLockTranche(HEAL_TRANCHE);

	memset(shared, 0, sizeof(HealShared));
	shared->lock = &locks[0].lock;
	shared->auth_lock = &locks[1].lock;
	shared->healer_pgprocno = -1;
	strlcpy(shared->healer_state, "the launcher has not started yet", HEAL_TEXT);

	/*
	 * After a crash of one backend the postmaster stays and sets shared
	 * memory up again; after a crash of the whole server the control file
	 * said so before recovery began.
	 */
	shared->crash_recovered = started_after_crash || memory_was_set_up;

	pg_atomic_init_u32(&shared->wake_wanted, 0);
	pg_atomic_init_u64(&shared->config_generation, 0);
	for (int i = 0; i < HEAL_LOG_COUNTERS; i++)
		pg_atomic_init_u64(&shared->log_counters[i], 0);
	pg_atomic_init_u64(&shared->auth_failures, 0);
	for (int i = 0; i < HEAL_MAX_JOBS; i++)
	{
		pg_atomic_init_u32(&shared->jobs[i].state, HEAL_JOB_FREE);
		pg_atomic_init_u32(&shared->worker_pids[i], 0);
	}
}

/* Create or attach. */
static void
shmem_startup(void)
{
	bool		found;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	heal_shared = NULL;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	heal_shared = ShmemInitStruct("pg_heal", sizeof(HealShared), &found);
	if (!found)
		shmem_initialize(heal_shared);
	hooks_shmem_startup(found);
	security_shmem_startup(found);
	clients_shmem_startup(found, &GetNamedLWLockTranche(HEAL_TRANCHE)[2].lock);
	violations_shmem_startup(found);
	LWLockRelease(AddinShmemInitLock);

	memory_was_set_up = true;
}

/*
 * Did the server go down without a clean shutdown? Only the control file knows,
 * and only until recovery rewrites it. A restored base backup looks like a
 * crash, which is right: it deserves the same calm.
 */
static bool
server_had_crashed(void)
{
	ControlFileData *control;
	bool		crc_ok;
	bool		crashed;

	control = get_controlfile(DataDir, &crc_ok);
	crashed = crc_ok &&
		control->state != DB_SHUTDOWNED &&
		control->state != DB_SHUTDOWNED_IN_RECOVERY;
	pfree(control);
	return crashed;
}

void
shmem_init(void)
{
	started_after_crash = server_had_crashed();

	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

/*
 * May this process touch the segment now? The postmaster runs hooks when it
 * logs, also after it has detached; the log collector never has the segment;
 * a process that is exiting may be about to lose it.
 */
bool
shmem_usable(void)
{
	return heal_shared != NULL &&
		IsUnderPostmaster &&
		!proc_exit_inprogress &&
		UsedShmemSegAddr != NULL &&
		MyBackendType != B_LOGGER;
}

void
shmem_check(void)
{
	if (heal_shared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_heal is not loaded at server start"),
				 errhint("Add pg_heal to shared_preload_libraries in postgresql.conf (shared_preload_libraries = 'pg_heal') and restart the server.")));
}

/*
 * healer_pgprocno is read without its lock: log and authentication hooks may
 * run in a process that cannot take one. A stale number at worst wakes somebody
 * for nothing, which every latch owner must bear.
 */
void
healer_wake(void)
{
	int			procno;

	if (!shmem_usable() || ProcGlobal == NULL)
		return;

	procno = *((volatile int *) &heal_shared->healer_pgprocno);
	if (procno < 0 || procno >= (int) ProcGlobal->allProcCount)
		return;

	SetLatch(&ProcGlobal->allProcs[procno].procLatch);
}
