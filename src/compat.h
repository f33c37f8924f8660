/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Every difference between server versions, so that no other file tests
 *	  PG_VERSION_NUM.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_HEAL_COMPAT_H
#define PG_HEAL_COMPAT_H

#include "postgres.h"

#include "catalog/pg_database.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000
#error "pg_heal needs PostgreSQL 15 or newer"
#endif

/* The executor lost execute_once in 18. */
#if PG_VERSION_NUM >= 180000
#define COMPAT_EXECUTOR_RUN_ARGS \
	QueryDesc *query_desc, ScanDirection direction, uint64 count
#define COMPAT_EXECUTOR_RUN_PASS query_desc, direction, count
#else
#define COMPAT_EXECUTOR_RUN_ARGS \
	QueryDesc *query_desc, ScanDirection direction, uint64 count, bool execute_once
#define COMPAT_EXECUTOR_RUN_PASS query_desc, direction, count, execute_once
#endif

/* Table statistics dropped the n_ of their fields in 16. */
#if PG_VERSION_NUM >= 160000
#define COMPAT_LIVE_TUPLES(entry) ((entry)->live_tuples)
#else
#define COMPAT_LIVE_TUPLES(entry) ((entry)->n_live_tuples)
#endif

/* Index of this process in ProcGlobal->allProcs. */
static inline int
compat_my_procno(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProcNumber;
#else
	return MyProc->pgprocno;
#endif
}

/* The same of any process. */
static inline int
compat_procno(PGPROC *proc)
{
#if PG_VERSION_NUM >= 170000
	return GetNumberFromPGProc(proc);
#else
	return proc->pgprocno;
#endif
}

/* Memory for the "extra" of a GUC check hook; the server frees it. */
static inline void *
compat_guc_malloc(int elevel, size_t size)
{
#if PG_VERSION_NUM >= 160000
	return guc_malloc(elevel, size);
#else
	void	   *p = malloc(size);

	if (p == NULL)
		ereport(elevel,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	return p;
#endif
}

/*
 * The wait event shown while waiting. Named ones exist from 17; *cache belongs
 * to the caller, because a name must be registered only once per process.
 */
static inline uint32
compat_wait_event(uint32 *cache, const char *name)
{
#if PG_VERSION_NUM >= 170000
	if (*cache == 0)
		*cache = WaitEventExtensionNew(name);
	return *cache;
#else
	(void) cache;
	(void) name;
	return PG_WAIT_EXTENSION;
#endif
}

/* May this role connect to the database of this process? */
static inline bool
compat_may_connect(Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(DatabaseRelationId, MyDatabaseId, role, ACL_CONNECT) == ACLCHECK_OK;
#else
	return pg_database_aclcheck(MyDatabaseId, role, ACL_CONNECT) == ACLCHECK_OK;
#endif
}

#endif							/* PG_HEAL_COMPAT_H */
