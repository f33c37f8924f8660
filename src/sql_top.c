/*-------------------------------------------------------------------------
 *
 * sql_top.c
 *	  Run statements the way a client would send them: at top level, each as
 *	  its own transaction, so that VACUUM, ALTER SYSTEM and the CONCURRENTLY
 *	  forms work, which no function can run.
 *
 * "As owner" has two forms. A statement that stays in one transaction runs as
 * the owner in a security-restricted operation. That state must not outlive a
 * transaction, and VACUUM, REINDEX, CLUSTER and the CONCURRENTLY forms commit in
 * the middle: for them the owner becomes the session's user. These commands run
 * the owner's code (index expressions, say) in a security-restricted operation
 * themselves, in which the session's user cannot be changed back. Statements
 * that could run other code with such a session are refused.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/portalcmds.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "parser/analyze.h"
#include "pgstat.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/regproc.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "job.h"

/* Does this ALTER TABLE contain DETACH PARTITION CONCURRENTLY? */
static bool
detaches_concurrently(AlterTableStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->subtype == AT_DetachPartition && cmd->def != NULL &&
			castNode(PartitionCmd, cmd->def)->concurrent)
			return true;
	}
	return false;
}

/* Does the statement commit transactions of its own? When in doubt, yes. */
static bool
commits_itself(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_VacuumStmt:
		case T_ReindexStmt:
		case T_ClusterStmt:
			return true;
		case T_IndexStmt:
			return ((IndexStmt *) stmt)->concurrent;
		case T_DropStmt:
			return ((DropStmt *) stmt)->concurrent;
		case T_AlterTableStmt:
			return detaches_concurrently((AlterTableStmt *) stmt);
		default:
			return false;
	}
}

/* The relation a statement is about, NULL where there is not exactly one. */
static RangeVar *
statement_relation(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_VacuumStmt:
			{
				List	   *rels = ((VacuumStmt *) stmt)->rels;

				return list_length(rels) == 1 ? linitial_node(VacuumRelation, rels)->relation : NULL;
			}
		case T_ReindexStmt:
			return ((ReindexStmt *) stmt)->relation;
		case T_ClusterStmt:
			return ((ClusterStmt *) stmt)->relation;
		case T_IndexStmt:
			return ((IndexStmt *) stmt)->relation;
		case T_AlterTableStmt:
			return ((AlterTableStmt *) stmt)->relation;
		case T_DropStmt:
			{
				DropStmt   *drop = (DropStmt *) stmt;

				if (drop->removeType != OBJECT_INDEX || list_length(drop->objects) != 1)
					return NULL;
				return makeRangeVarFromNameList(castNode(List, linitial(drop->objects)));
			}
		default:
			return NULL;
	}
}

/* The one kind of SET an action may contain: how hard its VACUUM works. */
static bool
paces_vacuum(const VariableSetStmt *stmt)
{
	return stmt->kind == VAR_SET_VALUE && !stmt->is_local &&
		strncmp(stmt->name, "vacuum_cost_", strlen("vacuum_cost_")) == 0;
}

SqlTop *
sql_top_parse(const char *sql)
{
	SqlTop	   *top = palloc0(sizeof(SqlTop));
	ListCell   *lc;

	top->sql = sql;
	top->statements = pg_parse_query(sql);

	foreach(lc, top->statements)
	{
		Node	   *stmt = lfirst_node(RawStmt, lc)->stmt;

		switch (nodeTag(stmt))
		{
			case T_VariableSetStmt:
				if (paces_vacuum((VariableSetStmt *) stmt))
					break;
				/* FALLTHROUGH */
			case T_TransactionStmt:
			case T_CallStmt:
			case T_DoStmt:
			case T_CopyStmt:
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("%s cannot be part of an action",
								GetCommandTagName(CreateCommandTag(stmt)))));
				break;
			case T_AlterSystemStmt:
				top->changes_settings = true;
				break;
			default:
				break;
		}
	}
	return top;
}

/* Is found the relation the job is about, or an index of it, or its table? */
static bool
same_relation(Oid found, Oid wanted)
{
	if (found == wanted)
		return true;
	switch (get_rel_relkind(found))
	{
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			return IndexGetRelation(found, true) == wanted;
	}
	switch (get_rel_relkind(wanted))
	{
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			return IndexGetRelation(wanted, true) == found;
	}
	return false;
}

/*
 * The statements name a relation as it was called when the decision was made.
 * If it has gone or the name has passed to another one, nothing must be done.
 * (A rename after this look is harmless: as owner, the worst that can be hit is
 * another relation of the same owner.)
 */
bool
sql_top_relation_matches(SqlTop *top, HealJobSlot *job, char **why_not)
{
	ListCell   *lc;

	if (!OidIsValid(job->relation))
		return true;

	if (get_rel_relkind(job->relation) == '\0')
	{
		*why_not = psprintf("relation with OID %u does not exist any more", job->relation);
		return false;
	}

	foreach(lc, top->statements)
	{
		RangeVar   *rv = statement_relation(lfirst_node(RawStmt, lc)->stmt);
		Oid			found;

		if (rv == NULL)
			continue;
		found = RangeVarGetRelid(rv, NoLock, true);
		if (!OidIsValid(found) || !same_relation(found, job->relation))
		{
			*why_not = psprintf("\"%s\" is not the relation with OID %u any more",
								rv->relname, job->relation);
			return false;
		}
	}
	return true;
}

/* Owner of the job's relation; ERROR when it has gone. */
static Oid
job_owner(HealJobSlot *job)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(job->relation));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", job->relation)));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Run a portal to its end, throwing rows away. */
static void
run_portal(Portal portal)
{
	DestReceiver *receiver = CreateDestReceiver(DestNone);
	QueryCompletion qc;

#if PG_VERSION_NUM >= 180000
	(void) PortalRun(portal, FETCH_ALL, true, receiver, receiver, &qc);
#else
	(void) PortalRun(portal, FETCH_ALL, true, true, receiver, receiver, &qc);
#endif
	receiver->rDestroy(receiver);
}

/* Analyse, plan and execute one statement in the transaction at hand. */
static void
execute(RawStmt *raw, const char *sql)
{
	bool		needs_snapshot = analyze_requires_snapshot(raw);
	List	   *queries;
	List	   *plans;
	Portal		portal;

	if (needs_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	queries = pg_analyze_and_rewrite_fixedparams(raw, sql, NULL, 0, NULL);
	plans = pg_plan_queries(queries, sql, 0, NULL);
	if (needs_snapshot)
		PopActiveSnapshot();

	CHECK_FOR_INTERRUPTS();

	portal = CreatePortal("", true, true);
	portal->visible = false;
	PortalDefineQuery(portal, NULL, sql, CreateCommandTag(raw->stmt), plans, NULL);
	PortalStart(portal, NULL, 0, InvalidSnapshot);
	run_portal(portal);
	PortalDrop(portal, false);
}

/* One statement, one transaction (or as many as the command itself makes). */
static void
run_statement(RawStmt *raw, const char *sql, HealJobSlot *job)
{
	bool		long_form = commits_itself(raw->stmt);
	MemoryContext statement_context;
	Oid			save_userid;
	int			save_sec_context;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	worker_timeout_start(job);
	GetUserIdAndSecContext(&save_userid, &save_sec_context);

	if (job->as_owner)
	{
		Oid			owner = job_owner(job);

		if (long_form)
			SetSessionAuthorization(owner, superuser_arg(owner));
		else
			SetUserIdAndSecContext(owner, save_sec_context | SECURITY_RESTRICTED_OPERATION);
	}

	/* Must survive the commits inside the command. */
	statement_context = AllocSetContextCreate(worker_context, "pg_heal statement", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(statement_context);
	execute(raw, sql);

	/* Still as owner: triggers deferred to the commit must not run as superuser. */
	CommitTransactionCommand();
	worker_timeout_stop();

	if (job->as_owner)
	{
		if (long_form)
			SetSessionAuthorization(GetAuthenticatedUserId(), true);
		else
			SetUserIdAndSecContext(save_userid, save_sec_context);
	}
	MemoryContextSwitchTo(worker_context);
	MemoryContextDelete(statement_context);
}

/* Name of the index the statement builds concurrently; NULL for any other. */
static char *
built_index(Node *stmt)
{
	IndexStmt  *build = (IndexStmt *) stmt;
	Oid			table;

	if (!IsA(stmt, IndexStmt) || !build->concurrent || build->idxname == NULL)
		return NULL;
	table = RangeVarGetRelid(build->relation, NoLock, true);
	if (!OidIsValid(table))
		return NULL;
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)), build->idxname);
}

/* Is there an index of that name? */
static bool
index_exists(const char *name, bool *valid)
{
	Oid			index = RangeVarGetRelid(makeRangeVarFromNameList(stringToQualifiedNameList(name)), NoLock, true);

	*valid = OidIsValid(index) && get_rel_relkind(index) == RELKIND_INDEX && get_index_isvalid(index);
	return OidIsValid(index);
}

/* After a failed build: its error is the result of the job, whatever becomes of this. */
static void
drop_leftover(const char *index, HealJobSlot *job)
{
	char	   *drop = psprintf("DROP INDEX CONCURRENTLY %s", index);
	char	   *message = pstrdup(job->message);
	char	   *sqlstate = pstrdup(job->sqlstate);

	PG_TRY();
	{
		bool		valid;
		bool		left;

		StartTransactionCommand();
		left = index_exists(index, &valid) && !valid;
		CommitTransactionCommand();
		MemoryContextSwitchTo(worker_context);
		if (left)
			run_statement(linitial_node(RawStmt, pg_parse_query(drop)), drop, job);
	}
	PG_CATCH();
	{
		worker_catch(job, HC_OUT_FAILED);
	}
	PG_END_TRY();
	strlcpy(job->message, message, sizeof(job->message));
	strlcpy(job->sqlstate, sqlstate, sizeof(job->sqlstate));
}

/*
 * A concurrent build that fails leaves an invalid index, which costs writes and
 * serves nobody: take it away again, unless it was there before. False, with
 * the result of the job, when the statement failed.
 */
static bool
run_or_clean_up(RawStmt *raw, const char *sql, HealJobSlot *job)
{
	volatile bool failed = false;
	char	   *index;
	bool		valid;
	bool		was_there;

	StartTransactionCommand();
	MemoryContextSwitchTo(worker_context);
	index = built_index(raw->stmt);
	was_there = index != NULL && index_exists(index, &valid);
	CommitTransactionCommand();
	MemoryContextSwitchTo(worker_context);
	if (index == NULL || was_there)
	{
		run_statement(raw, sql, job);
		return true;
	}

	PG_TRY();
	{
		run_statement(raw, sql, job);
	}
	PG_CATCH();
	{
		worker_catch(job, HC_OUT_FAILED);
		failed = true;
	}
	PG_END_TRY();
	if (failed)
		drop_leftover(index, job);
	return !failed;
}

/* False, with the result of the job, when a statement failed; it may raise as well. */
bool
sql_top_run(SqlTop *top, HealJobSlot *job)
{
	ListCell   *lc;

	if (job->as_owner && !OidIsValid(job->relation))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("action as owner names no relation")));

	debug_query_string = top->sql;
	pgstat_report_activity(STATE_RUNNING, top->sql);
	foreach(lc, top->statements)
	{
		if (!run_or_clean_up(lfirst_node(RawStmt, lc), top->sql, job))
			return false;
	}
	debug_query_string = NULL;
	return true;
}
