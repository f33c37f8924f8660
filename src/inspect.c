/*-------------------------------------------------------------------------
 *
 * inspect.c
 *	  The slow look into each database, healer side: whose turn it is, and what
 *	  is known of each database.
 *
 * The healer sends one short-lived worker (inspect_worker.c) after the other, so
 * that every database is seen once per pg_heal.inspect_interval. It keeps the
 * newest answer per database, each in a memory context of its own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "nodes/pg_list.h"
#include "utils/float.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "job.h"

/* Tables of all databases together; see tables_per_database. */
#define MAX_TABLES_ALL		5000
/* Nearly used-up sequences remembered of one database. */
#define MAX_KNOWN_SEQUENCES	1000
/* Pause between two databases, and before a try again. */
#define MIN_PAUSE_MS		1000
/* The inspector waits for nobody. */
#define LOCK_TIMEOUT_MS		100

/* A sequence stays known until its turn comes again, some passes later. */
typedef struct KnownSequence
{
	Oid			oid;
	double		used;
	char	   *qualified;
} KnownSequence;

/* A sequence behind its column; stays known like those above. */
typedef struct KnownBehind
{
	Oid			oid;
	hc_behind	row;			/* with strings of its own */
} KnownBehind;

/* An index amcheck found damaged; known until it passes or its turn does not come. */
typedef struct KnownDamage
{
	uint32		round;
	hc_fault	row;
} KnownDamage;

typedef struct InspectDb
{
	Oid			oid;
	NameData	name;
	bool		listed;			/* in pg_database at the last look */
	bool		gone;			/* dropped: shown once more, as empty */
	bool		requested;		/* inspect out of turn */
	TimestampTz asked_at;		/* last start of a worker */
	TimestampTz inspected_at;	/* 0: never */
	MemoryContext arena;		/* all below; replaced as a whole */
	InspectHeader header;
	int32		invalid_indexes;	/* that nobody builds */
	hc_table   *tables;
	hc_index   *indexes;
	hc_row_count *row_counts;
	hc_column_stats *columns;
	hc_fault   *faults;			/* without damaged indexes */
	uint32		n_faults;

	/* Not in the arena: sequences come a few at a time. */
	List	   *sequences;		/* of KnownSequence */
	Oid			sequence_cursor;
	double		used_this_round;	/* -1: none read yet */
	double		used_last_round;
	List	   *behind;			/* of KnownBehind */
	Oid			probe_cursor;
	List	   *damaged;		/* of KnownDamage */
	Oid			check_cursor;
	uint32		check_round;
	TimestampTz next_check;
} InspectDb;

static MemoryContext inspect_context = NULL;
static List *databases = NIL;	/* of InspectDb */
static TimestampTz listed_at = 0;
static TimestampTz next_start = 0;
static HealJobSlot *running = NULL;
static Oid	running_database = InvalidOid;
static bool running_metrics_only = false;
static TimestampTz next_metrics = 0;

/* All databases' rows one after the other, rebuilt after a change. */
static MemoryContext flat_context = NULL;
static bool flat_valid = false;
static hc_inspection *flat_inspections;
static hc_table *flat_tables;
static hc_index *flat_indexes;
static hc_sequence *flat_sequences;
static hc_row_count *flat_row_counts;
static hc_column_stats *flat_columns;
static hc_fault *flat_faults;
static hc_behind *flat_behind;
static uint32 n_flat_row_counts;
static uint32 n_flat_columns;
static uint32 n_flat_faults;
static uint32 n_flat_behind;
static uint32 n_flat_inspections;
static uint32 n_flat_tables;
static uint32 n_flat_indexes;
static uint32 n_flat_sequences;

static InspectDb *
find_database(Oid oid)
{
	ListCell   *lc;

	foreach(lc, databases)
	{
		InspectDb  *db = lfirst(lc);

		if (db->oid == oid)
			return db;
	}
	return NULL;
}

/* ---- reading an answer ---- */

typedef struct Reader
{
	const char *at;
	const char *end;
	bool		broken;
} Reader;

static void
get_bytes(Reader *r, void *bytes, Size len)
{
	if (r->broken || (Size) (r->end - r->at) < len)
	{
		r->broken = true;
		memset(bytes, 0, len);
		return;
	}
	memcpy(bytes, r->at, len);
	r->at += len;
}

static void
skip_bytes(Reader *r, Size len)
{
	if (r->broken || (Size) (r->end - r->at) < len)
		r->broken = true;
	else
		r->at += len;
}

static uint32
get_uint32(Reader *r)
{
	uint32		value;

	get_bytes(r, &value, sizeof(value));
	return value;
}

static int64
get_int64(Reader *r)
{
	int64		value;

	get_bytes(r, &value, sizeof(value));
	return value;
}

/* Points into the answer, which the arena holds. */
static const char *
get_text(Reader *r)
{
	uint32		len = get_uint32(r);
	const char *text = r->at;

	if (r->broken || (Size) (r->end - r->at) < (Size) len + 1 || text[len] != '\0')
	{
		r->broken = true;
		return "";
	}
	r->at += (Size) len + 1;
	return text;
}

static void
get_table(Reader *r, InspectDb *db, hc_table *table)
{
	table->database_oid = db->oid;
	table->database = NameStr(db->name);
	table->relation_oid = get_uint32(r);
	table->flags = get_uint32(r);
	table->bytes = get_int64(r);
	table->live_tuples = get_int64(r);
	table->dead_tuples = get_int64(r);
	table->mod_since_analyze = get_int64(r);
	table->last_vacuum = get_int64(r);
	table->last_analyze = get_int64(r);
	table->schema = get_text(r);
	table->name = get_text(r);
	table->qualified = get_text(r);
	table->owner = get_text(r);
	table->reloptions = get_text(r);
}

static void
get_index(Reader *r, InspectDb *db, hc_index *index)
{
	index->database_oid = db->oid;
	index->database = NameStr(db->name);
	index->index_oid = get_uint32(r);
	index->table_oid = get_uint32(r);
	index->flags = get_uint32(r);
	index->bytes = get_int64(r);
	index->qualified = get_text(r);
	index->table_qualified = get_text(r);
	index->owner = get_text(r);
	index->definition = get_text(r);

	if ((index->flags & (HC_INDEX_BUILDING | HC_INDEX_PARTITION)) == 0)
		db->invalid_indexes++;
}

static void
forget_sequence(KnownSequence *known)
{
	pfree(known->qualified);
	pfree(known);
}

/* Forget the sequences that an answer tells about anew. */
static void
forget_sequences(InspectDb *db, Oid from, Oid upto)
{
	ListCell   *lc;

	foreach(lc, db->sequences)
	{
		KnownSequence *known = lfirst(lc);

		if (known->oid <= from || (upto != InvalidOid && known->oid > upto))
			continue;
		db->sequences = foreach_delete_current(db->sequences, lc);
		forget_sequence(known);
	}
}

static void
get_sequence(Reader *r, InspectDb *db)
{
	Oid			oid = get_uint32(r);
	double		used;
	const char *qualified;
	MemoryContext oldcxt;
	KnownSequence *known;

	get_bytes(r, &used, sizeof(used));
	qualified = get_text(r);
	if (r->broken || list_length(db->sequences) >= MAX_KNOWN_SEQUENCES)
		return;

	oldcxt = MemoryContextSwitchTo(inspect_context);
	known = palloc(sizeof(KnownSequence));
	known->oid = oid;
	known->used = used;
	known->qualified = pstrdup(qualified);
	db->sequences = lappend(db->sequences, known);
	MemoryContextSwitchTo(oldcxt);
}

/* The largest share is that of a whole round through the sequences. */
static void
count_sequences(InspectDb *db)
{
	db->used_this_round = Max(db->used_this_round, db->header.sequences_used);
	db->sequence_cursor = db->header.sequences_upto;
	if (db->sequence_cursor == InvalidOid)
	{
		db->used_last_round = db->used_this_round;
		db->used_this_round = -1;
	}
}

/* ---- what is in the data ---- */

static void
get_row_count(Reader *r, InspectDb *db, hc_row_count *row)
{
	row->database_oid = db->oid;
	row->database = NameStr(db->name);
	row->relation_oid = get_uint32(r);
	row->live_tuples = get_int64(r);
	row->deleted = get_int64(r);
	row->schema = get_text(r);
	row->table = get_text(r);
}

static void
get_column(Reader *r, InspectDb *db, hc_column_stats *column)
{
	get_bytes(r, column, sizeof(hc_column_stats));
	column->database_oid = db->oid;
	column->database = NameStr(db->name);
	column->schema = get_text(r);
	column->table = get_text(r);
	column->column = get_text(r);
}

static void
forget_one_behind(KnownBehind *known)
{
	pfree(unconstify(char *, known->row.sequence));
	pfree(unconstify(char *, known->row.table));
	pfree(unconstify(char *, known->row.column));
	pfree(known);
}

/* Forget the sequences that an answer tells about anew. */
static void
forget_behind(InspectDb *db, Oid from, Oid upto)
{
	ListCell   *lc;

	foreach(lc, db->behind)
	{
		KnownBehind *known = lfirst(lc);

		if (known->oid <= from || (upto != InvalidOid && known->oid > upto))
			continue;
		db->behind = foreach_delete_current(db->behind, lc);
		forget_one_behind(known);
	}
}

static void
get_behind(Reader *r, InspectDb *db)
{
	hc_behind	row = {0};
	KnownBehind *known;
	MemoryContext oldcxt;

	row.database_oid = db->oid;
	row.sequence_oid = get_uint32(r);
	row.table_oid = get_uint32(r);
	row.next_value = get_int64(r);
	row.largest = get_int64(r);
	row.collision = get_int64(r);
	row.used = get_uint32(r);
	row.sequence = get_text(r);
	row.table = get_text(r);
	row.column = get_text(r);
	if (r->broken || list_length(db->behind) >= INSPECT_MAX_BEHIND)
		return;

	oldcxt = MemoryContextSwitchTo(inspect_context);
	known = palloc(sizeof(KnownBehind));
	known->oid = row.sequence_oid;
	known->row = row;
	known->row.sequence = pstrdup(row.sequence);
	known->row.table = pstrdup(row.table);
	known->row.column = pstrdup(row.column);
	db->behind = lappend(db->behind, known);
	MemoryContextSwitchTo(oldcxt);
}

static void
forget_one_damage(KnownDamage *known)
{
	pfree(unconstify(char *, known->row.table));
	pfree(unconstify(char *, known->row.object));
	pfree(unconstify(char *, known->row.detail));
	pfree(known);
}

/* Forget an index (0: those not seen in this round of checks or the one before; all: everything). */
static void
forget_damage(InspectDb *db, Oid index, bool all)
{
	ListCell   *lc;

	foreach(lc, db->damaged)
	{
		KnownDamage *known = lfirst(lc);

		if (!all && (OidIsValid(index) ? known->row.object_oid != index : known->round + 1 >= db->check_round))
			continue;
		db->damaged = foreach_delete_current(db->damaged, lc);
		forget_one_damage(known);
	}
}

static void
remember_damage(InspectDb *db, const hc_fault *fault)
{
	MemoryContext oldcxt;
	KnownDamage *known;

	if (list_length(db->damaged) >= INSPECT_MAX_FAULTS)
		return;
	oldcxt = MemoryContextSwitchTo(inspect_context);
	known = palloc(sizeof(KnownDamage));
	known->round = db->check_round;
	known->row = *fault;
	known->row.table = pstrdup(fault->table);
	known->row.object = pstrdup(fault->object);
	known->row.detail = pstrdup(fault->detail);
	db->damaged = lappend(db->damaged, known);
	MemoryContextSwitchTo(oldcxt);
}

static void
get_fault(Reader *r, InspectDb *db)
{
	hc_fault	fault = {0};

	fault.database_oid = db->oid;
	fault.database = NameStr(db->name);
	fault.kind = get_uint32(r);
	fault.object_oid = get_uint32(r);
	fault.table = get_text(r);
	fault.object = get_text(r);
	fault.detail = get_text(r);
	if (fault.kind > HC_FAULT_COLLATION)
		r->broken = true;
	if (r->broken)
		return;
	if (fault.kind == HC_FAULT_INDEX_DAMAGED)
		remember_damage(db, &fault);
	else
		db->faults[db->n_faults++] = fault;
}

/* Where the next amcheck goes on. */
static void
note_check(InspectDb *db, TimestampTz now)
{
	if (!db->header.check_ran)
		return;
	db->next_check = now + watch_check_interval_us();
	forget_damage(db, db->header.checked, false);
	db->check_cursor = db->header.checked;
	if (db->check_cursor == InvalidOid)
		db->check_round++;
}

static void
get_data(Reader *r, InspectDb *db)
{
	db->columns = palloc0(Max(db->header.n_columns, 1) * sizeof(hc_column_stats));
	db->faults = palloc0(Max(db->header.n_faults, 1) * sizeof(hc_fault));
	for (uint32 i = 0; i < db->header.n_columns; i++)
		get_column(r, db, &db->columns[i]);
	forget_behind(db, db->header.probed_from, db->header.probed_upto);
	for (uint32 i = 0; i < db->header.n_behind; i++)
		get_behind(r, db);
	db->probe_cursor = db->header.probed_upto;
	note_check(db, GetCurrentTimestamp());
	for (uint32 i = 0; i < db->header.n_faults; i++)
		get_fault(r, db);
}

static void
forget_facts(InspectDb *db)
{
	if (db->arena != NULL)
		MemoryContextDelete(db->arena);
	db->arena = NULL;
	db->tables = NULL;
	db->indexes = NULL;
	db->row_counts = NULL;
	db->columns = NULL;
	db->faults = NULL;
	db->n_faults = 0;
	db->invalid_indexes = 0;
	memset(&db->header, 0, sizeof(db->header));
	flat_valid = false;
}

/* Take an answer over. False when it makes no sense: then nothing is known. */
static bool
take_answer(InspectDb *db, HealJobSlot *job)
{
	MemoryContext oldcxt;
	Reader		r;
	char	   *copy;

	forget_facts(db);
	if (job->used < sizeof(InspectHeader))
		return false;

	db->arena = AllocSetContextCreate(inspect_context, "pg_heal inspected database", ALLOCSET_SMALL_SIZES);
	oldcxt = MemoryContextSwitchTo(db->arena);
	copy = palloc(job->used);
	memcpy(copy, job->data, job->used);
	r.at = copy;
	r.end = copy + job->used;
	r.broken = false;

	get_bytes(&r, &db->header, sizeof(db->header));
	skip_bytes(&r, db->header.n_metrics * sizeof(MetricAnswer));
	if (db->header.n_tables > INSPECT_MAX_TABLES || db->header.n_indexes > INSPECT_MAX_INDEXES ||
		db->header.n_sequences > INSPECT_MAX_SEQUENCES || db->header.n_row_counts > 2 * INSPECT_MAX_ROW_COUNTS ||
		db->header.n_columns > INSPECT_MAX_WATCHED || db->header.n_behind > INSPECT_MAX_BEHIND ||
		db->header.n_faults > INSPECT_MAX_FAULTS + 1)
		r.broken = true;
	else
	{
		db->tables = palloc0(Max(db->header.n_tables, 1) * sizeof(hc_table));
		db->indexes = palloc0(Max(db->header.n_indexes, 1) * sizeof(hc_index));
		for (uint32 i = 0; i < db->header.n_tables; i++)
			get_table(&r, db, &db->tables[i]);
		db->row_counts = palloc0(Max(db->header.n_row_counts, 1) * sizeof(hc_row_count));
		for (uint32 i = 0; i < db->header.n_row_counts; i++)
			get_row_count(&r, db, &db->row_counts[i]);
		for (uint32 i = 0; i < db->header.n_indexes; i++)
			get_index(&r, db, &db->indexes[i]);
		forget_sequences(db, db->header.sequences_from, db->header.sequences_upto);
		for (uint32 i = 0; i < db->header.n_sequences; i++)
			get_sequence(&r, db);
		get_data(&r, db);
	}
	MemoryContextSwitchTo(oldcxt);

	if (r.broken)
	{
		forget_facts(db);
		return false;
	}
	count_sequences(db);
	return true;
}

/* Metrics of users stand behind the header, whatever else the answer holds. */
static void
take_metrics(HealJobSlot *job, TimestampTz now)
{
	InspectHeader header;

	if (job->used < sizeof(header))
		return;
	memcpy(&header, job->data, sizeof(header));
	if (header.n_metrics <= HC_MAX_USER_METRICS &&
		job->used >= sizeof(header) + header.n_metrics * sizeof(MetricAnswer))
		user_metrics_take(job->data + sizeof(header), header.n_metrics, now);
}

/*
 * A worker that failed has seen nothing new: what was known stays known, with
 * its old time. Databases that go away while being looked at are no news.
 */
static void
finish_running(TimestampTz now)
{
	InspectDb  *db = find_database(running_database);

	if (db != NULL && db->gone)
		ereport(DEBUG1,
				(errmsg("database \"%s\" was dropped while it was inspected", NameStr(db->name))));
	else if (db != NULL && running->outcome == HC_OUT_DONE)
	{
		take_metrics(running, now);
		if (running_metrics_only)
			 /* nothing else was looked at */ ;
		else if (take_answer(db, running))
			db->inspected_at = now;
		else
			ereport(LOG,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("answer of the pg_heal inspector for database \"%s\" is not usable", NameStr(db->name))));
	}
	else if (db != NULL)
	{
		user_metrics_failed(running->message, now);
		ereport(DEBUG1,
				(errmsg("could not inspect database \"%s\": %s", NameStr(db->name), running->message)));
	}

	job_release(running);
	running = NULL;
	running_database = InvalidOid;
}

/* ---- the list of databases ---- */

static void
note_database(Form_pg_database form)
{
	InspectDb  *db;

	if (!form->datallowconn || form->datconnlimit == DATCONNLIMIT_INVALID_DB ||
		strcmp(NameStr(form->datname), "template0") == 0)
		return;

	db = find_database(form->oid);
	if (db == NULL)
	{
		MemoryContext oldcxt = MemoryContextSwitchTo(inspect_context);

		db = palloc0(sizeof(InspectDb));
		db->oid = form->oid;
		db->used_this_round = db->used_last_round = -1;
		databases = lappend(databases, db);
		MemoryContextSwitchTo(oldcxt);
	}
	/* In place: the rows point to it. */
	db->name = form->datname;
	db->listed = true;
	db->gone = false;
}

static void
scan_pg_database(void)
{
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
		note_database((Form_pg_database) GETSTRUCT(tuple));
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
}

/*
 * Bring the list up to date; forget databases that have gone. Until the next
 * time they are shown as looked at and empty, so that the core knows that what
 * it saw there is no more, rather than not seen for a while.
 */
static void
list_databases(TimestampTz now)
{
	MemoryContext oldcxt = CurrentMemoryContext;
	ListCell   *lc;

	foreach(lc, databases)
		((InspectDb *) lfirst(lc))->listed = false;

	scan_pg_database();
	MemoryContextSwitchTo(oldcxt);

	foreach(lc, databases)
	{
		InspectDb  *db = lfirst(lc);

		if (db->listed)
			continue;
		forget_facts(db);
		forget_sequences(db, InvalidOid, InvalidOid);
		forget_behind(db, InvalidOid, InvalidOid);
		forget_damage(db, InvalidOid, true);
		if (!db->gone)
		{
			db->gone = true;
			db->header.complete = true;
			db->inspected_at = now;
			continue;
		}
		databases = foreach_delete_current(databases, lc);
		pfree(db);
	}
	listed_at = now;
	user_metrics_check_databases(now);
}

/* ---- turns ---- */

/* Who is next: a request first, then the one that has waited longest. */
static InspectDb *
choose_database(TimestampTz now)
{
	InspectDb  *oldest = NULL;
	ListCell   *lc;

	foreach(lc, databases)
	{
		InspectDb  *db = lfirst(lc);

		if (db->gone)
			continue;
		if (db->requested)
			return db;
		if (oldest == NULL || db->asked_at < oldest->asked_at)
			oldest = db;
	}

	if (oldest == NULL || now < next_start)
		return NULL;
	if (oldest->asked_at != 0 &&
		!TimestampDifferenceExceeds(oldest->asked_at, now, heal_inspect_interval))
		return NULL;
	return oldest;
}

/* A database with metrics of users that are due before its turn. */
static InspectDb *
choose_for_metrics(TimestampTz now)
{
	ListCell   *lc;

	if (now < next_metrics && next_metrics < TimestampTzPlusMilliseconds(now, 2 * MIN_PAUSE_MS))
		return NULL;
	foreach(lc, databases)
	{
		InspectDb  *db = lfirst(lc);

		if (!db->gone && user_metrics_due(NameStr(db->name), now))
			return db;
	}
	return NULL;
}

bool
inspect_knows_database(const char *name)
{
	ListCell   *lc;

	if (databases == NIL)
		return true;
	foreach(lc, databases)
	{
		InspectDb  *db = lfirst(lc);

		if (!db->gone && strcmp(NameStr(db->name), name) == 0)
			return true;
	}
	return false;
}

/* Room for tables per database, so that many databases do not fill the healer. */
static int32
tables_per_database(void)
{
	int			n = Max(list_length(databases), 1);

	return Max(INSPECT_MIN_TABLES, Min(INSPECT_MAX_TABLES, MAX_TABLES_ALL / n));
}

/*
 * What the worker is asked: the request, the tables whose rows it counted the
 * last time, the watched columns.
 */
static void
make_request(InspectDb *db, TimestampTz now, bool metrics_only, StringInfo data)
{
	InspectRequest request = {.max_tables = tables_per_database(), .after_sequence = db->sequence_cursor,
	.probe_after = db->probe_cursor, .check_after = db->check_cursor, .metrics_only = metrics_only};
	uint32		used = 0;
	uint32		metrics_from;

	appendBinaryStringInfo(data, (char *) &request, sizeof(request));
	if (!metrics_only)
	{
		char	   *watched = palloc(HEAL_JOB_BYTES);

		/* A clock set back must not put the next check off. */
		if (now >= db->next_check || db->next_check - now > watch_check_interval_us())
			request.check_max_bytes = watch_check_bytes();
		request.n_remembered = Min(db->header.n_row_counts, INSPECT_MAX_ROW_COUNTS);
		for (uint32 i = 0; i < request.n_remembered; i++)
		{
			Oid			oid = db->row_counts[i].relation_oid;

			appendBinaryStringInfo(data, (char *) &oid, sizeof(oid));
		}
		request.n_watched = watch_put(NameStr(db->name), watched, &used);
		appendBinaryStringInfo(data, watched, used);
		pfree(watched);
	}
	metrics_from = data->len;
	request.n_metrics = user_metrics_request(NameStr(db->name), now, !metrics_only, data);
	request.metrics_len = data->len - metrics_from;
	memcpy(data->data, &request, sizeof(request));
}

static void
start_inspection(InspectDb *db, TimestampTz now, bool metrics_only)
{
	int			pause = Max(MIN_PAUSE_MS, heal_inspect_interval / Max(list_length(databases), 1));
	StringInfoData data;

	initStringInfo(&data);
	make_request(db, now, metrics_only, &data);

	if (!action_waits())
		running = job_start(HEAL_JOB_INSPECT, 0, db->oid, data.data, data.len,
							InvalidOid, false, LOCK_TIMEOUT_MS, heal_component_timeout);
	pfree(data.data);
	next_metrics = TimestampTzPlusMilliseconds(now, MIN_PAUSE_MS);
	if (running == NULL)
	{
		/* Actions go first; try again soon. */
		next_start = TimestampTzPlusMilliseconds(now, MIN_PAUSE_MS);
		return;
	}
	running_database = db->oid;
	running_metrics_only = metrics_only;
	if (metrics_only)
		return;
	db->asked_at = now;
	db->requested = false;
	next_start = TimestampTzPlusMilliseconds(now, pause);
}

void
inspect_schedule(TimestampTz now)
{
	InspectDb  *db;

	if (inspect_context == NULL)
		inspect_context = AllocSetContextCreate(TopMemoryContext, "pg_heal inspections", ALLOCSET_DEFAULT_SIZES);

	if (running != NULL)
	{
		if (!job_is_finished(running))
			return;
		finish_running(now);
	}

	/* A clock set back must not stop the turns. */
	if (listed_at == 0 || now < listed_at ||
		TimestampDifferenceExceeds(listed_at, now, heal_inspect_interval))
	{
		if (now < listed_at)
		{
			ListCell   *lc;

			next_start = 0;
			foreach(lc, databases)
				((InspectDb *) lfirst(lc))->asked_at = 0;
		}
		list_databases(now);
	}

	db = choose_database(now);
	if (db != NULL)
		start_inspection(db, now, false);
	else if ((db = choose_for_metrics(now)) != NULL)
		start_inspection(db, now, true);
}

/* A database that is not known yet gets its turn at the next listing. */
void
inspect_request(Oid database)
{
	InspectDb  *db = find_database(database);

	if (db != NULL)
		db->requested = true;
	else
		listed_at = 0;
}

/* ---- the observation ---- */

static void
flatten_sequences(InspectDb *db)
{
	ListCell   *lc;

	foreach(lc, db->sequences)
	{
		KnownSequence *known = lfirst(lc);
		hc_sequence *sequence = &flat_sequences[n_flat_sequences++];

		sequence->database_oid = db->oid;
		sequence->database = NameStr(db->name);
		sequence->qualified = known->qualified;
		sequence->used = known->used;
	}
}

static void
flatten_data(InspectDb *db)
{
	ListCell   *lc;

	memcpy(&flat_row_counts[n_flat_row_counts], db->row_counts, db->header.n_row_counts * sizeof(hc_row_count));
	n_flat_row_counts += db->header.n_row_counts;
	memcpy(&flat_columns[n_flat_columns], db->columns, db->header.n_columns * sizeof(hc_column_stats));
	n_flat_columns += db->header.n_columns;
	memcpy(&flat_faults[n_flat_faults], db->faults, db->n_faults * sizeof(hc_fault));
	n_flat_faults += db->n_faults;
	foreach(lc, db->damaged)
		flat_faults[n_flat_faults++] = ((KnownDamage *) lfirst(lc))->row;
	foreach(lc, db->behind)
	{
		hc_behind  *behind = &flat_behind[n_flat_behind++];

		*behind = ((KnownBehind *) lfirst(lc))->row;
		behind->database = NameStr(db->name);
	}
}

/* Lay the rows of all databases one after the other. */
static void
flatten(void)
{
	MemoryContext oldcxt;
	ListCell   *lc;

	if (flat_context == NULL)
		flat_context = AllocSetContextCreate(inspect_context, "pg_heal inspected rows", ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(flat_context);
	n_flat_inspections = n_flat_tables = n_flat_indexes = n_flat_sequences = 0;
	n_flat_row_counts = n_flat_columns = n_flat_faults = n_flat_behind = 0;

	foreach(lc, databases)
	{
		InspectDb  *db = lfirst(lc);

		n_flat_tables += db->header.n_tables;
		n_flat_indexes += db->header.n_indexes;
		n_flat_sequences += list_length(db->sequences);
		n_flat_row_counts += db->header.n_row_counts;
		n_flat_columns += db->header.n_columns;
		n_flat_faults += db->n_faults + list_length(db->damaged);
		n_flat_behind += list_length(db->behind);
	}

	oldcxt = MemoryContextSwitchTo(flat_context);
	flat_inspections = palloc0(Max(list_length(databases), 1) * sizeof(hc_inspection));
	flat_tables = palloc(Max(n_flat_tables, 1) * sizeof(hc_table));
	flat_indexes = palloc(Max(n_flat_indexes, 1) * sizeof(hc_index));
	flat_sequences = palloc(Max(n_flat_sequences, 1) * sizeof(hc_sequence));
	flat_row_counts = palloc(Max(n_flat_row_counts, 1) * sizeof(hc_row_count));
	flat_columns = palloc(Max(n_flat_columns, 1) * sizeof(hc_column_stats));
	flat_faults = palloc(Max(n_flat_faults, 1) * sizeof(hc_fault));
	flat_behind = palloc(Max(n_flat_behind, 1) * sizeof(hc_behind));
	MemoryContextSwitchTo(oldcxt);

	n_flat_tables = n_flat_indexes = n_flat_sequences = 0;
	n_flat_row_counts = n_flat_columns = n_flat_faults = n_flat_behind = 0;
	foreach(lc, databases)
	{
		InspectDb  *db = lfirst(lc);
		hc_inspection *inspection;

		if (db->inspected_at == 0 || (db->arena == NULL && !db->gone))
			continue;
		inspection = &flat_inspections[n_flat_inspections++];
		inspection->database_oid = db->oid;
		inspection->database = NameStr(db->name);
		inspection->inspected_at = db->inspected_at;
		inspection->complete = db->header.complete;

		memcpy(&flat_tables[n_flat_tables], db->tables, db->header.n_tables * sizeof(hc_table));
		n_flat_tables += db->header.n_tables;
		memcpy(&flat_indexes[n_flat_indexes], db->indexes, db->header.n_indexes * sizeof(hc_index));
		n_flat_indexes += db->header.n_indexes;
		flatten_sequences(db);
		if (!db->gone)
			flatten_data(db);
	}
	flat_valid = true;
}

/* Sums over what has been inspected; unknown before the first look. */
static void
fill_metrics(double *metrics)
{
	double		dead = 0;
	double		stale = 0;
	double		invalid = 0;
	double		used = -1;
	ListCell   *lc;

	foreach(lc, databases)
	{
		InspectDb  *db = lfirst(lc);

		dead += db->header.dead_tuples;
		stale += db->header.stale_tables;
		invalid += db->invalid_indexes;
		used = Max(used, Max(db->used_this_round, db->used_last_round));
	}

	if (n_flat_inspections == 0)
		dead = stale = invalid = get_float8_nan();
	metrics[HC_M_DEAD_TUPLES] = dead;
	metrics[HC_M_TABLES_STALE_STATISTICS] = stale;
	metrics[HC_M_INVALID_INDEXES] = invalid;
	metrics[HC_M_SEQUENCES_USED] = used < 0 ? get_float8_nan() : used;
}

void
inspect_fill(hc_observation *obs, double *metrics)
{
	if (inspect_context == NULL)
		inspect_context = AllocSetContextCreate(TopMemoryContext, "pg_heal inspections", ALLOCSET_DEFAULT_SIZES);
	if (!flat_valid)
		flatten();

	obs->inspections = flat_inspections;
	obs->n_inspections = n_flat_inspections;
	obs->tables = flat_tables;
	obs->n_tables = n_flat_tables;
	obs->indexes = flat_indexes;
	obs->n_indexes = n_flat_indexes;
	obs->sequences = flat_sequences;
	obs->n_sequences = n_flat_sequences;
	obs->row_counts = flat_row_counts;
	obs->n_row_counts = n_flat_row_counts;
	obs->columns = flat_columns;
	obs->n_columns = n_flat_columns;
	obs->faults = flat_faults;
	obs->n_faults = n_flat_faults;
	obs->behind = flat_behind;
	obs->n_behind = n_flat_behind;
	fill_metrics(metrics);
}
