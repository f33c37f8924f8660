/*-------------------------------------------------------------------------
 *
 * pg_heal.c
 *	  Module entry point.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "pg_heal.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	/* A server being upgraded is nobody's patient. */
	if (IsBinaryUpgrade)
		return;

	guc_define();

	/*
	 * Loaded later than at server start there is no shared memory and no
	 * worker. CREATE EXTENSION still works; functions that need the worker
	 * say what is missing (shmem_check).
	 */
	if (!process_shared_preload_libraries_in_progress)
		return;

	shmem_init();
	hooks_install();
	security_install();
	object_hook_install();
	launcher_register();
}
