/*-------------------------------------------------------------------------
 *
 * inspect_worker.c
 *	  The slow look into a database, worker side: tables, invalid indexes,
 *	  sequences.
 *
 * Reads catalogs and statistics by OID, opens no table, and returns only what
 * may matter: a few hundred rows at most. Statistics are as fresh as they can
 * be: this process is new, it has no snapshot of them yet.
 *
 * An answer is a header followed by rows: fixed-width numbers as they are in
 * memory (both ends are this very binary), texts as length, bytes and a zero.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "job.h"

/* Below this a table is not worth a row. */
#define MIN_DEAD			100
#define MIN_MODIFIED		1000
#define MAX_SEQUENCES_READ	1000

/* ------------------------------------------------------------------------
 * Writing an answer
 * ------------------------------------------------------------------------ */

typedef struct Writer
{
	HealJobSlot *job;
	InspectHeader header;
	bool		overflow;		/* the row at hand does not fit or is not text */
} Writer;

static void
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

static void
put_int64(Writer *w, int64 value)
{
	put_bytes(w, &value, sizeof(value));
}

static void
put_uint32(Writer *w, uint32 value)
{
	put_bytes(w, &value, sizeof(value));
}

/* Texts in a database without an encoding may be anything; the reader needs UTF-8. */
static void
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

static double
column_double(uint64 row, int number, double if_null)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, &isnull);

	return isnull ? if_null : DatumGetFloat8(value);
}

static const char *
column_text(uint64 row, int number)
{
	const char *text = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number);

	return text != NULL ? text : "";
}

static bool
column_is_null(uint64 row, int number)
{
	bool		isnull;

	(void) SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, &isnull);
	return isnull;
}

/* ------------------------------------------------------------------------
 * Tables
 * ------------------------------------------------------------------------ */

/*
 * Statistics come by function and OID, sizes from pg_class: no relation is
 * opened, so an exclusive lock on a table does not stop the look at it.
 *
 * A partitioned table has no rows of its own, and autovacuum never analyses it.
 * Its counts are those of its parts; what was modified since it was analysed
 * itself is at least the change in its number of rows.
 */
#define TABLES_SQL \
	"WITH RECURSIVE busy AS MATERIALIZED (" \
	" SELECT p.relid FROM unnest(ARRAY['VACUUM', 'ANALYZE', 'CREATE INDEX', 'CLUSTER']) AS cmd," \
	"  pg_stat_get_progress_info(cmd) AS p WHERE p.datid = $3), " \
	"leaf AS MATERIALIZED (" \
	" SELECT c.oid, c.relkind, c.reltuples," \
	"  pg_stat_get_live_tuples(c.oid) AS live, pg_stat_get_dead_tuples(c.oid) AS dead," \
	"  pg_stat_get_mod_since_analyze(c.oid) AS modified" \
	" FROM pg_class c WHERE c.relkind IN ('r', 'm', 'p')), " \
	"tree AS (" \
	" SELECT l.oid AS parent, i.inhrelid AS child FROM leaf l JOIN pg_inherits i ON i.inhparent = l.oid" \
	"  WHERE l.relkind = 'p'" \
	" UNION ALL" \
	" SELECT t.parent, i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.child), " \
	"counted AS MATERIALIZED (" \
	" SELECT oid, relkind, live, dead, modified FROM leaf WHERE relkind <> 'p'" \
	" UNION ALL" \
	" SELECT p.oid, p.relkind, sum(l.live)::bigint, 0," \
	"  greatest(sum(l.modified), abs(sum(l.live) - greatest(p.reltuples, 0)))::bigint" \
	"  FROM leaf p JOIN tree t ON t.parent = p.oid JOIN leaf l ON l.oid = t.child AND l.relkind <> 'p'" \
	"  WHERE p.relkind = 'p' GROUP BY p.oid, p.relkind, p.reltuples) " \
	"SELECT total.dead, total.stale, total.rows, r.* FROM (" \
	" SELECT coalesce(sum(dead), 0)::bigint AS dead," \
	"  count(*) FILTER (WHERE modified >= $2 AND modified > 0.1 * live) AS stale," \
	"  count(*) FILTER (WHERE dead >= $1 OR modified >= $2) AS rows" \
	" FROM counted) AS total LEFT JOIN (" \
	" SELECT c.oid::bigint, n.nspname, c.relname, pg_get_userbyid(c.relowner) AS owner," \
	"  (c.relkind = 'p')::int::bigint AS partitioned, (c.relpersistence = 't')::int::bigint AS temporary," \
	"  (n.nspname IN ('pg_catalog', 'information_schema'))::int::bigint AS system," \
	"  EXISTS (SELECT FROM busy b WHERE b.relid = c.oid OR b.relid = c.reltoastrelid AND b.relid <> 0)::int::bigint AS busy," \
	"  EXISTS (SELECT FROM pg_options_to_table(c.reloptions) AS o" \
	"   WHERE o.option_name = 'autovacuum_enabled' AND NOT o.option_value::boolean)::int::bigint AS off," \
	"  c.relpages::bigint * current_setting('block_size')::bigint AS bytes," \
	"  x.live, x.dead, x.modified," \
	"  greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid)) AS last_vacuum," \
	"  greatest(pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid)) AS last_analyze," \
	"  c.reloptions::text AS reloptions" \
	" FROM counted x JOIN pg_class c ON c.oid = x.oid JOIN pg_namespace n ON n.oid = c.relnamespace" \
	" WHERE x.dead >= $1 OR x.modified >= $2" \
	" ORDER BY greatest(x.dead, x.modified) DESC, c.oid LIMIT $4) AS r ON true"

static uint32
table_flags(uint64 row)
{
	return (column_int64(row, 8) ? HC_TABLE_PARTITIONED : 0) |
		(column_int64(row, 9) ? HC_TABLE_TEMPORARY : 0) |
		(column_int64(row, 10) ? HC_TABLE_SYSTEM : 0) |
		(column_int64(row, 11) ? HC_TABLE_BUSY : 0) |
		(column_int64(row, 12) ? HC_TABLE_AUTOVACUUM_OFF : 0);
}

static void
put_table(Writer *w, uint64 row)
{
	const char *schema = column_text(row, 5);
	const char *name = column_text(row, 6);

	put_uint32(w, (uint32) column_int64(row, 4));
	put_uint32(w, table_flags(row));
	for (int number = 13; number <= 18; number++)	/* bytes .. last_analyze */
		put_int64(w, column_int64(row, number));
	put_text(w, schema);
	put_text(w, name);
	put_text(w, quote_qualified_identifier(schema, name));
	put_text(w, column_text(row, 7));
	put_text(w, column_text(row, 19));
}

static void
inspect_tables(Writer *w, int64 max_rows)
{
	Oid			types[4] = {INT8OID, INT8OID, OIDOID, INT8OID};
	Datum		values[4] = {Int64GetDatum(MIN_DEAD), Int64GetDatum(MIN_MODIFIED),
	ObjectIdGetDatum(MyDatabaseId), Int64GetDatum(max_rows)};
	uint64		n;

	if (SPI_execute_with_args(TABLES_SQL, 4, types, values, NULL, true, 0) != SPI_OK_SELECT ||
		SPI_processed < 1)
		elog(ERROR, "could not read table statistics");
	n = SPI_processed;

	w->header.dead_tuples = column_int64(0, 1);
	w->header.stale_tables = (int32) column_int64(0, 2);
	if (column_int64(0, 3) > max_rows)
		w->header.complete = 0;

	for (uint64 i = 0; i < n && !column_is_null(i, 4); i++)
	{
		uint32		start = w->job->used;

		put_table(w, i);
		if (w->overflow)
		{
			w->job->used = start;
			w->overflow = false;
			w->header.complete = 0;
		}
		else
			w->header.n_tables++;
	}
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
#define INVALID_SQL \
	"SELECT array_agg(indexrelid), array_agg(DISTINCT indrelid) FROM" \
	" (SELECT indexrelid, indrelid FROM pg_index WHERE NOT indisvalid ORDER BY indexrelid LIMIT $1) AS i"

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
	" c.relpages::bigint * current_setting('block_size')::bigint," \
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
	put_uint32(w, (uint32) column_int64(row, 1));
	put_uint32(w, (uint32) column_int64(row, 2));
	put_uint32(w, index_flags(row));
	put_int64(w, column_int64(row, 9));
	put_text(w, quote_qualified_identifier(column_text(row, 3), column_text(row, 4)));
	put_text(w, quote_qualified_identifier(column_text(row, 5), column_text(row, 6)));
	put_text(w, column_text(row, 7));
	put_text(w, column_text(row, 8));
}

/* Run sql in a snapshot of its own; arrays as parameters. */
static uint64
fresh_query(const char *sql, int nargs, Oid *types, Datum *values)
{
	if (SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read indexes");
	return SPI_processed;
}

static Datum
first_value(int number)
{
	bool		isnull;

	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, number, &isnull);
}

static void
inspect_indexes(Writer *w)
{
	Oid			limit_type[1] = {INT8OID};
	Datum		limit[1] = {Int64GetDatum(INSPECT_MAX_INDEXES)};
	Oid			table_types[2] = {OIDARRAYOID, OIDOID};
	Datum		tables[2];
	Oid			array_types[2] = {OIDARRAYOID, OIDARRAYOID};
	Datum		arrays[2];
	uint64		n;

	(void) fresh_query(INVALID_SQL, 1, limit_type, limit);
	if (column_is_null(0, 1))
		return;
	arrays[0] = first_value(1);
	tables[0] = first_value(2);
	tables[1] = ObjectIdGetDatum(MyDatabaseId);

	/* Other backends' states are cached within a transaction. */
	pgstat_clear_snapshot();
	(void) fresh_query(BUILDING_SQL, 2, table_types, tables);
	arrays[1] = first_value(1);

	n = fresh_query(INDEXES_SQL, 2, array_types, arrays);
	if (n >= INSPECT_MAX_INDEXES)
		w->header.complete = 0;
	for (uint64 i = 0; i < n; i++)
	{
		uint32		start = w->job->used;

		put_index(w, i);
		if (w->overflow)
		{
			w->job->used = start;
			w->overflow = false;
			w->header.complete = 0;
		}
		else
			w->header.n_indexes++;
	}
}

/* ------------------------------------------------------------------------
 * Sequences
 * ------------------------------------------------------------------------ */

/*
 * What a sequence can still give is bounded by its own limit and by the column
 * it fills, be it owned or only used in a default. The shortest ranges come
 * first: a bigint sequence has never run out. Reading a sequence opens it, hence
 * the limit.
 */
#define SEQUENCES_SQL \
	"WITH bounded AS MATERIALIZED (" \
	"SELECT s.seqrelid, n.nspname, c.relname, s.seqincrement > 0 AS up, s.seqmin, s.seqmax," \
	" CASE WHEN s.seqincrement > 0 THEN least(s.seqmax, min(b.hi)) ELSE s.seqmax END AS hi," \
	" CASE WHEN s.seqincrement > 0 THEN s.seqmin ELSE greatest(s.seqmin, max(b.lo)) END AS lo" \
	" FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace" \
	" LEFT JOIN LATERAL (" \
	"  SELECT a.atttypid FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid" \
	"   WHERE d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.refclassid = 'pg_class'::regclass" \
	"   AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0" \
	"  UNION ALL" \
	"  SELECT a.atttypid FROM pg_depend d JOIN pg_attrdef e ON e.oid = d.objid" \
	"   JOIN pg_attribute a ON a.attrelid = e.adrelid AND a.attnum = e.adnum" \
	"   WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = s.seqrelid" \
	" ) AS col ON true" \
	" LEFT JOIN (VALUES ('int2'::regtype::oid, -32768::bigint, 32767::bigint)," \
	"  ('int4'::regtype::oid, -2147483648::bigint, 2147483647::bigint)) AS b(typ, lo, hi) ON b.typ = col.atttypid" \
	" WHERE NOT s.seqcycle AND c.relpersistence <> 't'" \
	" GROUP BY s.seqrelid, n.nspname, c.relname, s.seqincrement, s.seqmin, s.seqmax" \
	" ORDER BY least(s.seqmax::numeric, min(b.hi)) - s.seqmin, s.seqrelid LIMIT $1), " \
	"used AS MATERIALIZED (" \
	"SELECT nspname, relname, CASE WHEN last IS NULL OR hi <= lo THEN 0.0" \
	" WHEN up THEN least(1.0, greatest(0.0, (last::float8 - lo) / (hi::float8 - lo)))" \
	" ELSE least(1.0, greatest(0.0, (hi - last::float8) / (hi::float8 - lo))) END::float8 AS used" \
	" FROM bounded, pg_sequence_last_value(seqrelid) AS last) " \
	"SELECT total.used, r.nspname, r.relname, r.used" \
	" FROM (SELECT max(used) AS used FROM used) AS total" \
	" LEFT JOIN (SELECT * FROM used WHERE used > 0.5 ORDER BY used DESC LIMIT $2) AS r ON true"

static void
inspect_sequences(Writer *w)
{
	Oid			types[2] = {INT8OID, INT8OID};
	Datum		values[2] = {Int64GetDatum(MAX_SEQUENCES_READ), Int64GetDatum(INSPECT_MAX_SEQUENCES)};

	if (SPI_execute_with_args(SEQUENCES_SQL, 2, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read sequences");

	w->header.sequences_used = column_double(0, 1, 0);
	for (uint64 i = 0; i < SPI_processed && !column_is_null(i, 2); i++)
	{
		uint32		start = w->job->used;
		double		used = column_double(i, 4, 0);

		put_bytes(w, &used, sizeof(used));
		put_text(w, quote_qualified_identifier(column_text(i, 2), column_text(i, 3)));
		if (w->overflow)
		{
			w->job->used = start;
			w->overflow = false;
		}
		else
			w->header.n_sequences++;
	}
}

/* ------------------------------------------------------------------------
 * The whole
 * ------------------------------------------------------------------------ */

typedef enum Section
{
	SECTION_TABLES,
	SECTION_INDEXES,
	SECTION_SEQUENCES,
	SECTIONS
} Section;

/*
 * One section in a transaction of its own. When it fails, by a timeout mostly,
 * the others still tell what they see, and the answer says it is not complete.
 */
static void
run_section(Writer *w, Section section, int64 max_tables)
{
	uint32		volatile start = w->job->used;

	PG_TRY();
	{
		worker_query_begin(w->job, XACT_READ_COMMITTED);
		switch (section)
		{
			case SECTION_TABLES:
				inspect_tables(w, max_tables);
				break;
			case SECTION_INDEXES:
				inspect_indexes(w);
				break;
			case SECTION_SEQUENCES:
				inspect_sequences(w);
				break;
			case SECTIONS:
				break;
		}
		worker_query_end();
	}
	PG_CATCH();
	{
		worker_catch(w->job, HC_OUT_DONE);
		w->job->used = start;
		w->overflow = false;
		if (section == SECTION_TABLES)
			w->header.n_tables = 0;
		else if (section == SECTION_INDEXES)
			w->header.n_indexes = 0;
		else
			w->header.n_sequences = 0;

		/* A locked sequence says nothing about tables and indexes. */
		if (section != SECTION_SEQUENCES)
			w->header.complete = 0;
	}
	PG_END_TRY();
}

void
inspect_run(HealJobSlot *job)
{
	Writer	   *w = MemoryContextAllocZero(worker_context, sizeof(Writer));
	int32		max_tables = INSPECT_MIN_TABLES;

	if (job->used == sizeof(max_tables))
		memcpy(&max_tables, job->data, sizeof(max_tables));

	w->job = job;
	w->header.complete = 1;
	w->header.sequences_used = -1;
	job->used = sizeof(InspectHeader);

	pgstat_report_activity(STATE_RUNNING, "inspection of tables, indexes and sequences");
	for (Section section = 0; section < SECTIONS; section++)
		run_section(w, section, max_tables);

	memcpy(job->data, &w->header, sizeof(InspectHeader));
}
