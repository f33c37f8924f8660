/*-------------------------------------------------------------------------
 *
 * store.c
 *	  All writes to schema heal, and what the core is restored from.
 *
 * The tables follow the journal. A flush applies what the journal holds beyond
 * journal_state.applied_seq and moves that number in the same transaction, so
 * each record reaches the tables exactly once, in order, whatever happens in
 * between. While the server cannot write (read-only, disk full, out of
 * transaction IDs, a lock on the tables) a flush fails softly and is tried again
 * later; the journal waits.
 *
 * Without a journal file records are kept in memory, the newest image of each
 * row, and never more than a bounded number.
 *
 *-------------------------------------------------------------------------
 */
#include "pg_heal.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"

#define MIN_BACKOFF_MS 1000
#define MAX_BACKOFF_MS 10000
#define LOG_INTERVAL_MS 60000

#define MAX_MEMORY_RECORDS 2000
#define TRIM_BATCH 500
#define TRIM_INTERVAL_MS (10 * 60 * 1000)

/* The rate budgets look back an hour, the oscillation ledger 7 days. */
#define ATTEMPTS_KEPT "interval '8 days'"

typedef struct StoreTable
{
	const char *name;
	const char *key;
	bool		append_only;
	SPIPlanPtr	write;			/* of one row image; NULL: not prepared yet */
} StoreTable;

static StoreTable tables[HC_T_COUNT] = {
	[HC_T_INCIDENTS] = {"incidents", "incident_id", false},
	[HC_T_TRANSITIONS] = {"transitions", "transition_id", true},
	[HC_T_ATTEMPTS] = {"attempts", "attempt_id", false},
	[HC_T_RECOMMENDATIONS] = {"recommendations", "recommendation_id", false},
	[HC_T_SNAPSHOTS] = {"snapshots", "snapshot_id", false},
	[HC_T_SNAPSHOT_ITEMS] = {"snapshot_items", "item_id", false},
	[HC_T_ANOMALIES] = {"anomalies", "anomaly_id", true},
	[HC_T_AUDIT] = {"audit", "audit_id", true},
	[HC_T_PREDICTIONS] = {"predictions", "prediction_id", false},
	[HC_T_COLUMN_GENERATIONS] = {"column_generations", "generation_id", false},
};

/*
 * What the core is restored from, as conditions on the table t. The row with
 * the largest id comes along so that counters go on after it.
 */
static const char *const load_conditions[HC_T_COUNT] = {
	[HC_T_INCIDENTS] = "t.resolved_at IS NULL",
	[HC_T_TRANSITIONS] = "t.incident_id IN (SELECT i.incident_id FROM heal.incidents i WHERE i.resolved_at IS NULL)",
	[HC_T_ATTEMPTS] = "t.started_at > clock_timestamp() - " ATTEMPTS_KEPT " OR t.state <> 'finished'",
	[HC_T_RECOMMENDATIONS] = "t.incident_id IN (SELECT i.incident_id FROM heal.incidents i WHERE i.resolved_at IS NULL)",
	[HC_T_SNAPSHOTS] = "t.state = 'active' OR t.rollback_status = 'in_progress' OR t.expires_at > clock_timestamp() - interval '1 day'",
	[HC_T_SNAPSHOT_ITEMS] = "t.snapshot_id IN (SELECT s.snapshot_id FROM heal.snapshots s WHERE s.state = 'active' OR s.rollback_status = 'in_progress')",
	[HC_T_ANOMALIES] = "false",
	[HC_T_AUDIT] = "false",
	/* The graded ones tell how far further ones are to be believed. */
	[HC_T_PREDICTIONS] = "t.outcome = 'open' OR t.prediction_id > (SELECT max(p.prediction_id) - 200 FROM heal.predictions p)",
	[HC_T_COLUMN_GENERATIONS] = "true",
};

/*---- State: of this process, for the extension as it is now ----*/

static MemoryContext memory_cxt = NULL; /* of the records below */
static HealJournalRecord *memory_records = NULL;
static uint32 n_memory = 0;
static uint64 memory_after_seq = 0; /* journal records up to here go first */
static uint64 memory_dropped = 0;

static uint64 queued_seq = 0;	/* newest journal record to be applied */
static uint64 applied_seq = 0;	/* as journal_state says */

static TimestampTz next_flush = 0;
static TimestampTz next_trim = 0;
static int	backoff_ms = 0;
static TimestampTz last_complaint = 0;

/* In a guarded transaction: skip rows the tables refuse instead of failing. */
static bool skip_bad_rows = false;

/*---- Transactions that may fail ----*/

/*
 * DROP EXTENSION locks the extension first and its tables then, in an order of
 * its own. Whoever holds the extension's lock before touching a table cannot
 * deadlock with it. False while it is being dropped.
 */
bool
store_pin_extension(void)
{
	Oid			extension = get_extension_oid("pg_heal", true);

	return !OidIsValid(extension) ||
		ConditionalLockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
}

static void
begin_write(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (!store_pin_extension())
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("extension \"pg_heal\" is being dropped")));
	/* Nobody else arms it in a background worker. */
	if (heal_component_timeout > 0)
		enable_timeout_after(STATEMENT_TIMEOUT, heal_component_timeout);
}

static void
end_write(void)
{
	disable_timeout(STATEMENT_TIMEOUT, false);
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	/* A cancel that came too late is not meant for what follows. */
	QueryCancelPending = false;
}

/* Abort and return the error, allocated in cxt. In PG_CATCH only. */
static ErrorData *
abort_write(MemoryContext cxt)
{
	ErrorData  *error;

	HOLD_INTERRUPTS();
	disable_all_timeouts(false);
	QueryCancelPending = false;
	MemoryContextSwitchTo(cxt);
	error = CopyErrorData();
	FlushErrorState();
	/* Not AbortCurrentTransaction: there may be a subtransaction. */
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(cxt);
	RESUME_INTERRUPTS();
	return error;
}

/* Run work in a transaction of its own; NULL, or the error that ended it. */
static ErrorData *
try_write(void (*work) (void))
{
	MemoryContext cxt = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		begin_write();
		work();
		end_write();
	}
	PG_CATCH();
	{
		error = abort_write(cxt);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(cxt);
	return error;
}

/* At most once a minute, however often it fails. */
static void
complain(const ErrorData *error, const char *what)
{
	TimestampTz now = GetCurrentTimestamp();

	if (last_complaint != 0 && !TimestampDifferenceExceeds(last_complaint, now, LOG_INTERVAL_MS))
		return;
	last_complaint = now;
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("could not %s the tables of pg_heal: %s", what, error->message),
			 errdetail("It will be tried again; the journal keeps what is not written.")));
}

/*---- The extension ----*/

/*
 * That the extension is here and fits is asked in every tick and hardly ever
 * changes: a scan of its catalog each time was a twentieth of the healer's CPU.
 * pg_extension has no syscache to hear from, but the extension cannot come or
 * go without its schema, nor change without its functions.
 */
#define READY_VALID_US	INT64CONST(60000000)
static bool ready_known = false;
static bool ready_watched = false;
static TimestampTz ready_since;

static void
forget_ready(Datum arg, int cacheid, uint32 hash)
{
	ready_known = false;
}

static bool
ready_is_known(void)
{
	if (!ready_watched)
	{
		CacheRegisterSyscacheCallback(NAMESPACEOID, forget_ready, (Datum) 0);
		CacheRegisterSyscacheCallback(PROCOID, forget_ready, (Datum) 0);
		ready_watched = true;
	}
	return ready_known && !TimestampDifferenceExceeds(ready_since, GetCurrentTimestamp(), READY_VALID_US / 1000);
}

/* Is the extension here, and does this library fit it? In a transaction. */
bool
store_extension_ready(char **why_not)
{
	Relation	rel;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *version = NULL;

	*why_not = NULL;
	if (ready_is_known())
		return true;
	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("pg_heal"));
	rel = table_open(ExtensionRelationId, AccessShareLock);
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		datum = heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(rel), &isnull);

		version = isnull ? pstrdup("") : TextDatumGetCString(datum);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	if (version == NULL)
		*why_not = psprintf("extension pg_heal does not exist in database \"%s\"; run CREATE EXTENSION pg_heal there", heal_database);
	else if (strcmp(version, HEAL_VERSION) != 0)
		*why_not = psprintf("extension pg_heal has version %s, the library %s; run ALTER EXTENSION pg_heal UPDATE in database \"%s\"",
							version, HEAL_VERSION, heal_database);
	ready_known = *why_not == NULL;
	ready_since = GetCurrentTimestamp();
	return ready_known;
}

/*---- The queue ----*/

static void
drop_memory_record(uint32 i)
{
	pfree(unconstify(char *, memory_records[i].record.json));
	n_memory--;
	memmove(&memory_records[i], &memory_records[i + 1], (n_memory - i) * sizeof(HealJournalRecord));
}

/* Full: the oldest anomaly goes, or else the oldest record. */
static void
make_memory_room(void)
{
	uint32		victim = 0;

	for (uint32 i = 0; i < n_memory; i++)
		if (memory_records[i].record.table == HC_T_ANOMALIES)
		{
			victim = i;
			break;
		}
	drop_memory_record(victim);
	if (memory_dropped++ == 0)
		ereport(WARNING,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("records of pg_heal are left out, because neither its journal nor its tables can be written"),
				 errhint("See the server log for the reason of each.")));
}

static void
remember_in_memory(const hc_record *record)
{
	HealJournalRecord *slot;

	if (memory_records == NULL)
	{
		memory_cxt = AllocSetContextCreate(TopMemoryContext, "pg_heal records without journal", ALLOCSET_DEFAULT_SIZES);
		memory_records = MemoryContextAlloc(memory_cxt, sizeof(HealJournalRecord) * MAX_MEMORY_RECORDS);
		memory_after_seq = queued_seq;
	}
	if (record->table != HC_T_AUDIT)
		for (uint32 i = 0; i < n_memory; i++)
			if (memory_records[i].record.table == record->table && memory_records[i].record.id == record->id)
			{
				drop_memory_record(i);
				break;
			}
	if (n_memory == MAX_MEMORY_RECORDS)
		make_memory_room();

	slot = &memory_records[n_memory++];
	slot->seq = 0;
	slot->record = *record;
	slot->record.json = MemoryContextStrdup(memory_cxt, record->json);
}

static void
forget_memory(void)
{
	if (memory_records == NULL)
		return;
	MemoryContextDelete(memory_cxt);
	memory_cxt = NULL;
	memory_records = NULL;
	n_memory = 0;
}

/*
 * To be written by the next flush. A record that is in the journal (seq is not
 * 0) is read back from there.
 */
void
store_queue(const HealJournalRecord *records, uint32 n)
{
	for (uint32 i = 0; i < n; i++)
	{
		if (records[i].seq == 0)
			remember_in_memory(&records[i].record);
		else
			queued_seq = Max(queued_seq, records[i].seq);
	}
}

/*---- Writing rows ----*/

/* a = excluded.a, ... for all columns but the key. */
static void
append_assignments(StringInfo sql, const StoreTable *table)
{
	Oid			relid = get_relname_relid(table->name, get_namespace_oid("heal", false));
	Relation	rel = table_open(relid, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	const char *separator = "";

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		const char *name;

		if (att->attisdropped || strcmp(NameStr(att->attname), table->key) == 0)
			continue;
		name = quote_identifier(NameStr(att->attname));
		appendStringInfo(sql, "%s%s = excluded.%s", separator, name, name);
		separator = ", ";
	}
	table_close(rel, AccessShareLock);
}

static SPIPlanPtr
prepare(const char *sql, int n_args, Oid *types)
{
	SPIPlanPtr	plan = SPI_prepare(sql, n_args, types);

	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare \"%s\"", sql);
	return plan;
}

/* The statement that writes one row image ($1) of the table. */
static SPIPlanPtr
write_plan(StoreTable *table)
{
	StringInfoData sql;
	Oid			types[1] = {TEXTOID};

	if (table->write != NULL)
		return table->write;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO heal.%s SELECT * FROM pg_catalog.jsonb_populate_record(NULL::heal.%s, $1::pg_catalog.jsonb)",
					 table->name, table->name);
	/* The audit numbers its rows itself, so none can be there already. */
	if (table != &tables[HC_T_AUDIT])
		appendStringInfo(&sql, " ON CONFLICT (%s) DO ", table->key);
	if (!table->append_only)
	{
		appendStringInfoString(&sql, "UPDATE SET ");
		append_assignments(&sql, table);
	}
	else if (table != &tables[HC_T_AUDIT])
		appendStringInfoString(&sql, "NOTHING");

	table->write = prepare(sql.data, 1, types);
	return table->write;
}

static void
write_row(const hc_record *record)
{
	/* The core speaks UTF-8. */
	char	   *json = pg_any_to_server(record->json, strlen(record->json), PG_UTF8);
	Datum		values[1] = {CStringGetTextDatum(json)};

	if (SPI_execute_plan(write_plan(&tables[record->table]), values, NULL, false, 0) < 0)
		elog(ERROR, "could not write a row of heal.%s", tables[record->table].name);
	pfree(DatumGetPointer(values[0]));
}

/* Is it this row that cannot be written, now and ever? */
static bool
is_bad_row(int sqlerrcode)
{
	int			category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return category == ERRCODE_DATA_EXCEPTION ||
		category == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION ||
		sqlerrcode == ERRCODE_UNTRANSLATABLE_CHARACTER ||
		sqlerrcode == ERRCODE_DATATYPE_MISMATCH;
}

/* Write a row in a subtransaction; one the table refuses is said and left out. */
static void
write_row_or_skip(const hc_record *record)
{
	MemoryContext cxt = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(cxt);
	PG_TRY();
	{
		write_row(record);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(cxt);
		error = CopyErrorData();
		if (!is_bad_row(error->sqlerrcode))
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(cxt);
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("row " INT64_FORMAT " of table heal.%s is left out: %s",
						record->id, tables[record->table].name, error->message)));
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(cxt);
	CurrentResourceOwner = owner;
}

static void
write_rows(const HealJournalRecord *records, uint32 n)
{
	for (uint32 i = 0; i < n; i++)
	{
		if (skip_bad_rows)
			write_row_or_skip(&records[i].record);
		else
			write_row(&records[i].record);
	}
}

static void
write_applied(uint64 seq)
{
	static const char *const sql =
		"INSERT INTO heal.journal_state (one, applied_seq, server_identity) VALUES (true, $1, $2) "
		"ON CONFLICT (one) DO UPDATE SET applied_seq = excluded.applied_seq, server_identity = excluded.server_identity";
	Oid			types[2] = {INT8OID, TEXTOID};
	Datum		values[2] = {Int64GetDatum((int64) seq), CStringGetTextDatum(journal_server_identity())};

	if (SPI_execute_with_args(sql, 2, types, values, NULL, false, 0) < 0)
		elog(ERROR, "could not write heal.journal_state");
}

/*---- Flush ----*/

/* What the transaction below did; valid only once it has committed. */
static uint64 flushed_seq;

/* Journal records of one portion. */
static void
flush_journal(void)
{
	HealJournalRecord *records;
	uint32		n = journal_read_after(applied_seq, &records);

	flushed_seq = applied_seq;
	if (n == 0)
		return;

	/* What waits in memory comes between older and newer journal records. */
	if (n_memory > 0 && applied_seq < memory_after_seq)
		while (n > 1 && records[n - 1].seq > memory_after_seq)
			n--;
	write_rows(records, n);
	flushed_seq = records[n - 1].seq;
	write_applied(flushed_seq);
}

static void
flush_memory(void)
{
	write_rows(memory_records, n_memory);
}

/* One transaction; once more, row by row, when a row was refused. */
static bool
flush_once(void (*work) (void))
{
	ErrorData  *error = try_write(work);

	if (error != NULL && is_bad_row(error->sqlerrcode))
	{
		skip_bad_rows = true;
		error = try_write(work);
		skip_bad_rows = false;
	}
	if (error == NULL)
	{
		backoff_ms = 0;
		next_flush = 0;
		return true;
	}

	complain(error, "write");
	FreeErrorData(error);
	backoff_ms = backoff_ms == 0 ? MIN_BACKOFF_MS : Min(backoff_ms * 2, MAX_BACKOFF_MS);
	next_flush = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), backoff_ms);
	return false;
}

static bool
flush_memory_due(void)
{
	return n_memory > 0 && applied_seq >= memory_after_seq;
}

/* Bring the tables up to date. False when the server cannot write now. */
bool
store_flush(void)
{
	/* Also tells a journal opened anew what it need not keep. */
	journal_mark_applied(applied_seq);
	if (queued_seq <= applied_seq && n_memory == 0)
		return true;
	if (next_flush != 0 && GetCurrentTimestamp() < next_flush)
		return false;

	for (;;)
	{
		if (flush_memory_due())
		{
			if (!flush_once(flush_memory))
				return false;
			forget_memory();
		}
		if (queued_seq <= applied_seq)
			break;
		if (!flush_once(flush_journal))
			return false;
		if (flushed_seq == applied_seq)
			break;				/* the journal is closed, or has left them out */
		applied_seq = flushed_seq;
		journal_mark_applied(applied_seq);
	}
	pgstat_report_stat(false);
	return true;
}

/*---- Loading ----*/

static char *
to_utf8(const char *text)
{
	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

/* Copies of the rows of one table, appended to *records. */
static uint32
load_table(hc_table_kind kind, hc_record **records, uint32 n, MemoryContext cxt)
{
	const StoreTable *table = &tables[kind];
	StringInfoData sql;
	MemoryContext old;

	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "SELECT t.%s, pg_catalog.to_jsonb(t)::text FROM heal.%s t "
					 "WHERE (%s) OR t.%s = (SELECT max(m.%s) FROM heal.%s m) ORDER BY 1",
					 table->key, table->name, load_conditions[kind], table->key, table->key, table->name);
	if (SPI_execute(sql.data, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read heal.%s", table->name);

	old = MemoryContextSwitchTo(cxt);
	if (SPI_processed > 0)
		*records = *records == NULL ?
			palloc_extended(sizeof(hc_record) * SPI_processed, MCXT_ALLOC_HUGE) :
			repalloc_huge(*records, sizeof(hc_record) * (n + SPI_processed));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		hc_record  *record = &(*records)[n++];
		bool		isnull;
		char	   *json = SPI_getvalue(tuple, SPI_tuptable->tupdesc, 2);

		record->table = kind;
		record->id = DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
		record->json = to_utf8(json);
	}
	MemoryContextSwitchTo(old);
	SPI_freetuptable(SPI_tuptable);
	return n;
}

/* Read journal_state; false when there is no row. */
static bool
load_journal_state(bool *foreign, uint64 *seq)
{
	bool		isnull;
	char	   *identity;

	if (SPI_execute("SELECT applied_seq, server_identity FROM heal.journal_state", true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read heal.journal_state");
	if (SPI_processed == 0)
		return false;
	*seq = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	identity = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
	*foreign = strcmp(identity, journal_server_identity()) != 0;
	return true;
}

static void
forget_everything(void)
{
	for (int i = 0; i < HC_T_COUNT; i++)
	{
		if (tables[i].write != NULL)
			SPI_freeplan(tables[i].write);
		tables[i].write = NULL;
	}
	forget_memory();
	queued_seq = applied_seq = 0;
	next_flush = next_trim = 0;
	backoff_ms = 0;
}

/*
 * Rows to restore the core from, oldest first, in CurrentMemoryContext. foreign:
 * they came from another server, by a copy or a restored dump. applied_seq: how
 * much of this server's journal they contain. The journal must have been opened
 * before. Runs its own transaction and raises errors.
 *
 * Tables that have no journal_state yet have just been created, or restored from
 * a dump: what the journal holds is about an installation that is gone, so it
 * counts as applied. That is written down at once, before the first record.
 */
uint32
store_load(hc_record **records, bool *foreign, uint64 *applied)
{
	MemoryContext cxt = CurrentMemoryContext;
	uint32		n = 0;
	uint64		seq = 0;
	bool		known;

	forget_everything();
	*records = NULL;
	*foreign = false;

	begin_write();
	known = load_journal_state(foreign, &seq);
	if (!known)
	{
		seq = journal_append(NULL, 0);
		write_applied(seq);
	}
	else if (*foreign)
		seq = 0;
	for (int kind = 0; kind < HC_T_COUNT; kind++)
	{
		uint32		before = n;

		n = load_table(kind, records, n, cxt);
		/* An operator may have left audit rows in tables just created. */
		if (!known && kind != HC_T_AUDIT && n > before)
			*foreign = true;
	}
	end_write();
	MemoryContextSwitchTo(cxt);

	applied_seq = seq;
	journal_mark_applied(seq);
	*applied = seq;
	return n;
}

/*---- Configuration ----*/

static char *
config_text(uint64 row, int column)
{
	char	   *text = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return text == NULL ? "" : to_utf8(text);
}

static double
config_number(uint64 row, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? 0 : DatumGetFloat8(value);
}

/* Run a query and allocate an element for each row in cxt, which becomes current. */
static void *
config_select(const char *sql, Size size, uint32 *n, MemoryContext cxt)
{
	void	   *rows;

	if (SPI_execute(sql, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", sql);
	*n = SPI_processed;
	MemoryContextSwitchTo(cxt);
	rows = palloc0(Max(*n, 1) * size);
	return rows;
}

static const hc_threshold *
load_thresholds(uint32 *n, MemoryContext cxt)
{
	hc_threshold *rows = config_select("SELECT failure_type, name, value FROM heal.thresholds ORDER BY 1, 2",
									   sizeof(hc_threshold), n, cxt);

	for (uint32 i = 0; i < *n; i++)
	{
		rows[i].failure_type = config_text(i, 1);
		rows[i].name = config_text(i, 2);
		rows[i].value = config_number(i, 3);
	}
	return rows;
}

static const hc_policy_row *
load_policies(uint32 *n, MemoryContext cxt)
{
	hc_policy_row *rows = config_select("SELECT scope, subject, setting, value FROM heal.policies ORDER BY 1, 2, 3",
										sizeof(hc_policy_row), n, cxt);

	for (uint32 i = 0; i < *n; i++)
	{
		rows[i].scope = config_text(i, 1);
		rows[i].subject = config_text(i, 2);
		rows[i].setting = config_text(i, 3);
		rows[i].value = config_text(i, 4);
	}
	return rows;
}

static const hc_causal_node *
load_nodes(uint32 *n, MemoryContext cxt)
{
	hc_causal_node *rows = config_select("SELECT node, kind, component, prior, metric FROM heal.causal_nodes ORDER BY 1",
										 sizeof(hc_causal_node), n, cxt);

	for (uint32 i = 0; i < *n; i++)
	{
		rows[i].node = config_text(i, 1);
		rows[i].kind = config_text(i, 2);
		rows[i].component = config_text(i, 3);
		rows[i].prior = config_number(i, 4);
		rows[i].metric = config_text(i, 5);
	}
	return rows;
}

/* What was learnt about an edge replaces what it was created with. */
static const hc_causal_edge *
load_edges(uint32 *n, MemoryContext cxt)
{
	hc_causal_edge *rows = config_select("SELECT cause, effect, edge_type, weight, coalesce(learned, probability), observations "
										 "FROM heal.causal_edges ORDER BY 1, 2",
										 sizeof(hc_causal_edge), n, cxt);

	for (uint32 i = 0; i < *n; i++)
	{
		rows[i].cause = config_text(i, 1);
		rows[i].effect = config_text(i, 2);
		rows[i].edge_type = config_text(i, 3);
		rows[i].weight = config_number(i, 4);
		rows[i].probability = config_number(i, 5);
		rows[i].observations = config_number(i, 6);
	}
	return rows;
}

static const hc_detector_counts *
load_detectors(uint32 *n, MemoryContext cxt)
{
	hc_detector_counts *rows = config_select("SELECT detector, subject, confirmed, refuted, unexplained "
											 "FROM heal.detector_counts",
											 sizeof(hc_detector_counts), n, cxt);

	for (uint32 i = 0; i < *n; i++)
	{
		rows[i].detector = config_text(i, 1);
		rows[i].subject = config_text(i, 2);
		rows[i].confirmed = config_number(i, 3);
		rows[i].refuted = config_number(i, 4);
		rows[i].unexplained = config_number(i, 5);
	}
	return rows;
}

/*
 * What users set, as this transaction sees it. The healer calls it, and the
 * functions that check or use the graph do so in any backend; everything is
 * qualified, for their search_path is not ours.
 */
hc_config *
store_load_config(void)
{
	MemoryContext cxt = CurrentMemoryContext;
	hc_config  *config = palloc0(sizeof(hc_config));

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	config->thresholds = load_thresholds(&config->n_thresholds, cxt);
	config->policies = load_policies(&config->n_policies, cxt);
	config->nodes = load_nodes(&config->n_nodes, cxt);
	config->edges = load_edges(&config->n_edges, cxt);
	config->detectors = load_detectors(&config->n_detectors, cxt);
	SPI_finish();
	MemoryContextSwitchTo(cxt);
	return config;
}

/*---- For others ----*/

bool
store_try(void (*work) (void), const char *what)
{
	ErrorData  *error = try_write(work);

	if (error == NULL)
		return true;
	complain(error, what);
	FreeErrorData(error);
	return false;
}

/*---- Retention ----*/

static uint64 trimmed;			/* rows of the fullest batch */

/* $1: seconds kept, $2: rows or incidents kept, $3: batch. */
static void
trim(const char *sql, int rows_kept)
{
	Oid			types[3] = {FLOAT8OID, INT8OID, INT4OID};
	Datum		values[3] = {Float8GetDatum(heal_history_retention), Int64GetDatum(rows_kept), Int32GetDatum(TRIM_BATCH)};

	if (SPI_execute_with_args(sql, 3, types, values, NULL, false, 0) < 0)
		elog(ERROR, "could not run \"%s\"", sql);
	trimmed = Max(trimmed, SPI_processed);
}

/*
 * Ids only grow, so the newest N rows are those above max - N; the newest row
 * of all stays, for the counters of the core go on after it. Open incidents and
 * what belongs to them, active snapshots and the audit are never touched, and
 * attempts stay as long as the oscillation ledger needs them.
 */
static void
trim_all(void)
{
	trimmed = 0;
	trim("WITH m AS (SELECT max(anomaly_id) AS id FROM heal.anomalies)"
		 " DELETE FROM heal.anomalies WHERE anomaly_id IN ("
		 " SELECT a.anomaly_id FROM heal.anomalies a, m WHERE a.anomaly_id < m.id"
		 " AND (a.observed_at < clock_timestamp() - make_interval(secs => $1) OR a.anomaly_id <= m.id - $2)"
		 " ORDER BY 1 LIMIT $3)", heal_history_max_events);
	trim("WITH m AS (SELECT max(prediction_id) AS id FROM heal.predictions)"
		 " DELETE FROM heal.predictions WHERE prediction_id IN ("
		 " SELECT p.prediction_id FROM heal.predictions p, m WHERE p.prediction_id < m.id AND p.outcome <> 'open'"
		 " AND (p.graded_at < clock_timestamp() - make_interval(secs => $1) OR p.prediction_id <= m.id - $2)"
		 " ORDER BY 1 LIMIT $3)", heal_history_max_events);
	trim("WITH m AS (SELECT max(incident_id) AS id FROM heal.incidents), old AS ("
		 " SELECT i.incident_id FROM heal.incidents i, m WHERE i.incident_id < m.id AND i.resolved_at IS NOT NULL"
		 " AND (i.resolved_at < clock_timestamp() - make_interval(secs => $1) OR i.incident_id <= m.id - $2)"
		 " ORDER BY 1 LIMIT $3),"
		 " r AS (DELETE FROM heal.recommendations WHERE incident_id IN (SELECT incident_id FROM old)"
		 "       AND recommendation_id < (SELECT max(recommendation_id) FROM heal.recommendations)),"
		 " t AS (DELETE FROM heal.transitions WHERE incident_id IN (SELECT incident_id FROM old)"
		 "       AND transition_id < (SELECT max(transition_id) FROM heal.transitions))"
		 " DELETE FROM heal.incidents WHERE incident_id IN (SELECT incident_id FROM old)", heal_history_size);
	trim("WITH m AS (SELECT max(transition_id) AS id FROM heal.transitions)"
		 " DELETE FROM heal.transitions WHERE transition_id IN ("
		 " SELECT t.transition_id FROM heal.transitions t, m WHERE t.transition_id <= m.id - $2"
		 " AND $1 IS NOT NULL"	/* goes with its incident, whatever its age */
		 " AND t.incident_id NOT IN (SELECT i.incident_id FROM heal.incidents i WHERE i.resolved_at IS NULL)"
		 " ORDER BY 1 LIMIT $3)", heal_history_max_events);
	trim("WITH m AS (SELECT max(attempt_id) AS id FROM heal.attempts)"
		 " DELETE FROM heal.attempts WHERE attempt_id IN ("
		 " SELECT a.attempt_id FROM heal.attempts a, m WHERE a.attempt_id < m.id AND a.state = 'finished'"
		 " AND a.started_at < clock_timestamp() - " ATTEMPTS_KEPT
		 " AND (a.started_at < clock_timestamp() - make_interval(secs => $1) OR a.attempt_id <= m.id - $2)"
		 " ORDER BY 1 LIMIT $3)", heal_history_max_events);
	trim("WITH m AS (SELECT max(snapshot_id) AS id FROM heal.snapshots), old AS ("
		 " SELECT s.snapshot_id FROM heal.snapshots s, m WHERE s.snapshot_id < m.id"
		 " AND (s.state <> 'active' OR s.expires_at < clock_timestamp() - interval '1 day')"
		 " AND s.rollback_status IS DISTINCT FROM 'in_progress'"
		 " AND (s.taken_at < clock_timestamp() - make_interval(secs => $1) OR s.snapshot_id <= m.id - $2)"
		 " AND NOT EXISTS (SELECT FROM heal.snapshots c WHERE c.parent_id = s.snapshot_id"
		 "                 AND c.state = 'active' AND c.expires_at > clock_timestamp())"
		 " ORDER BY 1 LIMIT $3),"
		 " i AS (DELETE FROM heal.snapshot_items WHERE snapshot_id IN (SELECT snapshot_id FROM old)"
		 "       AND item_id < (SELECT max(item_id) FROM heal.snapshot_items))"
		 " DELETE FROM heal.snapshots WHERE snapshot_id IN (SELECT snapshot_id FROM old)", heal_history_size);
}

/* A bounded piece of retention, and at once another while there is much to do. */
void
store_trim(void)
{
	TimestampTz now = GetCurrentTimestamp();
	ErrorData  *error;

	if (now < next_trim || backoff_ms != 0)
		return;
	error = try_write(trim_all);
	if (error != NULL)
	{
		complain(error, "trim");
		FreeErrorData(error);
		trimmed = 0;
	}
	next_trim = trimmed >= TRIM_BATCH ? 0 : TimestampTzPlusMilliseconds(now, TRIM_INTERVAL_MS);
}
