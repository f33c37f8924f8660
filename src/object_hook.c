/*-------------------------------------------------------------------------
 *
 * object_hook.c
 *	  Files of the server reached by functions, and tables emptied or dropped.
 *
 * The object access hook is called with the OID of every function a plan is made
 * ready to run, whatever way the call was written, and of every table that is
 * about to be truncated or dropped. It is called after the server has checked
 * that the caller may, so what is refused never comes here; and before anything
 * has happened, so what is noted may still fail or be rolled back.
 *
 * For functions it must cost nothing: those that reach files have low OIDs and
 * one comparison dismisses all others but the oldest operators and functions.
 *
 * Changes of a whole table by DELETE or UPDATE are told by the executor hook when
 * they are done; the plan says whether there was a condition. A rule, a trigger
 * or a function is not looked into.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "executor/execdesc.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/plannodes.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "pg_heal.h"

/* The same function in the same session is noted once in this time. */
#define SAME_FUNCTION_US USECS_PER_SEC

/* Smaller changes of a table are nobody's concern, whatever the thresholds say. */
#define LEAST_ROWS 10000

static object_access_hook_type prev_object_access = NULL;

/*---- Functions that reach files ----*/

/* Its name, NULL for any other function. */
static const char *
file_function(Oid function)
{
	switch (function)
	{
		case F_LO_IMPORT_TEXT:
		case F_LO_IMPORT_TEXT_OID:
			return "lo_import";
		case F_LO_EXPORT:
			return "lo_export";
		case F_PG_STAT_FILE_TEXT:
		case F_PG_STAT_FILE_TEXT_BOOL:
			return "pg_stat_file";
		case F_PG_LS_DIR_TEXT:
		case F_PG_LS_DIR_TEXT_BOOL_BOOL:
			return "pg_ls_dir";
		case F_PG_READ_FILE_TEXT:
		case F_PG_READ_FILE_TEXT_INT8_INT8:
		case F_PG_READ_FILE_TEXT_INT8_INT8_BOOL:
		case F_PG_READ_FILE_OLD:
			return "pg_read_file";
		case F_PG_READ_BINARY_FILE_TEXT:
		case F_PG_READ_BINARY_FILE_TEXT_INT8_INT8:
		case F_PG_READ_BINARY_FILE_TEXT_INT8_INT8_BOOL:
			return "pg_read_binary_file";
		default:
			return NULL;
	}
}

/* A loop over files must not push everything else out of the ring. */
static void
note_function(Oid function)
{
	static const char *last_name = NULL;
	static Oid	last_role = InvalidOid;
	static TimestampTz last_at = 0;
	const char *name = file_function(function);
	TimestampTz now;

	if (name == NULL)
		return;
	now = GetCurrentTimestamp();
	if (name == last_name && GetSessionUserId() == last_role && now >= last_at && now - last_at < SAME_FUNCTION_US)
		return;
	last_name = name;
	last_role = GetSessionUserId();
	last_at = now;
	security_note(HC_SEC_SERVER_FILE, name, "function", 0, 0);
}

/*---- Tables emptied or dropped ----*/

/*
 * How many rows a table is known to have. From the catalog and the statistics:
 * its file may be broken, and a broken table must be droppable.
 */
static double
known_rows(Oid relation, float4 reltuples)
{
	PgStat_StatTabEntry *entry = pgstat_fetch_stat_tabentry(relation);

	return Max(reltuples, entry != NULL ? COMPAT_LIVE_TUPLES(entry) : 0);
}

/* Rows of an ordinary permanent table of a user, 0 for anything else. */
static double
table_rows(Oid relation)
{
	HeapTuple	tuple;
	Form_pg_class form;
	double		rows = 0;

	if (relation < FirstNormalObjectId)
		return 0;
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	if (!HeapTupleIsValid(tuple))
		return 0;
	form = (Form_pg_class) GETSTRUCT(tuple);
	if (form->relkind == RELKIND_RELATION && form->relpersistence != RELPERSISTENCE_TEMP)
		rows = known_rows(relation, form->reltuples);
	ReleaseSysCache(tuple);
	return rows;
}

static void
note_loss(Oid relation, const char *what, double rows, double of_rows)
{
	char	   *name;

	if (rows < LEAST_ROWS)
		return;
	name = get_rel_name(relation);
	security_note(HC_SEC_DESTRUCTIVE, name == NULL ? "" : name, what, rows, of_rows);
}

static void
note_table(Oid relation, const char *what)
{
	double		rows;

	if (MyProcPort == NULL)
		return;
	rows = table_rows(relation);
	note_loss(relation, what, rows, rows);
}

/*---- Whole tables changed ----*/

/* Does this plan read every row of a table, or of its partitions? */
static bool
reads_all_rows(const Plan *plan)
{
	ListCell   *cell;

	if (plan == NULL || plan->qual != NIL)
		return false;
	if (IsA(plan, SeqScan))
		return true;
	if (!IsA(plan, Append))
		return false;
	foreach(cell, ((const Append *) plan)->appendplans)
		if (!reads_all_rows(lfirst(cell)))
			return false;
	return true;
}

/* A statement of a client that changed rows is done; few come this far. */
void
object_note_change(const QueryDesc *query_desc)
{
	const EState *estate = query_desc->estate;
	const Plan *plan = query_desc->plannedstmt->planTree;
	ResultRelInfo *target;
	double		of_rows = 0;
	ListCell   *cell;

	if (estate->es_processed < LEAST_ROWS || MyProcPort == NULL ||
		(query_desc->operation != CMD_DELETE && query_desc->operation != CMD_UPDATE) ||
		!IsA(plan, ModifyTable) || !reads_all_rows(outerPlan(plan)) || estate->es_opened_result_relations == NIL)
		return;
	foreach(cell, estate->es_opened_result_relations)
		of_rows += Max(((ResultRelInfo *) lfirst(cell))->ri_RelationDesc->rd_rel->reltuples, 0);
	target = linitial(estate->es_opened_result_relations);
	if (target->ri_RelationDesc->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		return;
	note_loss(RelationGetRelid(target->ri_RelationDesc),
			  query_desc->operation == CMD_DELETE ? "DELETE without WHERE" : "UPDATE without WHERE",
			  estate->es_processed, Max(of_rows, estate->es_processed));
}

/*---- The hook ----*/

static void
heal_object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (prev_object_access)
		prev_object_access(access, class_id, object_id, sub_id, arg);

	switch (access)
	{
		case OAT_FUNCTION_EXECUTE:
			if (object_id <= F_PG_READ_FILE_OLD)
				note_function(object_id);
			break;
		case OAT_TRUNCATE:
			note_table(object_id, "TRUNCATE");
			break;
		case OAT_DROP:
			/* What a rewrite, CLUSTER or the end of a session drops is not asked for. */
			if (class_id == RelationRelationId && sub_id == 0 &&
				(((ObjectAccessDrop *) arg)->dropflags & PERFORM_DELETION_INTERNAL) == 0)
				note_table(object_id, "DROP");
			break;
		default:
			break;
	}
}

void
object_hook_install(void)
{
	prev_object_access = object_access_hook;
	object_access_hook = heal_object_access;
}
