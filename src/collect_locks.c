/*-------------------------------------------------------------------------
 *
 * collect_locks.c
 *	  The locks somebody waits for, with their holders and their queues.
 *
 * The lock manager's own reports copy the whole lock table under all of its
 * partition locks, or do so once per waiter. Here the waiting processes are
 * found without any lock, grouped by the lock they wait for, and each such
 * lock is copied once, under the one partition lock that protects it: time is
 * linear in waiters and holders, and a server where nobody waits costs one
 * pass over the process array.
 *
 * Only waited-for locks matter, so fast-path locks need no look: whoever waits
 * behind one has moved it to the shared table first.
 *
 * Locks are copied one after the other, not at one moment. A process that
 * moves on meanwhile is kept where it was seen first.
 *
 *-------------------------------------------------------------------------
 */
#include "pg_heal.h"

#include "access/twophase.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/wait_event.h"

/* Limits of one look; an outage has long been seen when they are reached. */
#define MAX_WAITERS 4000
#define MAX_HOLDERS 16384

#define WAIT_CLASS_MASK 0xFF000000U

/* locks_known: whole graph, or cut off at the limits above */
#define GRAPH_COMPLETE 1
#define GRAPH_CUT 2

/* Defined by the other collectors. */

typedef struct WaitingProc
{
	LOCK	   *lock;			/* as read without lock: to be verified */
	PGPROC	   *proc;
} WaitingProc;

/* Everything is allocated before the first lock is taken. */
typedef struct LockReader
{
	WaitingProc *waiting;		/* by lock */
	uint32		n_waiting;

	hc_lock    *locks;
	LOCKTAG    *tags;			/* of locks */
	uint32		n_locks;

	hc_lock_holder *holders;
	TransactionId *holder_xids; /* of holders that are prepared transactions */
	uint32		n_holders;
	uint32		max_holders;

	hc_lock_waiter *waiters;
	uint32		n_waiters;
	uint32		max_waiters;
	bool	   *seen;			/* by index of process: is a waiter already */

	bool		has_prepared;
	bool		cut;
} LockReader;

/* ---- the lists of a LOCK, whose types changed in 16 ---- */

#if PG_VERSION_NUM >= 160000
#define foreach_proclock(proclock, lock) \
	dlist_iter	iter; \
	dlist_foreach(iter, &(lock)->procLocks) \
		if (((proclock) = dlist_container(PROCLOCK, lockLink, iter.cur)) != NULL)

#define foreach_queued(proc, lock) \
	dlist_iter	iter; \
	dclist_foreach(iter, &(lock)->waitProcs) \
		if (((proc) = dlist_container(PGPROC, links, iter.cur)) != NULL)
#else
static PROCLOCK *
next_proclock(LOCK *lock, PROCLOCK *current)
{
	return (PROCLOCK *) SHMQueueNext(&lock->procLocks, current != NULL ? &current->lockLink : &lock->procLocks,
									 offsetof(PROCLOCK, lockLink));
}

#define foreach_proclock(proclock, lock) \
	for ((proclock) = next_proclock(lock, NULL); (proclock) != NULL; (proclock) = next_proclock(lock, proclock))

#define foreach_queued(proc, lock) \
	int			left = (lock)->waitProcs.size; \
	for ((proc) = (PGPROC *) (lock)->waitProcs.links.next; left > 0; \
		 (proc) = (PGPROC *) (proc)->links.next, left--)
#endif

static int
compare_waiting(const void *a, const void *b)
{
	uintptr_t	left = (uintptr_t) ((const WaitingProc *) a)->lock;
	uintptr_t	right = (uintptr_t) ((const WaitingProc *) b)->lock;

	return (left > right) - (left < right);
}

static void
find_waiting(LockReader *reader)
{
	reader->waiting = palloc(sizeof(WaitingProc) * ProcGlobal->allProcCount);
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		PGPROC	   *proc = &ProcGlobal->allProcs[i];
		LOCK	   *lock = *(LOCK *volatile *) &proc->waitLock;

		if (lock != NULL)
			reader->waiting[reader->n_waiting++] = (WaitingProc) {.lock = lock,.proc = proc};
	}
	qsort(reader->waiting, reader->n_waiting, sizeof(WaitingProc), compare_waiting);
}

/* A process waits for one lock at most, so the numbers of both are bounded. */
static void
allocate_results(LockReader *reader)
{
	reader->locks = palloc0(sizeof(hc_lock) * reader->n_waiting);
	reader->tags = palloc(sizeof(LOCKTAG) * reader->n_waiting);
	reader->max_waiters = Min(ProcGlobal->allProcCount, MAX_WAITERS);
	reader->waiters = palloc(sizeof(hc_lock_waiter) * reader->max_waiters);
	reader->max_holders = Min(1024 + 2 * (ProcGlobal->allProcCount + max_prepared_xacts), MAX_HOLDERS);
	reader->holders = palloc(sizeof(hc_lock_holder) * reader->max_holders);
	reader->holder_xids = palloc(sizeof(TransactionId) * reader->max_holders);
	reader->seen = palloc0(sizeof(bool) * ProcGlobal->allProcCount);
}

/* ---- under the partition lock: no allocation, no error ---- */

/*
 * Is this still the lock that was found? The memory of a lock can be released
 * and used for another one while it is looked at without lock. A process that
 * waits for it shows that it is in use, and only then its tag tells that it
 * belongs to the partition held: in this order.
 */
static bool
still_waited_for(const LOCK *lock, const LOCKTAG *tag, const WaitingProc *waiting, uint32 n)
{
	for (uint32 i = 0; i < n; i++)
	{
		if (*(LOCK *volatile *) &waiting[i].proc->waitLock != lock)
			continue;
		pg_read_barrier();
		return memcmp((const void *) &lock->tag, tag, sizeof(LOCKTAG)) == 0;
	}
	return false;
}

/* All modes that conflict with at least one of those awaited. */
static LOCKMASK
conflicting_modes(LOCKMASK awaited)
{
	LOCKMASK	conflicting = 0;

	for (LOCKMODE wanted = 1; wanted <= MaxLockMode; wanted++)
	{
		if (!(awaited & LOCKBIT_ON(wanted)))
			continue;
		for (LOCKMODE held = 1; held <= MaxLockMode; held++)
			if (DoLockModesConflict(wanted, held))
				conflicting |= LOCKBIT_ON(held);
	}
	return conflicting;
}

/* The holder a parallel worker's lock is added to: its leader, if listed. */
static hc_lock_holder *
find_holder(LockReader *reader, const hc_lock *lock, int pid)
{
	for (uint32 i = lock->first_holder; i < reader->n_holders; i++)
		if (reader->holders[i].pid == pid)
			return &reader->holders[i];
	return NULL;
}

static void
copy_holder(LockReader *reader, const hc_lock *lock, const PROCLOCK *proclock)
{
	const PGPROC *proc = proclock->tag.myProc;
	int			pid = proclock->groupLeader->pid;
	hc_lock_holder *holder = NULL;

	if (proc->lockGroupLeader != NULL)
		holder = find_holder(reader, lock, pid);
	if (holder != NULL)
	{
		holder->mode_mask |= proclock->holdMask;
		return;
	}
	if (reader->n_holders >= reader->max_holders)
	{
		reader->cut = true;
		return;
	}
	holder = &reader->holders[reader->n_holders];
	holder->pid = pid;
	holder->mode_mask = proclock->holdMask;
	holder->gid = "";
	if (pid == 0)
	{
		reader->holder_xids[reader->n_holders] = proc->xid;
		reader->has_prepared = true;
	}
	reader->n_holders++;
}

/* Those that only wait hold nothing; those that hold weak modes block nobody. */
static void
copy_holders(LockReader *reader, hc_lock *copy, LOCK *lock)
{
	LOCKMASK	blocking = conflicting_modes(lock->waitMask);
	PROCLOCK   *proclock;

	copy->first_holder = reader->n_holders;
	{
		foreach_proclock(proclock, lock)
		{
			if (proclock->holdMask & blocking)
				copy_holder(reader, copy, proclock);
		}
	}
	copy->n_holders = reader->n_holders - copy->first_holder;
}

static void
copy_waiter(LockReader *reader, PGPROC *proc)
{
	bool	   *seen = &reader->seen[proc - ProcGlobal->allProcs];
	hc_lock_waiter *waiter;

	if (*seen)
		return;
	if (reader->n_waiters >= reader->max_waiters)
	{
		reader->cut = true;
		return;
	}
	*seen = true;
	waiter = &reader->waiters[reader->n_waiters++];
	/* A parallel worker that waits makes its leader wait. */
	waiter->pid = proc->lockGroupLeader != NULL ? proc->lockGroupLeader->pid : proc->pid;
	waiter->mode = proc->waitLockMode;
	waiter->wait_start = (int64) pg_atomic_read_u64(&proc->waitStart);
}

static void
copy_waiters(LockReader *reader, hc_lock *copy, LOCK *lock)
{
	PGPROC	   *proc;

	copy->first_waiter = reader->n_waiters;
	{
		foreach_queued(proc, lock)
		{
			copy_waiter(reader, proc);
		}
	}
	copy->n_waiters = reader->n_waiters - copy->first_waiter;
}

/* Copy the lock that these n processes were seen waiting for, if they still do. */
static void
copy_lock(LockReader *reader, const WaitingProc *waiting, uint32 n)
{
	LOCK	   *lock = waiting->lock;
	LOCKTAG		tag = lock->tag;
	LWLock	   *partition = LockHashPartitionLock(LockTagHashCode(&tag));

	LWLockAcquire(partition, LW_SHARED);
	if (still_waited_for(lock, &tag, waiting, n))
	{
		hc_lock    *copy = &reader->locks[reader->n_locks];

		copy_waiters(reader, copy, lock);
		if (copy->n_waiters > 0)
		{
			copy_holders(reader, copy, lock);
			reader->tags[reader->n_locks++] = tag;
		}
	}
	LWLockRelease(partition);
}

/* ---- after it ---- */

static hc_lock_kind
kind_of(const LOCKTAG *tag)
{
	switch ((LockTagType) tag->locktag_type)
	{
		case LOCKTAG_RELATION:
			return HC_LOCK_RELATION;
		case LOCKTAG_TUPLE:
			return HC_LOCK_TUPLE;
		case LOCKTAG_TRANSACTION:
			return HC_LOCK_TRANSACTION;
		case LOCKTAG_VIRTUALTRANSACTION:
			return HC_LOCK_VIRTUALXID;
		case LOCKTAG_ADVISORY:
			return HC_LOCK_ADVISORY;
		default:
			return HC_LOCK_OTHER;
	}
}

/* Qualified name, or the bare number: other databases cannot be asked. */
static const char *
relation_name(Oid database, Oid relation, bool catalog_open)
{
	char	   *name = NULL;
	char	   *schema = NULL;

	if (catalog_open && (database == MyDatabaseId || !OidIsValid(database)))
	{
		name = get_rel_name(relation);
		if (name != NULL)
			schema = get_namespace_name(get_rel_namespace(relation));
	}
	if (schema == NULL)
		return psprintf("relation %u", relation);
	return collect_text(quote_qualified_identifier(schema, name), 2 * NAMEDATALEN * 2 + 5);
}

/* text is a buffer to work in */
static void
describe_lock(hc_lock *lock, const LOCKTAG *tag, bool catalog_open, StringInfo text)
{
	lock->kind = kind_of(tag);
	switch (lock->kind)
	{
		case HC_LOCK_RELATION:
		case HC_LOCK_TUPLE:
			lock->database_oid = tag->locktag_field1;
			lock->relation_oid = tag->locktag_field2;
			lock->name = relation_name(lock->database_oid, lock->relation_oid, catalog_open);
			return;
		case HC_LOCK_TRANSACTION:
		case HC_LOCK_VIRTUALXID:
			break;
		default:
			/* A speculative insertion belongs to a transaction, all others to a database. */
			if (tag->locktag_type != LOCKTAG_SPECULATIVE_TOKEN)
				lock->database_oid = tag->locktag_field1;
			break;
	}
	resetStringInfo(text);
	DescribeLockTag(text, tag);
	lock->name = pnstrdup(text->data, text->len);
}

/*
 * Names come from pg_class. When that is what everybody waits for, looking a
 * name up would put the healer into the queue it has come to dissolve.
 */
static void
describe_locks(LockReader *reader)
{
	bool		catalog_open = ConditionalLockRelationOid(RelationRelationId, AccessShareLock);
	StringInfoData text;

	initStringInfo(&text);
	for (uint32 i = 0; i < reader->n_locks; i++)
		describe_lock(&reader->locks[i], &reader->tags[i], catalog_open, &text);
	if (catalog_open)
		UnlockRelationOid(RelationRelationId, AccessShareLock);
}

static void
name_prepared_holders(LockReader *reader)
{
	hc_prepared *prepared;
	TransactionId *xids;
	uint32		n = collect_prepared(&prepared, &xids);

	for (uint32 i = 0; i < reader->n_holders; i++)
	{
		if (reader->holders[i].pid != 0)
			continue;
		for (uint32 k = 0; k < n; k++)
			if (xids[k] == reader->holder_xids[i])
				reader->holders[i].gid = prepared[k].gid;
	}
}

static double
longest_wait(const LockReader *reader)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz oldest = now;

	for (uint32 i = 0; i < reader->n_waiters; i++)
		if (reader->waiters[i].wait_start != 0)
			oldest = Min(oldest, reader->waiters[i].wait_start);
	return (now - oldest) / (double) USECS_PER_SEC;
}

void
collect_locks(hc_observation *obs, double *metrics)
{
	LockReader	reader = {0};

	obs->locks_known = 0;
	find_waiting(&reader);
	if (reader.n_waiting > 0)
	{
		allocate_results(&reader);
		for (uint32 i = 0, n; i < reader.n_waiting; i += n)
		{
			for (n = 1; i + n < reader.n_waiting && reader.waiting[i + n].lock == reader.waiting[i].lock; n++)
				;
			copy_lock(&reader, &reader.waiting[i], n);
		}
		describe_locks(&reader);
		if (reader.has_prepared)
			name_prepared_holders(&reader);
	}

	metrics[HC_M_LOCK_WAITERS] = reader.cut ? reader.n_waiting : reader.n_waiters;
	metrics[HC_M_LONGEST_LOCK_WAIT] = longest_wait(&reader);
	obs->locks = reader.locks;
	obs->n_locks = reader.n_locks;
	obs->lock_holders = reader.holders;
	obs->n_lock_holders = reader.n_holders;
	obs->lock_waiters = reader.waiters;
	obs->n_lock_waiters = reader.n_waiters;
	obs->locks_known = reader.cut ? GRAPH_CUT : GRAPH_COMPLETE;
}

int
collect_lock_waiters(void)
{
	int			waiters = 0;

	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
		if ((ProcGlobal->allProcs[i].wait_event_info & WAIT_CLASS_MASK) == PG_WAIT_LOCK)
			waiters++;
	return waiters;
}
