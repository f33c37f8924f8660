/*-------------------------------------------------------------------------
 *
 * inspect_worker.c
 *	  The slow look into a database, worker side: tables, invalid indexes,
 *	  sequences.
 *
 * Reads catalogs and statistics by OID, opens no table, and returns only what
 * may matter: a few hundred rows at most. Catalogs are scanned here rather than
 * by SQL: a new process would spend more on planning than on looking, and how
 * the catalogs are scanned must not depend on their statistics. Statistics are
 * as fresh as they can be: this process has no snapshot of them yet.
 *
 * An answer is a header followed by rows: fixed-width numbers as they are in
 * memory (both ends are this very binary), texts as length, bytes and a zero.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_sequence.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "inspect_io.h"

/* Below this a table is not worth a row. */
#define MIN_DEAD			100
#define MIN_MODIFIED		1000
/* Statistics older than this share of the rows are stale. */
#define STALE_SHARE			0.1
/* Sequences opened in one pass; the next pass goes on from there. */
#define SEQUENCES_PER_PASS	100
/* Share of its range from which a sequence is worth a row. */
#define MIN_SEQUENCE_USED	0.5
/* Levels of partitions followed. */
#define MAX_PARTITION_DEPTH	64

/* ------------------------------------------------------------------------
 * Writing an answer
 * ------------------------------------------------------------------------ */

void
put_bytes(Writer *w, const void *bytes, Size len)
{
	if (w->overflow || w->job->used + len > HEAL_JOB_BYTES)
	{
		w->overflow = true;
		return;
	}
	memcpy(w->job->data + w->job->used, bytes, len);
	w->job->used += len;
}

void
put_int64(Writer *w, int64 value)
{
	put_bytes(w, &value, sizeof(value));
}

void
put_uint32(Writer *w, uint32 value)
{
	put_bytes(w, &value, sizeof(value));
}

/* Texts in a database without an encoding may be anything; the reader needs UTF-8. */
void
put_text(Writer *w, const char *text)
{
	char	   *utf8;
	uint32		len;

	if (GetDatabaseEncoding() == PG_SQL_ASCII &&
		!pg_verify_mbstr(PG_UTF8, text, strlen(text), true))
	{
		w->overflow = true;
		return;
	}
	utf8 = pg_server_to_any(text, strlen(text), PG_UTF8);
	len = strlen(utf8);
	put_uint32(w, len);
	put_bytes(w, utf8, len + 1);
}

/* ---- columns of the row at hand ---- */

static int64
column_int64(uint64 row, int number)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

static const char *
column_text(uint64 row, int number)
{
	const char *text = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number);

	return text != NULL ? text : "";
}

/* Close a row: taken back whole when it does not fit. */
bool
row_done(Writer *w, uint32 start)
{
	bool		fits = !w->overflow;

	if (!fits)
	{
		w->job->used = start;
		w->overflow = false;
	}
	return fits;
}

/* A function of one OID that may return NULL: then 0. */
static int64
call_by_oid(PGFunction function, Oid oid, bool *isnull)
{
	LOCAL_FCINFO(fcinfo, 1);
	Datum		result;

	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = ObjectIdGetDatum(oid);
	fcinfo->args[0].isnull = false;
	result = function(fcinfo);
	if (isnull != NULL)
		*isnull = fcinfo->isnull;
	return fcinfo->isnull ? 0 : DatumGetInt64(result);
}

/* ------------------------------------------------------------------------
 * Tables
 * ------------------------------------------------------------------------ */

/* A table with what its row needs but its options. */
typedef struct TableCount
{
	Oid			oid;
	Oid			schema;
	Oid			owner;
	Oid			toast;
	char		relkind;
	char		persistence;
	int32		pages;
	float4		reltuples;
	int64		live;
	int64		dead;
	int64		modified;
	NameData	name;
} TableCount;

typedef struct Tables
{
	TableCount *items;			/* in order of OID, after the scan */
	int			n;
	int			allocated;
	bool		partitioned;	/* there is a partitioned table */
} Tables;

/* Who is a part of whom, in order of parent. */
typedef struct Part
{
	Oid			parent;
	Oid			child;
} Part;

typedef struct Parts
{
	Part	   *items;
	int			n;
	int			allocated;
} Parts;

static int
compare_oids(Oid a, Oid b)
{
	return a < b ? -1 : a > b ? 1 : 0;
}

static int
compare_tables(const void *a, const void *b)
{
	return compare_oids(((const TableCount *) a)->oid, ((const TableCount *) b)->oid);
}

static int
compare_parts(const void *a, const void *b)
{
	return compare_oids(((const Part *) a)->parent, ((const Part *) b)->parent);
}

/* Most dead or modified rows first. */
static int
compare_weight(const void *a, const void *b)
{
	const TableCount *x = *(TableCount *const *) a;
	const TableCount *y = *(TableCount *const *) b;
	int64		weight_x = Max(x->dead, x->modified);
	int64		weight_y = Max(y->dead, y->modified);

	if (weight_x != weight_y)
		return weight_x > weight_y ? -1 : 1;
	return compare_oids(x->oid, y->oid);
}

static bool
is_table(char relkind)
{
	return relkind == RELKIND_RELATION || relkind == RELKIND_MATVIEW ||
		relkind == RELKIND_PARTITIONED_TABLE;
}

static int64
last_time(PGFunction by_hand, PGFunction automatic, Oid oid)
{
	int64		a = call_by_oid(by_hand, oid, NULL);
	int64		b = call_by_oid(automatic, oid, NULL);

	return Max(a, b);
}

static int64
last_vacuum(Oid oid)
{
	return last_time(pg_stat_get_last_vacuum_time, pg_stat_get_last_autovacuum_time, oid);
}

static int64
last_analyze(Oid oid)
{
	return last_time(pg_stat_get_last_analyze_time, pg_stat_get_last_autoanalyze_time, oid);
}

/*
 * Statistics that were reset, by hand or by a crash, count from zero until the
 * table is vacuumed or analyzed; pg_class remembers its rows.
 */
static int64
live_rows(Form_pg_class form)
{
	int64		live = call_by_oid(pg_stat_get_live_tuples, form->oid, NULL);

	if (live < form->reltuples && last_vacuum(form->oid) == 0 && last_analyze(form->oid) == 0)
		live = (int64) form->reltuples;
	return live;
}

static void
add_table(Tables *tables, Form_pg_class form)
{
	TableCount *table;

	if (tables->n == tables->allocated)
	{
		tables->allocated = Max(1024, tables->allocated * 2);
		tables->items = tables->items == NULL ?
			MemoryContextAllocHuge(CurrentMemoryContext, tables->allocated * sizeof(TableCount)) :
			repalloc_huge(tables->items, tables->allocated * sizeof(TableCount));
	}
	table = &tables->items[tables->n++];
	table->oid = form->oid;
	table->schema = form->relnamespace;
	table->owner = form->relowner;
	table->toast = form->reltoastrelid;
	table->relkind = form->relkind;
	table->persistence = form->relpersistence;
	table->pages = Max(form->relpages, 0);
	table->reltuples = form->reltuples;
	table->name = form->relname;
	table->live = live_rows(form);
	table->dead = call_by_oid(pg_stat_get_dead_tuples, form->oid, NULL);
	table->modified = call_by_oid(pg_stat_get_mod_since_analyze, form->oid, NULL);
	if (form->relkind == RELKIND_PARTITIONED_TABLE)
		tables->partitioned = true;
}

/*
 * Numbers come from the statistics by OID, sizes from pg_class: an exclusive
 * lock on a table does not stop the look at it.
 */
static void
scan_tables(Tables *tables)
{
	Relation	rel = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		CHECK_FOR_INTERRUPTS();
		if (is_table(form->relkind))
			add_table(tables, form);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (tables->n > 1)
		qsort(tables->items, tables->n, sizeof(TableCount), compare_tables);
}

static void
scan_parts(Parts *parts)
{
	Relation	rel = table_open(InheritsRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_inherits form = (Form_pg_inherits) GETSTRUCT(tuple);

		CHECK_FOR_INTERRUPTS();
		if (parts->n == parts->allocated)
		{
			parts->allocated = Max(256, parts->allocated * 2);
			parts->items = parts->items == NULL ? palloc(parts->allocated * sizeof(Part)) :
				repalloc_huge(parts->items, parts->allocated * sizeof(Part));
		}
		parts->items[parts->n].parent = form->inhparent;
		parts->items[parts->n++].child = form->inhrelid;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (parts->n > 1)
		qsort(parts->items, parts->n, sizeof(Part), compare_parts);
}

/* First part of a parent, or where it would be. */
static int
first_part(const Parts *parts, Oid parent)
{
	int			low = 0;
	int			high = parts->n;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (parts->items[middle].parent < parent)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void
add_parts(const Tables *tables, const Parts *parts, Oid parent, int depth, int64 *live, int64 *modified)
{
	if (depth > MAX_PARTITION_DEPTH)
		return;
	for (int i = first_part(parts, parent); i < parts->n && parts->items[i].parent == parent; i++)
	{
		TableCount	key = {.oid = parts->items[i].child};
		TableCount *part = bsearch(&key, tables->items, tables->n, sizeof(TableCount), compare_tables);

		if (part == NULL)
			continue;
		if (part->relkind == RELKIND_PARTITIONED_TABLE)
			add_parts(tables, parts, part->oid, depth + 1, live, modified);
		else
		{
			*live += part->live;
			*modified += part->modified;
		}
	}
}

/*
 * A partitioned table has no rows of its own, and autovacuum never analyses it.
 * Its counts are those of its parts; what was modified since it was analysed
 * itself is at least the change in its number of rows.
 */
static void
count_partitioned(Tables *tables)
{
	Parts		parts = {0};

	if (!tables->partitioned)
		return;
	scan_parts(&parts);
	for (int i = 0; i < tables->n; i++)
	{
		TableCount *table = &tables->items[i];
		int64		live = 0;
		int64		modified = 0;
		int64		change;

		if (table->relkind != RELKIND_PARTITIONED_TABLE)
			continue;
		add_parts(tables, &parts, table->oid, 0, &live, &modified);
		change = live - (int64) Max(table->reltuples, 0);
		table->live = live;
		table->dead = 0;
		table->modified = Max(modified, change < 0 ? -change : change);
	}
}

/* Targets of maintenance commands that run in this database now. */
static List *
busy_relations(void)
{
	List	   *busy = NIL;
	int			n = pgstat_fetch_stat_numbackends();

	for (int i = 1; i <= n; i++)
	{
#if PG_VERSION_NUM >= 160000
		LocalPgBackendStatus *local = pgstat_get_local_beentry_by_index(i);
#else
		LocalPgBackendStatus *local = pgstat_fetch_stat_local_beentry(i);
#endif

		if (local == NULL || local->backendStatus.st_databaseid != MyDatabaseId)
			continue;
		switch (local->backendStatus.st_progress_command)
		{
			case PROGRESS_COMMAND_VACUUM:
			case PROGRESS_COMMAND_ANALYZE:
			case PROGRESS_COMMAND_CREATE_INDEX:
			case PROGRESS_COMMAND_CLUSTER:
				busy = lappend_oid(busy, local->backendStatus.st_progress_command_target);
				break;
			default:
				break;
		}
	}
	return busy;
}

/* Text of the storage options, and whether they switch autovacuum off. */
static char *
table_options(Oid oid, bool *autovacuum_off)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(oid));
	Datum		options;
	bool		isnull;
	char	   *text = "";
	ListCell   *lc;

	*autovacuum_off = false;
	if (!HeapTupleIsValid(tuple))
		return text;
	options = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_reloptions, &isnull);
	if (!isnull)
	{
		text = OidOutputFunctionCall(F_ARRAY_OUT, options);
		foreach(lc, untransformRelOptions(options))
		{
			DefElem    *option = lfirst_node(DefElem, lc);
			bool		on;

			if (strcmp(option->defname, "autovacuum_enabled") == 0 && option->arg != NULL &&
				parse_bool(defGetString(option), &on))
				*autovacuum_off = !on;
		}
	}
	ReleaseSysCache(tuple);
	return text;
}

/*
 * A partitioned table is given a number of rows by ANALYZE alone: with one it
 * was analyzed before its statistics were reset.
 */
static int64
known_analyze(const TableCount *table)
{
	int64		at = last_analyze(table->oid);

	if (at == 0 && table->relkind == RELKIND_PARTITIONED_TABLE && table->reltuples >= 0)
		at = Max(call_by_oid(pg_stat_get_db_stat_reset_time, MyDatabaseId, NULL), 1);
	return at;
}

static void
put_table(Writer *w, const TableCount *table, List *busy)
{
	uint32		start = w->job->used;
	char	   *schema = get_namespace_name(table->schema);
	char	   *owner = GetUserNameFromId(table->owner, true);
	bool		autovacuum_off;
	char	   *options = table_options(table->oid, &autovacuum_off);
	uint32		flags = 0;

	/* Dropped meanwhile. */
	if (schema == NULL)
		return;
	if (autovacuum_off)
		flags |= HC_TABLE_AUTOVACUUM_OFF;
	if (table->relkind == RELKIND_PARTITIONED_TABLE)
		flags |= HC_TABLE_PARTITIONED;
	if (table->schema == PG_CATALOG_NAMESPACE || strcmp(schema, "information_schema") == 0)
		flags |= HC_TABLE_SYSTEM;
	if (list_member_oid(busy, table->oid) ||
		(OidIsValid(table->toast) && list_member_oid(busy, table->toast)))
		flags |= HC_TABLE_BUSY;
	if (table->persistence == RELPERSISTENCE_TEMP)
		flags |= HC_TABLE_TEMPORARY;

	put_uint32(w, table->oid);
	put_uint32(w, flags);
	put_int64(w, (int64) table->pages * BLCKSZ);
	put_int64(w, table->live);
	put_int64(w, table->dead);
	put_int64(w, table->modified);
	put_int64(w, last_vacuum(table->oid));
	put_int64(w, known_analyze(table));
	put_text(w, schema);
	put_text(w, NameStr(table->name));
	put_text(w, quote_qualified_identifier(schema, NameStr(table->name)));
	put_text(w, owner != NULL ? owner : "");
	put_text(w, options);

	if (row_done(w, start))
		w->header.n_tables++;
	else
		w->header.complete = 0;
}

/* ---- row counts ---- */

/* Fewer rows than this were never many. */
#define MIN_LARGE			10000

/* Most rows first. */
static int
compare_live(const void *a, const void *b)
{
	const TableCount *x = *(TableCount *const *) a;
	const TableCount *y = *(TableCount *const *) b;

	if (x->live != y->live)
		return x->live > y->live ? -1 : 1;
	return compare_oids(x->oid, y->oid);
}

static void
put_row_count(Writer *w, const TableCount *table)
{
	uint32		start = w->job->used;
	char	   *schema = get_namespace_name(table->schema);

	if (schema == NULL)
		return;
	put_uint32(w, table->oid);
	put_int64(w, table->live);
	put_int64(w, call_by_oid(pg_stat_get_tuples_deleted, table->oid, NULL));
	put_text(w, schema);
	put_text(w, NameStr(table->name));
	if (row_done(w, start))
		w->header.n_row_counts++;
}

/* Rows of the largest tables, and of those that were among them before. */
static void
put_row_counts(Writer *w, Tables *tables, const Oid *remembered, uint32 n_remembered)
{
	TableCount **large = MemoryContextAllocHuge(CurrentMemoryContext, Max(tables->n, 1) * sizeof(TableCount *));
	int			n = 0;

	for (uint32 i = 0; i < n_remembered; i++)
	{
		TableCount	key = {.oid = remembered[i]};
		TableCount *table = bsearch(&key, tables->items, tables->n, sizeof(TableCount), compare_tables);

		if (table == NULL || table->oid < FirstNormalObjectId)
			continue;
		put_row_count(w, table);
		/* Not a second time. */
		table->persistence = RELPERSISTENCE_TEMP;
	}
	for (int i = 0; i < tables->n; i++)
	{
		TableCount *table = &tables->items[i];

		if (table->live >= MIN_LARGE && table->persistence != RELPERSISTENCE_TEMP &&
			table->relkind == RELKIND_RELATION && table->oid >= FirstNormalObjectId)
			large[n++] = table;
	}
	if (n > 1)
		qsort(large, n, sizeof(TableCount *), compare_live);
	for (int i = 0; i < n && w->header.n_row_counts < INSPECT_MAX_ROW_COUNTS; i++)
		put_row_count(w, large[i]);
}

static void
inspect_tables(Writer *w, int32 max_rows, const Oid *remembered, uint32 n_remembered)
{
	Tables		tables = {0};
	TableCount **interesting;
	List	   *busy;
	int			n = 0;

	scan_tables(&tables);
	count_partitioned(&tables);

	interesting = MemoryContextAllocHuge(CurrentMemoryContext, Max(tables.n, 1) * sizeof(TableCount *));
	for (int i = 0; i < tables.n; i++)
	{
		TableCount *table = &tables.items[i];

		w->header.dead_tuples += table->dead;
		if (table->modified >= MIN_MODIFIED && table->modified > STALE_SHARE * table->live)
			w->header.stale_tables++;
		if (table->dead >= MIN_DEAD || table->modified >= MIN_MODIFIED)
			interesting[n++] = table;
	}
	if (n > 1)
		qsort(interesting, n, sizeof(TableCount *), compare_weight);
	if (n > max_rows)
	{
		w->header.complete = 0;
		n = max_rows;
	}

	busy = busy_relations();
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		put_table(w, interesting[i], busy);
	}
	put_row_counts(w, &tables, remembered, n_remembered);
}

/* ------------------------------------------------------------------------
 * Invalid indexes
 * ------------------------------------------------------------------------ */

/*
 * An index is invalid also while it is being built. Telling the two apart by
 * one query is a race: the build may end between the look at the catalog and
 * the look at the locks. So: candidates first, then who is busy with their
 * tables, then, in a new snapshot, which candidates are invalid still. A build
 * commits its index as valid before it gives its lock up.
 */

/* Who vacuums holds such a lock too and builds nothing. */
#define BUILDING_SQL \
	"SELECT coalesce(array_agg(relid), '{}') FROM (" \
	" SELECT p.relid FROM pg_stat_get_progress_info('CREATE INDEX') AS p WHERE p.datid = $2" \
	" UNION" \
	" SELECT l.relation FROM pg_lock_status() AS l JOIN pg_stat_get_activity(NULL) AS a ON a.pid = l.pid" \
	" WHERE l.locktype = 'relation' AND l.database = $2 AND l.relation = ANY ($1) AND l.granted" \
	"  AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock'," \
	"   'ExclusiveLock', 'AccessExclusiveLock')" \
	"  AND a.backend_type <> 'autovacuum worker'" \
	"  AND NOT EXISTS (SELECT FROM unnest(ARRAY['VACUUM', 'ANALYZE']) AS cmd," \
	"   pg_stat_get_progress_info(cmd) AS v WHERE v.pid = l.pid)) AS b"

#define INDEXES_SQL \
	"SELECT c.oid::bigint, i.indrelid::bigint, n.nspname, c.relname, tn.nspname, t.relname," \
	" pg_get_userbyid(c.relowner), pg_get_indexdef(c.oid)," \
	" greatest(c.relpages, 0)::bigint * current_setting('block_size')::bigint," \
	" i.indisunique::int::bigint, i.indisprimary::int::bigint, i.indisexclusion::int::bigint," \
	" (i.indrelid = ANY ($2))::int::bigint," \
	" (c.relkind = 'I' OR c.relispartition OR t.relkind = 'p')::int::bigint," \
	" (c.relname ~ '_cc(new|old)[0-9]*$')::int::bigint," \
	" EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = i.indrelid AND k.conindid = c.oid" \
	"  AND k.contype IN ('p', 'u', 'x'))::int::bigint," \
	" (tn.nspname IN ('pg_catalog', 'pg_toast', 'information_schema'))::int::bigint" \
	" FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace" \
	" JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace" \
	" WHERE i.indexrelid = ANY ($1) AND NOT i.indisvalid" \
	" ORDER BY c.oid"

static uint32
index_flags(uint64 row)
{
	return (column_int64(row, 10) ? HC_INDEX_UNIQUE : 0) |
		(column_int64(row, 11) ? HC_INDEX_PRIMARY : 0) |
		(column_int64(row, 12) ? HC_INDEX_EXCLUSION : 0) |
		(column_int64(row, 13) ? HC_INDEX_BUILDING : 0) |
		(column_int64(row, 14) ? HC_INDEX_PARTITION : 0) |
		(column_int64(row, 15) ? HC_INDEX_LEFTOVER_NAME : 0) |
		(column_int64(row, 16) ? HC_INDEX_CONSTRAINT : 0) |
		(column_int64(row, 17) ? HC_INDEX_SYSTEM : 0);
}

static void
put_index(Writer *w, uint64 row)
{
	uint32		start = w->job->used;

	put_uint32(w, (uint32) column_int64(row, 1));
	put_uint32(w, (uint32) column_int64(row, 2));
	put_uint32(w, index_flags(row));
	put_int64(w, column_int64(row, 9));
	put_text(w, quote_qualified_identifier(column_text(row, 3), column_text(row, 4)));
	put_text(w, quote_qualified_identifier(column_text(row, 5), column_text(row, 6)));
	put_text(w, column_text(row, 7));
	put_text(w, column_text(row, 8));

	if (row_done(w, start))
		w->header.n_indexes++;
	else
		w->header.complete = 0;
}

/* Candidates: OIDs of indexes that are not valid, and of their tables. */
static int
scan_invalid(Datum *indexes, Datum *tables)
{
	Relation	rel = table_open(IndexRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	int			n = 0;

	while (n < INSPECT_MAX_INDEXES && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_index form = (Form_pg_index) GETSTRUCT(tuple);

		if (form->indisvalid)
			continue;
		indexes[n] = ObjectIdGetDatum(form->indexrelid);
		tables[n++] = ObjectIdGetDatum(form->indrelid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return n;
}

static Datum
oid_array(Datum *oids, int n)
{
	return PointerGetDatum(construct_array(oids, n, OIDOID, sizeof(Oid), true, TYPALIGN_INT));
}

/* Run sql in a snapshot of its own. */
static uint64
fresh_query(const char *sql, int nargs, Oid *types, Datum *values)
{
	if (SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read indexes");
	return SPI_processed;
}

static void
inspect_indexes(Writer *w)
{
	Datum		indexes[INSPECT_MAX_INDEXES];
	Datum		tables[INSPECT_MAX_INDEXES];
	Oid			building_types[2] = {OIDARRAYOID, OIDOID};
	Datum		building_args[2];
	Oid			index_types[2] = {OIDARRAYOID, OIDARRAYOID};
	Datum		index_args[2];
	bool		isnull;
	int			n = scan_invalid(indexes, tables);

	if (n == 0)
		return;
	if (n == INSPECT_MAX_INDEXES)
		w->header.complete = 0;

	/* Other backends' states are cached within a transaction. */
	pgstat_clear_snapshot();
	building_args[0] = oid_array(tables, n);
	building_args[1] = ObjectIdGetDatum(MyDatabaseId);
	(void) fresh_query(BUILDING_SQL, 2, building_types, building_args);

	index_args[0] = oid_array(indexes, n);
	index_args[1] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	n = (int) fresh_query(INDEXES_SQL, 2, index_types, index_args);
	for (int i = 0; i < n; i++)
		put_index(w, i);
}

/* ------------------------------------------------------------------------
 * Sequences
 * ------------------------------------------------------------------------ */

typedef struct SequenceRange
{
	Oid			oid;
	bool		up;
	int64		low;
	int64		high;
} SequenceRange;

static int
compare_sequences(const void *a, const void *b)
{
	return compare_oids(((const SequenceRange *) a)->oid, ((const SequenceRange *) b)->oid);
}

/* All sequences behind the last one of the pass before, in order of OID. */
static SequenceRange *
scan_sequences(Oid after, int *n)
{
	Relation	rel = table_open(SequenceRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	int			allocated = 256;
	SequenceRange *ranges = palloc(allocated * sizeof(SequenceRange));

	*n = 0;
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_sequence form = (Form_pg_sequence) GETSTRUCT(tuple);

		CHECK_FOR_INTERRUPTS();
		if (form->seqcycle || form->seqrelid <= after)
			continue;
		if (*n == allocated)
		{
			allocated *= 2;
			ranges = repalloc_huge(ranges, allocated * sizeof(SequenceRange));
		}
		ranges[*n].oid = form->seqrelid;
		ranges[*n].up = form->seqincrement > 0;
		ranges[*n].low = form->seqmin;
		ranges[(*n)++].high = form->seqmax;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (*n > 1)
		qsort(ranges, *n, sizeof(SequenceRange), compare_sequences);
	return ranges;
}

/* What a column of this type can hold narrows the range. */
static void
narrow(SequenceRange *range, Oid table, AttrNumber column)
{
	int64		low;
	int64		high;

	switch (get_atttype(table, column))
	{
		case INT2OID:
			low = PG_INT16_MIN;
			high = PG_INT16_MAX;
			break;
		case INT4OID:
			low = PG_INT32_MIN;
			high = PG_INT32_MAX;
			break;
		default:
			return;
	}
	if (range->up)
		range->high = Min(range->high, high);
	else
		range->low = Max(range->low, low);
}

/* The column a default expression belongs to. */
static void
narrow_by_default(SequenceRange *range, Oid attrdef)
{
	Relation	rel = table_open(AttrDefaultRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_attrdef_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(attrdef));
	scan = systable_beginscan(rel, AttrDefaultOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_attrdef form = (Form_pg_attrdef) GETSTRUCT(tuple);

		narrow(range, form->adrelid, form->adnum);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* The column that owns the sequence. */
static void
narrow_by_owner(SequenceRange *range, Relation depend)
{
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(range->oid));
	scan = systable_beginscan(depend, DependDependerIndexId, true, NULL, 2, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		if (form->refclassid == RelationRelationId && form->refobjsubid > 0 &&
			(form->deptype == DEPENDENCY_AUTO || form->deptype == DEPENDENCY_INTERNAL))
			narrow(range, form->refobjid, form->refobjsubid);
	}
	systable_endscan(scan);
}

/* Columns that take their default from it. */
static void
narrow_by_users(SequenceRange *range, Relation depend)
{
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(range->oid));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		if (form->classid == AttrDefaultRelationId)
			narrow_by_default(range, form->objid);
	}
	systable_endscan(scan);
}

/* Share of its range a sequence has used; negative: cannot be told now. */
static double
sequence_used(const SequenceRange *range)
{
	double		last;
	double		span = (double) range->high - (double) range->low;
	double		used;
	bool		isnull;

	last = (double) call_by_oid(pg_sequence_last_value, range->oid, &isnull);
	if (isnull || span <= 0)
		return 0;
	used = (range->up ? last - (double) range->low : (double) range->high - last) / span;
	return Min(1.0, Max(0.0, used));
}

/*
 * One sequence. Its lock is only tried for: the inspector waits for nobody. A
 * temporary sequence cannot be read from another session.
 */
static void
inspect_sequence(Writer *w, SequenceRange *range, Relation depend)
{
	uint32		start = w->job->used;
	char	   *name;
	char	   *schema;
	double		used;

	if (!ConditionalLockRelationOid(range->oid, RowExclusiveLock))
		return;
	name = get_rel_name(range->oid);
	if (name == NULL || get_rel_persistence(range->oid) == RELPERSISTENCE_TEMP)
		return;

	narrow_by_owner(range, depend);
	narrow_by_users(range, depend);
	used = sequence_used(range);
	w->header.sequences_used = Max(w->header.sequences_used, used);
	if (used < MIN_SEQUENCE_USED || w->header.n_sequences >= INSPECT_MAX_SEQUENCES)
		return;

	schema = get_namespace_name(get_rel_namespace(range->oid));
	put_uint32(w, range->oid);
	put_bytes(w, &used, sizeof(used));
	put_text(w, quote_qualified_identifier(schema != NULL ? schema : "", name));
	if (row_done(w, start))
		w->header.n_sequences++;
}

/*
 * What a sequence can still give is bounded by its own limit and by the columns
 * it fills, be they its owners or only users. Reading one means opening it, so
 * a pass reads a few and the next goes on behind them.
 */
static void
inspect_sequences(Writer *w, Oid after)
{
	int			n;
	SequenceRange *ranges = scan_sequences(after, &n);
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	int			upto = Min(n, SEQUENCES_PER_PASS);

	for (int i = 0; i < upto; i++)
	{
		CHECK_FOR_INTERRUPTS();
		inspect_sequence(w, &ranges[i], depend);
	}
	table_close(depend, AccessShareLock);

	if (n == 0)
		w->header.sequences_used = 0;
	w->header.sequences_from = after;
	w->header.sequences_upto = upto < n ? ranges[upto - 1].oid : InvalidOid;
}

/* ------------------------------------------------------------------------
 * The whole
 * ------------------------------------------------------------------------ */

typedef enum Section
{
	SECTION_TABLES,
	SECTION_INDEXES,
	SECTION_SEQUENCES,
	SECTION_COLUMNS,
	SECTION_BEHIND,
	SECTION_FAULTS,
	SECTION_AMCHECK,
	SECTIONS
} Section;

/* What the healer asks for; the lists behind the request in memory of our own. */
typedef struct Asked
{
	InspectRequest request;
	const Oid  *remembered;
	const char *watched;
	Size		watched_len;
	const char *metrics;		/* queries of metrics of users */
} Asked;

static void
inspect_section(Writer *w, Section section, const Asked *asked)
{
	const InspectRequest *request = &asked->request;

	switch (section)
	{
		case SECTION_TABLES:
			inspect_tables(w, request->max_tables, asked->remembered, request->n_remembered);
			break;
		case SECTION_INDEXES:
			inspect_indexes(w);
			break;
		case SECTION_SEQUENCES:
			inspect_sequences(w, request->after_sequence);
			break;
		case SECTION_COLUMNS:
			inspect_columns(w, request, asked->watched, asked->watched_len);
			break;
		case SECTION_BEHIND:
			inspect_behind(w, request->probe_after);
			break;
		case SECTION_FAULTS:
			inspect_faults(w);
			break;
		case SECTION_AMCHECK:
			inspect_amcheck(w, request);
			break;
		case SECTIONS:
			break;
	}
}

/* The section failed: what it wrote does not count. */
static void
section_failed(Writer *w, Section section, const Asked *asked, uint32 faults_before)
{
	InspectHeader *header = &w->header;

	switch (section)
	{
		case SECTION_TABLES:
			header->n_tables = header->n_row_counts = 0;
			break;
		case SECTION_INDEXES:
			header->n_indexes = 0;
			break;
		case SECTION_SEQUENCES:
			header->n_sequences = 0;
			header->sequences_used = -1;
			header->sequences_from = header->sequences_upto = asked->request.after_sequence;
			break;
		case SECTION_COLUMNS:
			header->n_columns = 0;
			break;
		case SECTION_BEHIND:
			header->n_behind = 0;
			header->probed_from = header->probed_upto = asked->request.probe_after;
			break;
		case SECTION_FAULTS:
		case SECTION_AMCHECK:
			header->n_faults = faults_before;
			break;
		case SECTIONS:
			break;
	}

	/* A sequence or an index that cannot be read says nothing about the others. */
	if (section != SECTION_SEQUENCES && section != SECTION_BEHIND && section != SECTION_AMCHECK)
		header->complete = 0;
}

/*
 * One section in a transaction of its own. When it fails, by a timeout mostly,
 * the others still tell what they see, and the answer says it is not complete.
 */
static void
run_section(Writer *w, Section section, const Asked *asked)
{
	uint32		volatile start = w->job->used;
	uint32		volatile faults = w->header.n_faults;

	PG_TRY();
	{
		worker_query_begin(w->job, XACT_READ_COMMITTED);
		inspect_section(w, section, asked);
		worker_query_end();
	}
	PG_CATCH();
	{
		worker_catch(w->job, HC_OUT_DONE);
		w->job->used = start;
		w->overflow = false;
		section_failed(w, section, asked, faults);
	}
	PG_END_TRY();
}

/*
 * The answer is written where the request stands: copy it first. A request that
 * does not fit together asks for nothing but the tables.
 */
static void
read_request(HealJobSlot *job, Asked *asked)
{
	Size		oids,
				rest;
	char	   *copy;

	asked->request.max_tables = INSPECT_MIN_TABLES;
	if (job->used < sizeof(InspectRequest))
		return;
	memcpy(&asked->request, job->data, sizeof(InspectRequest));
	rest = job->used - sizeof(InspectRequest);
	oids = (Size) asked->request.n_remembered * sizeof(Oid);
	asked->request.n_metrics = Min(asked->request.n_metrics, HC_MAX_USER_METRICS);
	if (oids + asked->request.metrics_len > rest)
	{
		asked->request.n_remembered = asked->request.n_watched = asked->request.n_metrics = 0;
		return;
	}
	copy = MemoryContextAlloc(worker_context, Max(rest, 1));
	memcpy(copy, job->data + sizeof(InspectRequest), rest);
	asked->remembered = (const Oid *) copy;
	asked->watched = copy + oids;
	asked->watched_len = rest - oids - asked->request.metrics_len;
	asked->metrics = asked->watched + asked->watched_len;
}

void
inspect_run(HealJobSlot *job)
{
	Writer	   *w = MemoryContextAllocZero(worker_context, sizeof(Writer));
	Asked		asked = {0};
	uint32		n_metrics;

	read_request(job, &asked);
	n_metrics = asked.request.n_metrics;

	w->job = job;
	w->header.complete = 1;
	w->header.sequences_used = -1;
	w->header.n_metrics = n_metrics;
	job->used = sizeof(InspectHeader) + n_metrics * sizeof(MetricAnswer);
	memset(job->data, 0, job->used);

	pgstat_report_activity(STATE_RUNNING, "inspection of tables, indexes and sequences");
	for (Section section = 0; section < SECTIONS && !asked.request.metrics_only; section++)
		run_section(w, section, &asked);
	memcpy(job->data, &w->header, sizeof(InspectHeader));

	if (n_metrics == 0)
		return;
	pgstat_report_activity(STATE_RUNNING, "metrics of users");
	worker_keep_answer(job);
	metrics_run(job, asked.metrics, asked.request.metrics_len, job->data + sizeof(InspectHeader), n_metrics);
}
