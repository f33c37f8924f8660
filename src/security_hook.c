/*-------------------------------------------------------------------------
 *
 * security_hook.c
 *	  Statements that matter for security, seen where they are run.
 *
 * The hook around utility statements notes grants of power over the server,
 * programs and files of the server in COPY, and the installation of code that
 * can do what the server can. They go to a small ring in shared memory; the
 * healer is woken and copies what is new. Nothing is ever blocked here.
 *
 * Grants are noted when they have succeeded; COPY when it begins, because a
 * program may run for hours, and only for a role that may: what is refused is
 * counted by its SQLSTATE.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "libpq/libpq-be.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/shmem.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/guc.h"

#include "compat.h"
#include "pg_heal.h"

#define RING 64
#define OBJECT 128

typedef struct Event
{
	uint64		seq;
	TimestampTz at;
	hc_security_kind kind;
	bool		superuser;
	char		role[NAMEDATALEN];
	char		database[NAMEDATALEN];
	char		application[NAMEDATALEN];
	char		addr[64];
	char		object[OBJECT];
	char		detail[OBJECT];
	double		rows;
	double		of_rows;
} Event;

typedef struct SecurityShared
{
	slock_t		mutex;
	uint64		last_seq;
	Event		ring[RING];		/* seq n is at n % RING */
} SecurityShared;

static SecurityShared *security_shared = NULL;
static ProcessUtility_hook_type prev_process_utility = NULL;

/* Membership in these is power over the server. */
static const Oid powerful_roles[] = {
	ROLE_PG_EXECUTE_SERVER_PROGRAM, ROLE_PG_READ_SERVER_FILES, ROLE_PG_WRITE_SERVER_FILES,
	ROLE_PG_SIGNAL_BACKEND, ROLE_PG_READ_ALL_DATA, ROLE_PG_WRITE_ALL_DATA,
};

static const char *const powerful_options[] = {"superuser", "createrole", "bypassrls", "isreplication"};

/*---- Shared memory ----*/

Size
security_shmem_size(void)
{
	return MAXALIGN(sizeof(SecurityShared));
}

void
security_shmem_startup(bool found)
{
	bool		present;

	security_shared = ShmemInitStruct("pg_heal security events", sizeof(SecurityShared), &present);
	if (found)
		return;
	memset(security_shared, 0, sizeof(SecurityShared));
	SpinLockInit(&security_shared->mutex);
}

/* Events after *seq, oldest first, in CurrentMemoryContext; *seq moves on. */
int
security_read(uint64 *seq, hc_security_event **events)
{
	Event	   *copy;
	uint64		last;
	int			n = 0;

	*events = NULL;
	/* Mostly there is nothing new. */
	if (*(volatile uint64 *) &security_shared->last_seq == *seq)
		return 0;

	copy = palloc(sizeof(Event) * RING);
	SpinLockAcquire(&security_shared->mutex);
	last = security_shared->last_seq;
	memcpy(copy, security_shared->ring, sizeof(security_shared->ring));
	SpinLockRelease(&security_shared->mutex);

	*events = palloc0(sizeof(hc_security_event) * RING);
	for (uint64 i = Max(*seq, last > RING ? last - RING : 0) + 1; i <= last; i++)
	{
		const Event *event = &copy[i % RING];

		(*events)[n++] = (hc_security_event) {
			.seq = event->seq,
			.at = event->at,
			.kind = event->kind,
			.superuser = event->superuser,
			.role = collect_text(event->role, NAMEDATALEN),
			.database = collect_text(event->database, NAMEDATALEN),
			.application = collect_text(event->application, NAMEDATALEN),
			.client_addr = event->addr,
			.object = collect_text(event->object, OBJECT),
			.detail = event->detail,
			.rows = event->rows,
			.of_rows = event->of_rows,
		};
	}
	*seq = last;
	return n;
}

/*---- Noting ----*/

static void
copy_cut(char *to, const char *from, size_t size)
{
	size_t		n = pg_mbcliplen(from, strlen(from), (int) size - 1);

	memcpy(to, from, n);
	to[n] = '\0';
}

/* For the other hooks, too; the caller is in a transaction. */
void
security_note(hc_security_kind kind, const char *object, const char *detail, double rows, double of_rows)
{
	Event		event;
	char	   *name;

	if (!shmem_usable() || security_shared == NULL || MyProcPort == NULL)
		return;
	memset(&event, 0, sizeof(event));
	event.at = GetCurrentTimestamp();
	event.kind = kind;
	event.superuser = superuser_arg(GetSessionUserId());
	name = GetUserNameFromId(GetSessionUserId(), true);
	copy_cut(event.role, name == NULL ? "" : name, sizeof(event.role));
	name = get_database_name(MyDatabaseId);
	copy_cut(event.database, name == NULL ? "" : name, sizeof(event.database));
	copy_cut(event.application, application_name == NULL ? "" : application_name, sizeof(event.application));
	if (MyProcPort->raddr.addr.ss_family != AF_UNIX && MyProcPort->remote_host != NULL)
		strlcpy(event.addr, MyProcPort->remote_host, sizeof(event.addr));
	copy_cut(event.object, object == NULL ? "" : object, sizeof(event.object));
	strlcpy(event.detail, detail, sizeof(event.detail));
	event.rows = rows;
	event.of_rows = of_rows;

	SpinLockAcquire(&security_shared->mutex);
	event.seq = ++security_shared->last_seq;
	security_shared->ring[event.seq % RING] = event;
	SpinLockRelease(&security_shared->mutex);
	hooks_request_look();
}

static void
note(hc_security_kind kind, const char *object, const char *detail)
{
	security_note(kind, object, detail, 0, 0);
}

/*---- What the statements do ----*/

/*
 * Without looking a named role up: it may be dropped meanwhile, and an error
 * here would take the user's statement with it.
 */
static const char *
rolespec_text(const RoleSpec *spec)
{
	switch (spec->roletype)
	{
		case ROLESPEC_CSTRING:
			return spec->rolename;
		case ROLESPEC_PUBLIC:
			return "public";
		default:
			return GetUserNameFromId(spec->roletype == ROLESPEC_SESSION_USER ? GetSessionUserId() : GetUserId(), true);
	}
}

/* Options of CREATE or ALTER ROLE that give power. */
static void
note_role_options(const char *role, List *options)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		for (int i = 0; i < lengthof(powerful_options); i++)
			if (strcmp(option->defname, powerful_options[i]) == 0 && defGetBoolean(option))
				note(HC_SEC_PRIVILEGE, role, powerful_options[i]);
	}
}

static bool
is_powerful(const char *name, char *why, size_t size)
{
	Oid			role = get_role_oid(name, true);

	if (!OidIsValid(role))
		return false;
	snprintf(why, size, "member of %s", name);
	if (superuser_arg(role))
		return true;
	for (int i = 0; i < lengthof(powerful_roles); i++)
		if (is_member_of_role_nosuper(role, powerful_roles[i]))
			return true;
	return false;
}

static void
note_grant_role(const GrantRoleStmt *stmt)
{
	ListCell   *granted;
	ListCell   *grantee;
	char		why[OBJECT];

	if (!stmt->is_grant)
		return;
	foreach(granted, stmt->granted_roles)
	{
		AccessPriv *priv = lfirst_node(AccessPriv, granted);

		if (priv->priv_name == NULL || !is_powerful(priv->priv_name, why, sizeof(why)))
			continue;
		foreach(grantee, stmt->grantee_roles)
			note(HC_SEC_PRIVILEGE, rolespec_text(lfirst_node(RoleSpec, grantee)), why);
	}
}

/* The program alone: its arguments may be secrets. */
static void
note_copy(const CopyStmt *stmt)
{
	char		program[OBJECT];

	if (stmt->filename == NULL)
		return;
	if (stmt->is_program)
	{
		strlcpy(program, stmt->filename, sizeof(program));
		program[strcspn(program, " \t\n")] = '\0';
		if (has_privs_of_role(GetUserId(), ROLE_PG_EXECUTE_SERVER_PROGRAM))
			note(HC_SEC_SERVER_PROGRAM, program, stmt->is_from ? "COPY FROM PROGRAM" : "COPY TO PROGRAM");
	}
	else if (has_privs_of_role(GetUserId(), stmt->is_from ? ROLE_PG_READ_SERVER_FILES : ROLE_PG_WRITE_SERVER_FILES))
		note(HC_SEC_SERVER_FILE, stmt->filename, stmt->is_from ? "COPY FROM file" : "COPY TO file");
}

/* LANGUAGE c in its options. */
static bool
is_c_function(const CreateFunctionStmt *stmt)
{
	ListCell   *cell;

	foreach(cell, stmt->options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "language") == 0 && pg_strcasecmp(strVal(option->arg), "c") == 0)
			return true;
	}
	return false;
}

/* Extensions that open files, programs or other servers to SQL. */
static bool
is_untrusted_extension(const char *name)
{
	static const char *const names[] = {"adminpack", "dblink", "file_fdw", "plperlu", "plpython3u", "pltclu"};

	for (int i = 0; i < lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

/* Settings that protect the data. */
static void
note_alter_system(const AlterSystemStmt *stmt)
{
	static const char *const names[] = {"fsync", "full_page_writes", "autovacuum", "zero_damaged_pages", "ignore_checksum_failure"};

	for (int i = 0; i < lengthof(names); i++)
		if (stmt->setstmt->name != NULL && pg_strcasecmp(stmt->setstmt->name, names[i]) == 0)
			note(HC_SEC_SETTING, names[i], "ALTER SYSTEM");
}

static void
note_before(Node *statement)
{
	if (IsA(statement, CopyStmt))
		note_copy(castNode(CopyStmt, statement));
}

static void
note_after(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_CreateRoleStmt:
			note_role_options(castNode(CreateRoleStmt, statement)->role, castNode(CreateRoleStmt, statement)->options);
			break;
		case T_AlterRoleStmt:
			note_role_options(rolespec_text(castNode(AlterRoleStmt, statement)->role), castNode(AlterRoleStmt, statement)->options);
			break;
		case T_GrantRoleStmt:
			note_grant_role(castNode(GrantRoleStmt, statement));
			break;
		case T_CreateFunctionStmt:
			/* The members of an extension are the extension's business. */
			if (!creating_extension && is_c_function(castNode(CreateFunctionStmt, statement)))
				note(HC_SEC_UNTRUSTED_CODE, NameListToString(castNode(CreateFunctionStmt, statement)->funcname), "C function");
			break;
		case T_AlterSystemStmt:
			note_alter_system(castNode(AlterSystemStmt, statement));
			break;
		case T_CreateExtensionStmt:
			if (is_untrusted_extension(castNode(CreateExtensionStmt, statement)->extname))
				note(HC_SEC_UNTRUSTED_CODE, castNode(CreateExtensionStmt, statement)->extname, "extension");
			break;
		default:
			break;
	}
}

/*
 * Statements whose rows go to the client without passing the executor's hook on
 * the way, or through a store that could be anybody's.
 */
static bool
gives_rows(Node *statement, ProcessUtilityContext context)
{
	switch (nodeTag(statement))
	{
		case T_CopyStmt:
			return !castNode(CopyStmt, statement)->is_from;
		case T_FetchStmt:
			return !castNode(FetchStmt, statement)->ismove && context == PROCESS_UTILITY_TOPLEVEL;
		case T_ExecuteStmt:
			return context == PROCESS_UTILITY_TOPLEVEL;
		default:
			return false;
	}
}

static void
heal_process_utility(PlannedStmt *pstmt, const char *query_string, bool read_only_tree,
					 ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *query_env,
					 DestReceiver *dest, QueryCompletion *qc)
{
	/* A statement may free its own tree: COMMIT in a procedure does. */
	Node	   *statement = pstmt->utilityStmt;
	const bool	later = IsA(statement, CreateRoleStmt) || IsA(statement, AlterRoleStmt) || IsA(statement, GrantRoleStmt) ||
		IsA(statement, CreateFunctionStmt) || IsA(statement, CreateExtensionStmt) || IsA(statement, AlterSystemStmt);

	const bool	rows_leave = gives_rows(statement, context);

	note_before(statement);
	if (prev_process_utility)
		prev_process_utility(pstmt, query_string, read_only_tree, context, params, query_env, dest, qc);
	else
		standard_ProcessUtility(pstmt, query_string, read_only_tree, context, params, query_env, dest, qc);
	if (later)
		note_after(statement);
	if (rows_leave && qc != NULL)
		hooks_note_rows(qc->nprocessed);
}

void
security_install(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = heal_process_utility;
}
