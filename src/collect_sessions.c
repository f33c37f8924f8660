/*-------------------------------------------------------------------------
 *
 * collect_sessions.c
 *	  Every process of the server: who it is, what it does, what it waits for.
 *
 * The backend status array says who and what; the PGPROC adds what it waits
 * for and whom it works for. The view's way to the PGPROC, a search of the
 * process array per backend, is quadratic; here PGPROCs are read once and
 * looked up by process ID. They are read without locks, as the view does: a
 * value may be of a moment ago, and whatever acts on it checks again.
 *
 *-------------------------------------------------------------------------
 */
#include "pg_heal.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "common/ip.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/postmaster.h"
#include "storage/proc.h"
#include "utils/backend_status.h"
#include "utils/syscache.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM >= 160000
#define RESERVED_SLOTS (SuperuserReservedConnections + ReservedConnections)
#define fetch_local_entry(i) pgstat_get_local_beentry_by_index(i)
#else
#define RESERVED_SLOTS ReservedBackends
#define fetch_local_entry(i) pgstat_fetch_stat_local_beentry(i)
#endif

#define QUERY_BYTES 256
#define WAIT_CLASS_MASK 0xFF000000U

/* Our workers, and what they connect from, are called so. */
#define OWN_PREFIX "pg_heal"

/* A session that declares a migration is a client like any other. */
#define MIGRATION_APPLICATION "pg_heal_migration"

/* Shared with the other collectors. */

/* What the PGPROC of a process adds to its status entry. */
typedef struct ProcView
{
	int			pid;
	uint32		wait_event_info;
	int			leader_pid;		/* of its lock group, 0 none */
	uint8		status_flags;	/* PROC_* */
} ProcView;

typedef struct NamedOid
{
	Oid			oid;
	uint32		flags;			/* HC_SESSION_* the role brings */
	const char *name;
} NamedOid;

/* Most sessions share few roles and databases: the names met in this look. */
#define NAMES_KEPT 16
typedef struct NameCache
{
	int			used;
	NamedOid	names[NAMES_KEPT];
} NameCache;

typedef struct SessionReader
{
	ProcView   *procs;			/* by pid */
	int			n_procs;
	NameCache	roles;
	NameCache	databases;
	TransactionId next_xid;
	pid_t		launcher_pid;
	pid_t		healer_pid;
} SessionReader;

/*
 * Copy at most limit bytes of a text for the core, which takes UTF-8 only.
 * Texts of shared catalogs and of other databases may be in any encoding: what
 * is not valid keeps its ASCII part.
 */
char *
collect_text(const char *text, int limit)
{
	int			len = strnlen(text, limit);
	char	   *copy;

	len = pg_encoding_mbcliplen(PG_UTF8, text, len, len);
	copy = pnstrdup(text, len);
	if (pg_encoding_verifymbstr(PG_UTF8, copy, len) != len)
	{
		for (char *c = copy; *c; c++)
			if (IS_HIGHBIT_SET(*c))
				*c = '?';
	}
	return copy;
}

static int
compare_proc_view(const void *a, const void *b)
{
	int			left = ((const ProcView *) a)->pid;
	int			right = ((const ProcView *) b)->pid;

	return (left > right) - (left < right);
}

static void
read_procs(SessionReader *reader)
{
	reader->procs = palloc(sizeof(ProcView) * ProcGlobal->allProcCount);
	reader->n_procs = 0;
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		PGPROC	   *proc = &ProcGlobal->allProcs[i];
		PGPROC	   *leader = proc->lockGroupLeader;
		ProcView   *view = &reader->procs[reader->n_procs];

		/* A process that has left keeps its pid here, but not its latch. */
		if (proc->pid == 0 || proc->procLatch.owner_pid != proc->pid)
			continue;
		view->pid = proc->pid;
		view->wait_event_info = proc->wait_event_info;
		view->leader_pid = leader != NULL && leader != proc ? leader->pid : 0;
		view->status_flags = proc->statusFlags;
		reader->n_procs++;
	}
	qsort(reader->procs, reader->n_procs, sizeof(ProcView), compare_proc_view);
}

static const ProcView *
find_proc(const SessionReader *reader, int pid)
{
	ProcView	key = {.pid = pid};

	return bsearch(&key, reader->procs, reader->n_procs, sizeof(ProcView), compare_proc_view);
}

static void
read_own_pids(SessionReader *reader)
{
	reader->launcher_pid = 0;
	reader->healer_pid = 0;
	if (heal_shared == NULL)
		return;
	LWLockAcquire(heal_shared->lock, LW_SHARED);
	reader->launcher_pid = heal_shared->launcher_pid;
	reader->healer_pid = heal_shared->healer_pid;
	LWLockRelease(heal_shared->lock);
}

static NamedOid
load_role(Oid oid)
{
	NamedOid	named = {.oid = oid,.name = ""};
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(oid));

	if (HeapTupleIsValid(tuple))
	{
		Form_pg_authid role = (Form_pg_authid) GETSTRUCT(tuple);

		named.name = collect_text(NameStr(role->rolname), NAMEDATALEN);
		named.flags = (role->rolsuper ? HC_SESSION_SUPERUSER : 0) |
			(role->rolreplication ? HC_SESSION_REPLICATION : 0);
		ReleaseSysCache(tuple);
	}
	return named;
}

static NamedOid
load_database(Oid oid)
{
	NamedOid	named = {.oid = oid,.name = ""};
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(oid));

	if (HeapTupleIsValid(tuple))
	{
		named.name = collect_text(NameStr(((Form_pg_database) GETSTRUCT(tuple))->datname), NAMEDATALEN);
		ReleaseSysCache(tuple);
	}
	return named;
}

/* Name of a role or database; "" for none and for one that is gone. */
static NamedOid
lookup_name(NameCache *cache, Oid oid, NamedOid (*load) (Oid))
{
	NamedOid	named = {.oid = oid,.name = ""};

	if (!OidIsValid(oid))
		return named;
	for (int i = 0; i < cache->used; i++)
		if (cache->names[i].oid == oid)
			return cache->names[i];
	named = load(oid);
	if (cache->used < NAMES_KEPT)
		cache->names[cache->used++] = named;
	return named;
}

static hc_backend_kind
kind_of(BackendType type)
{
	switch (type)
	{
		case B_BACKEND:
			return HC_BACKEND_CLIENT;
		case B_WAL_SENDER:
			return HC_BACKEND_WALSENDER;
		case B_AUTOVAC_WORKER:
			return HC_BACKEND_AUTOVACUUM_WORKER;
		case B_BG_WORKER:
			return HC_BACKEND_BGWORKER;
		default:
			return HC_BACKEND_OTHER;
	}
}

/* STATE_DISABLED, track_activities being off, is unknown too. */
static hc_session_state
state_of(BackendState state)
{
	switch (state)
	{
		case STATE_IDLE:
			return HC_STATE_IDLE;
		case STATE_RUNNING:
			return HC_STATE_ACTIVE;
		case STATE_IDLEINTRANSACTION:
			return HC_STATE_IDLE_IN_TRANSACTION;
		case STATE_IDLEINTRANSACTION_ABORTED:
			return HC_STATE_IDLE_IN_TRANSACTION_ABORTED;
		case STATE_FASTPATH:
			return HC_STATE_FASTPATH;
		default:
			return HC_STATE_UNKNOWN;
	}
}

static const char *
client_address(const SockAddr *addr)
{
	char		host[NI_MAXHOST];

	if (addr->addr.ss_family != AF_INET && addr->addr.ss_family != AF_INET6)
		return "";
	if (pg_getnameinfo_all(&addr->addr, addr->salen, host, sizeof(host), NULL, 0,
						   NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return "";
	return pstrdup(host);
}

static bool
has_own_name(const char *name)
{
	return strncmp(name, OWN_PREFIX, strlen(OWN_PREFIX)) == 0 && strcmp(name, MIGRATION_APPLICATION) != 0;
}

static bool
is_own(const SessionReader *reader, const PgBackendStatus *entry)
{
	const char *type;

	if (entry->st_procpid == MyProcPid ||
		entry->st_procpid == reader->launcher_pid || entry->st_procpid == reader->healer_pid)
		return true;
	if (has_own_name(entry->st_appname))
		return true;
	if (entry->st_backendType != B_BG_WORKER)
		return false;
	type = GetBackgroundWorkerTypeByPid(entry->st_procpid);
	return type != NULL && has_own_name(type);
}

static bool
is_anti_wraparound(const PgBackendStatus *entry, const ProcView *proc)
{
	if (entry->st_backendType != B_AUTOVAC_WORKER)
		return false;
	return (proc != NULL && (proc->status_flags & PROC_VACUUM_FOR_WRAPAROUND)) ||
		strstr(entry->st_activity_raw, "(to prevent wraparound)") != NULL;
}

static uint32
session_flags(const SessionReader *reader, const PgBackendStatus *entry, const ProcView *proc)
{
	uint32		flags = 0;

	if (is_own(reader, entry))
		flags |= HC_SESSION_OWN;
	if (is_anti_wraparound(entry, proc))
		flags |= HC_SESSION_ANTI_WRAPAROUND;
	if (entry->st_progress_command != PROGRESS_COMMAND_INVALID)
		flags |= HC_SESSION_MAINTENANCE;
	if (proc == NULL)
		return flags;
	if ((proc->wait_event_info & WAIT_CLASS_MASK) == PG_WAIT_LOCK)
		flags |= HC_SESSION_LOCK_WAIT;
	if (proc->wait_event_info == WAIT_EVENT_SYNC_REP)
		flags |= HC_SESSION_SYNCREP_WAIT;
	if (proc->leader_pid != 0)
		flags |= HC_SESSION_PARALLEL_WORKER;
	return flags;
}

/* age(), with 0 for none */
static uint32
xid_age(TransactionId next, TransactionId xid)
{
	return TransactionIdIsNormal(xid) ? (uint32) Max((int32) (next - xid), 1) : 0;
}

static void
read_session(SessionReader *reader, LocalPgBackendStatus *local, hc_session *session)
{
	PgBackendStatus *entry = &local->backendStatus;
	const ProcView *proc = find_proc(reader, entry->st_procpid);
	NamedOid	role = lookup_name(&reader->roles, entry->st_userid, load_role);

	session->id.pid = entry->st_procpid;
	session->id.backend_start = entry->st_proc_start_timestamp;
	session->id.xact_start = entry->st_xact_start_timestamp;
	session->id.query_id = entry->st_query_id;
	session->id.state_change = entry->st_state_start_timestamp;
	session->kind = kind_of(entry->st_backendType);
	session->state = state_of(entry->st_state);
	session->flags = role.flags | session_flags(reader, entry, proc);
	session->query_start = entry->st_activity_start_timestamp;
	session->role_oid = entry->st_userid;
	session->database_oid = entry->st_databaseid;
	session->role = role.name;
	session->database = lookup_name(&reader->databases, entry->st_databaseid, load_database).name;
	session->application = collect_text(entry->st_appname, NAMEDATALEN);
	session->client_addr = client_address(&entry->st_clientaddr);
	session->query = collect_text(entry->st_activity_raw, Min(QUERY_BYTES, pgstat_track_activity_query_size - 1));
	session->leader_pid = proc != NULL ? proc->leader_pid : 0;
	session->xid_age = xid_age(reader->next_xid, local->backend_xid);

	/* The snapshots of a lazy vacuum and of logical decoding hold nothing back. */
	if (proc == NULL || !(proc->status_flags & (PROC_IN_VACUUM | PROC_IN_LOGICAL_DECODING)))
		session->xmin_age = xid_age(reader->next_xid, local->backend_xmin);
}

static double
seconds_since(TimestampTz now, TimestampTz start)
{
	return start < now ? (now - start) / (double) USECS_PER_SEC : 0;
}

static void
count_sessions(const hc_session *sessions, uint32 n, double *metrics)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz oldest_transaction = now;
	TimestampTz oldest_query = now;
	int			total = 0;
	int			by_state[HC_STATE_FASTPATH + 1] = {0};

	for (uint32 i = 0; i < n; i++)
	{
		const hc_session *session = &sessions[i];

		if (session->kind != HC_BACKEND_CLIENT)
			continue;
		total++;
		by_state[session->state]++;
		if (session->id.xact_start != 0)
			oldest_transaction = Min(oldest_transaction, session->id.xact_start);
		if (session->state == HC_STATE_ACTIVE && session->query_start != 0)
			oldest_query = Min(oldest_query, session->query_start);
	}

	metrics[HC_M_SESSIONS_TOTAL] = total;
	metrics[HC_M_CONNECTIONS_USED] = total / (double) Max(MaxConnections - RESERVED_SLOTS, 1);
	metrics[HC_M_SESSIONS_ACTIVE] = by_state[HC_STATE_ACTIVE] + by_state[HC_STATE_FASTPATH];
	metrics[HC_M_SESSIONS_IDLE] = by_state[HC_STATE_IDLE];
	metrics[HC_M_SESSIONS_IDLE_IN_TRANSACTION] =
		by_state[HC_STATE_IDLE_IN_TRANSACTION] + by_state[HC_STATE_IDLE_IN_TRANSACTION_ABORTED];
	metrics[HC_M_LONGEST_TRANSACTION] = seconds_since(now, oldest_transaction);
	metrics[HC_M_LONGEST_QUERY] = seconds_since(now, oldest_query);
}

void
collect_sessions(hc_observation *obs, double *metrics)
{
	SessionReader reader = {0};
	hc_session *sessions;
	uint32		n_sessions = 0;
	int			n_entries;

	obs->sessions_known = 0;
	pgstat_clear_backend_activity_snapshot();
	n_entries = pgstat_fetch_stat_numbackends();
	/* After the status entries, so that each of them finds its PGPROC. */
	read_procs(&reader);
	read_own_pids(&reader);
	reader.next_xid = XidFromFullTransactionId(ReadNextFullTransactionId());

	sessions = palloc0(sizeof(hc_session) * Max(n_entries, 1));
	for (int i = 1; i <= n_entries; i++)
	{
		LocalPgBackendStatus *local = fetch_local_entry(i);

		if (local != NULL && local->backendStatus.st_procpid > 0)
			read_session(&reader, local, &sessions[n_sessions++]);
	}

	count_sessions(sessions, n_sessions, metrics);
	obs->sessions = sessions;
	obs->n_sessions = n_sessions;
	obs->sessions_known = 1;
}
