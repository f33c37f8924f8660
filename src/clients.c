/*-------------------------------------------------------------------------
 *
 * clients.c
 *	  What each client of the server got and was refused: role, database,
 *	  application and address together.
 *
 * A session finds its entry once, when it has proved who it is; there a lock may
 * be waited for. From then on the log hook, which runs in any state, only adds to
 * the entry's atomic counters, and the executor hook only to the slot of its own
 * backend: rows and statements of a client are those of its sessions that ended,
 * kept in the entry, and what the slots of its present ones have gained since.
 *
 * Entries are reused, the longest unused first, never one with a session. When
 * all have one, further clients share the first entry, which has no names, and
 * are counted. Walsenders are no clients.
 *
 * The application is the one the client named when it connected: what it says
 * later is not followed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "common/hashfn.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "replication/walsender.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/syscache.h"

#include "compat.h"
#include "pg_heal.h"

#define CLIENTS 256
/* Messages longer than this differ in their beginning, if at all. */
#define MESSAGE_BYTES 256

/* So many new errors are worth a look before the next tick ... */
#define LOOK_ERRORS 5
/* ... at most so often, and for this time after such a look a single one is. */
#define LOOK_SPACING_US (400 * INT64CONST(1000))
#define LOOK_WATCH_US (3 * INT64CONST(1000000))

typedef struct ClientName
{
	char		role[NAMEDATALEN];
	char		database[NAMEDATALEN];
	char		application[NAMEDATALEN];
	char		addr[64];
} ClientName;

typedef struct ClientEntry
{
	/* under the lock */
	uint64		id;				/* 0: free; another one for each client */
	uint32		hash;
	int			sessions;
	TimestampTz last_at;		/* a session began or ended */
	ClientName	name;
	uint64		rows;			/* of sessions that have ended */
	uint64		statements;

	/* atomics, written by the log hook */
	pg_atomic_uint64 refused;
	pg_atomic_uint64 refused_what;	/* bits of what was refused; taken by the healer */
	pg_atomic_uint64 probing;
	pg_atomic_uint64 probing_what;
	pg_atomic_uint64 probing_kinds; /* HC_PROBE_* */
} ClientEntry;

/* Which entry a backend adds to, and where its slot stood when it came. */
typedef struct ClientUse
{
	int			entry;			/* -1 none */
	uint64		rows_before;
	uint64		statements_before;
} ClientUse;

typedef struct ClientShared
{
	LWLock	   *lock;
	pg_atomic_uint64 errors;	/* of the counted kinds, all clients */
	uint64		last_id;
	uint64		nameless;		/* sessions that found no entry */
	ClientEntry entries[CLIENTS];
} ClientShared;

typedef struct ClientTotals
{
	uint64		id;
	uint64		rows;
	uint64		statements;
	uint64		refused;
	uint64		probing;
} ClientTotals;

static ClientShared *client_shared = NULL;
static ClientUse *client_uses = NULL;	/* by PGPROC number */
static ClientEntry *my_entry = NULL;

/*---- Shared memory ----*/

Size
clients_shmem_size(void)
{
	return add_size(MAXALIGN(sizeof(ClientShared)), mul_size(MaxBackends, sizeof(ClientUse)));
}

static void
entry_initialize(ClientEntry *entry)
{
	memset(entry, 0, sizeof(ClientEntry));
	pg_atomic_init_u64(&entry->refused, 0);
	pg_atomic_init_u64(&entry->refused_what, 0);
	pg_atomic_init_u64(&entry->probing, 0);
	pg_atomic_init_u64(&entry->probing_what, 0);
	pg_atomic_init_u64(&entry->probing_kinds, 0);
}

void
clients_shmem_startup(bool found, LWLock *lock)
{
	bool		present;

	client_shared = ShmemInitStruct("pg_heal clients", sizeof(ClientShared), &present);
	client_uses = ShmemInitStruct("pg_heal client sessions", mul_size(MaxBackends, sizeof(ClientUse)), &present);
	if (found)
		return;
	memset(client_shared, 0, sizeof(ClientShared));
	client_shared->lock = lock;
	pg_atomic_init_u64(&client_shared->errors, 0);
	for (int i = 0; i < CLIENTS; i++)
		entry_initialize(&client_shared->entries[i]);
	client_shared->entries[0].id = client_shared->last_id = 1;
	for (int i = 0; i < MaxBackends; i++)
		client_uses[i].entry = -1;
}

/*---- Sessions come and go ----*/

/* The entry of this client, a free one, the longest unused one, or the first. */
static ClientEntry *
find_entry(const ClientName *name, uint32 hash)
{
	ClientEntry *victim = NULL;

	for (int i = 1; i < CLIENTS; i++)
	{
		ClientEntry *entry = &client_shared->entries[i];

		if (entry->id != 0 && entry->hash == hash && memcmp(&entry->name, name, sizeof(ClientName)) == 0)
			return entry;
		if (entry->sessions == 0 && (victim == NULL || entry->last_at < victim->last_at))
			victim = entry;
	}
	if (victim == NULL)
	{
		client_shared->nameless++;
		return &client_shared->entries[0];
	}
	entry_initialize(victim);
	victim->id = ++client_shared->last_id;
	victim->hash = hash;
	victim->name = *name;
	return victim;
}

static void
client_detach(int code, Datum procno)
{
	ClientUse  *use = &client_uses[DatumGetInt32(procno)];
	uint64		rows;
	uint64		statements;

	if (my_entry == NULL)
		return;
	hooks_slot_counts(DatumGetInt32(procno), &rows, &statements);
	LWLockAcquire(client_shared->lock, LW_EXCLUSIVE);
	my_entry->rows += rows - use->rows_before;
	my_entry->statements += statements - use->statements_before;
	my_entry->sessions--;
	my_entry->last_at = GetCurrentTimestamp();
	use->entry = -1;
	LWLockRelease(client_shared->lock);
	my_entry = NULL;
}

/* A client has proved who it is. Not in the log hook: it may wait for the lock. */
void
client_attach(const Port *port, const char *role, const char *addr)
{
	ClientName	name;
	ClientUse  *use;
	uint32		hash;
	int			procno;

	if (client_shared == NULL || my_entry != NULL || MyProc == NULL || am_walsender)
		return;
	procno = compat_my_procno();
	if (procno < 0 || procno >= MaxBackends)
		return;

	memset(&name, 0, sizeof(name));
	strlcpy(name.role, role, sizeof(name.role));
	strlcpy(name.database, port->database_name ? port->database_name : "", sizeof(name.database));
	strlcpy(name.application, port->application_name ? port->application_name : "", sizeof(name.application));
	strlcpy(name.addr, addr, sizeof(name.addr));
	hash = hash_bytes((unsigned char *) &name, sizeof(name));

	use = &client_uses[procno];
	hooks_slot_counts(procno, &use->rows_before, &use->statements_before);
	LWLockAcquire(client_shared->lock, LW_EXCLUSIVE);
	my_entry = find_entry(&name, hash);
	my_entry->sessions++;
	my_entry->last_at = GetCurrentTimestamp();
	use->entry = my_entry - client_shared->entries;
	LWLockRelease(client_shared->lock);
	on_shmem_exit(client_detach, Int32GetDatum(procno));
}

/*---- Errors, in the log hook ----*/

/* Which bit of the kinds, 0 for an error that nobody makes who is probing. */
static uint32
probe_kind(int sqlstate)
{
	switch (sqlstate)
	{
		case ERRCODE_SYNTAX_ERROR:
			return HC_PROBE_SYNTAX;
		case ERRCODE_INVALID_TEXT_REPRESENTATION:
			return HC_PROBE_TEXT;
		case ERRCODE_DATATYPE_MISMATCH:
		case ERRCODE_CANNOT_COERCE:
			return HC_PROBE_TYPE;
		case ERRCODE_INVALID_COLUMN_REFERENCE:
		case ERRCODE_GROUPING_ERROR:
			return HC_PROBE_POSITION;
		case ERRCODE_CARDINALITY_VIOLATION:
			return HC_PROBE_CARDINALITY;
		case ERRCODE_UNDEFINED_COLUMN:
		case ERRCODE_AMBIGUOUS_COLUMN:
			return HC_PROBE_COLUMN;
		case ERRCODE_UNDEFINED_TABLE:
		case ERRCODE_UNDEFINED_SCHEMA:
			return HC_PROBE_TABLE;
		case ERRCODE_UNDEFINED_FUNCTION:
			return HC_PROBE_FUNCTION;
		default:
			return 0;
	}
}

/* One of 64 bits for the message: equal errors have the same. */
static uint64
message_bit(const ErrorData *edata)
{
	const char *message = edata->message != NULL ? edata->message : "";

	return UINT64CONST(1) << (hash_bytes((const unsigned char *) message, strnlen(message, MESSAGE_BYTES)) % 64);
}

/*
 * Atomic additions, no allocation and no lock: the caller may be anywhere. The
 * message is neither kept nor can it be found again from its bit.
 */
void
client_note_error(const ErrorData *edata)
{
	uint32		kind;

	if (my_entry == NULL)
		return;
	if (edata->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE)
	{
		pg_atomic_fetch_or_u64(&my_entry->refused_what, message_bit(edata));
		pg_atomic_fetch_add_u64(&my_entry->refused, 1);
	}
	else if ((kind = probe_kind(edata->sqlerrcode)) != 0)
	{
		pg_atomic_fetch_or_u64(&my_entry->probing_what, message_bit(edata));
		pg_atomic_fetch_or_u64(&my_entry->probing_kinds, kind);
		pg_atomic_fetch_add_u64(&my_entry->probing, 1);
	}
	else
		return;
	pg_atomic_fetch_add_u64(&client_shared->errors, 1);
}

/*---- Healer ----*/

static uint64 errors_seen = 0;	/* at the latest reading */
static int64 watch_until = 0;	/* a burst may go on */
static bool totals_known = false;
static ClientTotals totals_seen[CLIENTS];

/* Errors have come that should not wait for the next tick? Times are monotonic. */
bool
clients_look_due(int64 now, int64 last_look)
{
	uint64		errors;

	if (client_shared == NULL || now - last_look < LOOK_SPACING_US)
		return false;
	errors = pg_atomic_read_u64(&client_shared->errors) - errors_seen;
	if (errors >= LOOK_ERRORS)
		watch_until = now + LOOK_WATCH_US;
	return errors > 0 && now < watch_until;
}

/* Rows and statements of the present sessions, added to those of past ones. */
static void
add_sessions(ClientTotals *totals)
{
	for (int i = 0; i < MaxBackends; i++)
	{
		const ClientUse *use = &client_uses[i];
		uint64		rows;
		uint64		statements;

		if (use->entry < 0)
			continue;
		hooks_slot_counts(i, &rows, &statements);
		totals[use->entry].rows += rows - use->rows_before;
		totals[use->entry].statements += statements - use->statements_before;
	}
}

static uint32
role_flags(const char *role)
{
	HeapTuple	tuple = SearchSysCache1(AUTHNAME, CStringGetDatum(role));
	uint32		flags = 0;

	if (HeapTupleIsValid(tuple))
	{
		Form_pg_authid form = (Form_pg_authid) GETSTRUCT(tuple);

		flags = (form->rolsuper ? HC_SESSION_SUPERUSER : 0) |
			(form->rolreplication ? HC_SESSION_REPLICATION : 0);
		ReleaseSysCache(tuple);
	}
	return flags;
}

static void
publish_client(hc_client *client, ClientEntry *entry, const ClientName *name,
			   const ClientTotals *now, const ClientTotals *before)
{
	client->role = collect_text(name->role, NAMEDATALEN);
	client->database = collect_text(name->database, NAMEDATALEN);
	client->application = collect_text(name->application, NAMEDATALEN);
	client->client_addr = pstrdup(name->addr);
	client->flags = role_flags(name->role);
	client->rows = now->rows - before->rows;
	client->statements = now->statements - before->statements;
	client->refused = now->refused - before->refused;
	client->probing = now->probing - before->probing;
	client->refused_what = pg_atomic_exchange_u64(&entry->refused_what, 0);
	client->probing_what = pg_atomic_exchange_u64(&entry->probing_what, 0);
	client->probing_kinds = (uint32) pg_atomic_exchange_u64(&entry->probing_kinds, 0);
}

/*
 * What clients did since the reading before; those that did nothing are left
 * out. Between ticks only when there were errors.
 */
void
collect_clients(hc_observation *obs, bool full)
{
	uint64		errors;
	ClientTotals *totals;
	ClientName *names;
	hc_client  *clients;

	if (client_shared == NULL)
		return;
	errors = pg_atomic_read_u64(&client_shared->errors);
	if (!full && errors == errors_seen)
		return;

	totals = palloc0(sizeof(ClientTotals) * CLIENTS);
	names = palloc(sizeof(ClientName) * CLIENTS);
	clients = palloc0(sizeof(hc_client) * CLIENTS);
	LWLockAcquire(client_shared->lock, LW_SHARED);
	for (int i = 0; i < CLIENTS; i++)
	{
		ClientEntry *entry = &client_shared->entries[i];

		if (entry->id == 0)
			continue;
		totals[i] = (ClientTotals) {entry->id, entry->rows, entry->statements,
			pg_atomic_read_u64(&entry->refused), pg_atomic_read_u64(&entry->probing)};
		names[i] = entry->name;
	}
	add_sessions(totals);
	LWLockRelease(client_shared->lock);

	for (int i = 1; i < CLIENTS; i++)
	{
		ClientTotals before = totals_seen[i];

		if (before.id != totals[i].id)
			before = (ClientTotals) {totals[i].id};
		if (totals_known && memcmp(&before, &totals[i], sizeof(ClientTotals)) != 0)
			publish_client(&clients[obs->n_clients++], &client_shared->entries[i], &names[i], &totals[i], &before);
	}
	memcpy(totals_seen, totals, sizeof(totals_seen));
	totals_known = true;
	errors_seen = errors;
	obs->clients = clients;
}
