/*-------------------------------------------------------------------------
 *
 * violations.c
 *	  Errors of constraints and of damaged data, counted one by one where they
 *	  are logged.
 *
 * A small table in shared memory, filled by the log hook: it may run in any
 * process and almost any state, so there is neither lock nor allocation. A slot
 * is claimed by its key; its names are valid once it is ready. Two processes may
 * claim two slots for one key at the same time: the reader adds them up. The
 * healer is the only reader, and the only one to free a slot.
 *
 * Of an error the names are kept, never the detail, which shows values.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#include "pg_heal.h"

#define SLOTS 64
/* When fewer are free, the one unused for longest is freed. */
#define MIN_FREE 8
#define NAME 128

typedef struct Slot
{
	pg_atomic_uint64 key;		/* 0: free */
	pg_atomic_uint32 ready;		/* the names are there */
	pg_atomic_uint64 count;
	pg_atomic_uint64 last_at;
	Oid			database;
	int			sqlstate;
	char		schema[NAMEDATALEN];
	char		table[NAMEDATALEN];
	char		constraint[NAME];
} Slot;

typedef struct ViolationShared
{
	pg_atomic_uint64 changes;
	Slot		slots[SLOTS];
} ViolationShared;

static ViolationShared *shared = NULL;

Size
violations_shmem_size(void)
{
	return MAXALIGN(sizeof(ViolationShared));
}

void
violations_shmem_startup(bool found)
{
	bool		present;

	shared = ShmemInitStruct("pg_heal violations", sizeof(ViolationShared), &present);
	if (found)
		return;
	memset(shared, 0, sizeof(ViolationShared));
	pg_atomic_init_u64(&shared->changes, 0);
	for (int i = 0; i < SLOTS; i++)
	{
		pg_atomic_init_u64(&shared->slots[i].key, 0);
		pg_atomic_init_u32(&shared->slots[i].ready, 0);
		pg_atomic_init_u64(&shared->slots[i].count, 0);
		pg_atomic_init_u64(&shared->slots[i].last_at, 0);
	}
}

/*---- Writing: in the log hook ----*/

static uint64
add_to_key(uint64 key, const char *text)
{
	return hash_bytes_extended((const unsigned char *) text, (int) strlen(text), key);
}

static void
count(Slot *slot)
{
	pg_atomic_fetch_add_u64(&slot->count, 1);
	pg_atomic_write_u64(&slot->last_at, (uint64) GetCurrentTimestamp());
	pg_atomic_fetch_add_u64(&shared->changes, 1);
}

static bool
claim(Slot *slot, uint64 key, const ErrorData *edata, const char *schema, const char *table, const char *name)
{
	uint64		expected = 0;

	if (!pg_atomic_compare_exchange_u64(&slot->key, &expected, key))
		return false;
	slot->database = MyDatabaseId;
	slot->sqlstate = edata->sqlerrcode;
	strlcpy(slot->schema, schema, sizeof(slot->schema));
	strlcpy(slot->table, table, sizeof(slot->table));
	strlcpy(slot->constraint, name, sizeof(slot->constraint));
	pg_atomic_write_u64(&slot->count, 0);
	pg_write_barrier();
	pg_atomic_write_u32(&slot->ready, 1);
	return true;
}

void
violations_note(const ErrorData *edata)
{
	bool		damage = edata->sqlerrcode == ERRCODE_DATA_CORRUPTED || edata->sqlerrcode == ERRCODE_INDEX_CORRUPTED;
	const char *schema = edata->schema_name != NULL ? edata->schema_name : "";
	const char *table = edata->table_name != NULL ? edata->table_name : "";
	const char *name = edata->constraint_name != NULL ? edata->constraint_name :
		edata->column_name != NULL ? edata->column_name : "";
	uint64		key;

	if (shared == NULL || MyDatabaseId == InvalidOid)
		return;
	/* Which block of which file; of one kind of damage the first is kept. */
	key = ((uint64) MyDatabaseId << 32) ^ (uint64) edata->sqlerrcode;
	if (damage)
		name = edata->message != NULL ? edata->message : "";
	else
		key = add_to_key(add_to_key(add_to_key(key, schema), table), name);
	if (key == 0)
		key = 1;

	for (int i = 0; i < SLOTS; i++)
		if (pg_atomic_read_u64(&shared->slots[i].key) == key)
		{
			count(&shared->slots[i]);
			return;
		}
	for (int i = 0; i < SLOTS; i++)
		if (claim(&shared->slots[i], key, edata, schema, table, name))
		{
			count(&shared->slots[i]);
			return;
		}
}

/*---- Reading: in the healer ----*/

static void
free_oldest(void)
{
	Slot	   *oldest = NULL;
	int			n_free = 0;

	for (int i = 0; i < SLOTS; i++)
	{
		Slot	   *slot = &shared->slots[i];

		if (pg_atomic_read_u64(&slot->key) == 0)
			n_free++;
		else if (pg_atomic_read_u32(&slot->ready) != 0 &&
				 (oldest == NULL || pg_atomic_read_u64(&slot->last_at) < pg_atomic_read_u64(&oldest->last_at)))
			oldest = slot;
	}
	if (n_free >= MIN_FREE || oldest == NULL)
		return;
	pg_atomic_write_u32(&oldest->ready, 0);
	pg_write_barrier();
	pg_atomic_write_u64(&oldest->key, 0);
}

/* The row of the same key, or a new one. */
static hc_violation *
row_of(hc_violation *rows, uint32 *n, uint64 *keys, uint64 key)
{
	for (uint32 i = 0; i < *n; i++)
		if (keys[i] == key)
			return &rows[i];
	keys[*n] = key;
	return &rows[(*n)++];
}

static uint32
read_slots(hc_violation *rows)
{
	uint64		keys[SLOTS];
	uint32		n = 0;

	for (int i = 0; i < SLOTS; i++)
	{
		Slot	   *slot = &shared->slots[i];
		uint64		key = pg_atomic_read_u64(&slot->key);
		char	   *database;
		hc_violation *row;

		if (key == 0 || pg_atomic_read_u32(&slot->ready) == 0)
			continue;
		pg_read_barrier();
		database = get_database_name(slot->database);
		if (database == NULL)
			continue;
		row = row_of(rows, &n, keys, key);
		row->count += pg_atomic_read_u64(&slot->count);
		row->database_oid = slot->database;
		row->database = collect_text(database, NAMEDATALEN);
		row->sqlstate = pstrdup(unpack_sql_state(slot->sqlstate));
		row->schema = collect_text(slot->schema, NAMEDATALEN);
		row->table = collect_text(slot->table, NAMEDATALEN);
		row->constraint = collect_text(slot->constraint, NAME);
	}
	return n;
}

/* All of them at every look; copied anew when there is something new. */
void
collect_violations(hc_observation *obs)
{
	static MemoryContext context = NULL;
	static uint64 changes_seen = 0;
	static hc_violation *rows = NULL;
	static uint32 n_rows = 0;
	uint64		changes;
	MemoryContext oldcxt;

	if (shared == NULL)
		return;
	changes = pg_atomic_read_u64(&shared->changes);
	if (changes != changes_seen)
	{
		if (context == NULL)
			context = AllocSetContextCreate(TopMemoryContext, "pg_heal violations", ALLOCSET_SMALL_SIZES);
		n_rows = 0;
		MemoryContextReset(context);
		oldcxt = MemoryContextSwitchTo(context);
		rows = palloc0(sizeof(hc_violation) * SLOTS);
		n_rows = read_slots(rows);
		MemoryContextSwitchTo(oldcxt);
		changes_seen = changes;
		free_oldest();
	}
	obs->violations = rows;
	obs->n_violations = n_rows;
}
