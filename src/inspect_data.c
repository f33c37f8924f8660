/*-------------------------------------------------------------------------
 *
 * inspect_data.c
 *	  The slow look into a database, worker side: what is in the data. Watched
 *	  columns, sequences behind their columns, constraints that do not hold,
 *	  indexes out of order.
 *
 * Tables are opened only when their lock is free at this moment. Rows are read
 * through the access methods, not by SQL: the planner would lock every index of
 * the table, and wait for it. What is read is bounded: the last blocks of a
 * table, a handful of index entries, one index with amcheck now and then.
 *
 * No value of a user leaves this process. Frequent values are counted in few
 * bins by a hash of their bytes; numbers are told by deciles.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_database.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_index.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_sequence.h"
#include "catalog/pg_statistic.h"
#include "catalog/pg_subscription_rel.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/vacuum.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "inspect_io.h"

/* The newest rows are those of the last blocks, but no more than so many. */
#define RECENT_BLOCKS		64
#define RECENT_ROWS			20000
/* Rows ANALYZE samples for each unit of the statistics target. */
#define ANALYZE_ROWS		300
/* Columns whose values follow the order of insertion always move. */
#define ORDERED_CORRELATION	0.9
/* Sequences whose columns are probed in one pass. */
#define PROBES_PER_PASS		20
/* Index entries looked at for one that is visible. */
#define PROBE_ENTRIES		500
#define MAX_FAULTS			100
/* amcheck runs while no more than so many sessions are at work. */
#define QUIET_SESSIONS		2

/* ------------------------------------------------------------------------
 * Watched columns
 * ------------------------------------------------------------------------ */

typedef struct WatchedColumn
{
	const char *schema;
	const char *table;
	const char *column;
	int64		watched_at;
	Oid			relation;
	AttrNumber	attnum;
} WatchedColumn;

static double
number_of(Datum value, Oid type)
{
	switch (type)
	{
		case INT2OID:
			return DatumGetInt16(value);
		case INT4OID:
			return DatumGetInt32(value);
		case INT8OID:
			return DatumGetInt64(value);
		case FLOAT4OID:
			return DatumGetFloat4(value);
		case FLOAT8OID:
			return DatumGetFloat8(value);
		case NUMERICOID:
			return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, value));
		default:
			return NAN;
	}
}

/* Frequent values by bin; returns their share of the rows. */
static double
count_frequent(HeapTuple statistics, double *bins)
{
	AttStatsSlot slot;
	double		sum = 0;

	if (!get_attstatsslot(&slot, statistics, STATISTIC_KIND_MCV, InvalidOid,
						  ATTSTATSSLOT_VALUES | ATTSTATSSLOT_NUMBERS))
		return 0;
	for (int i = 0; i < Min(slot.nvalues, slot.nnumbers); i++)
	{
		bool		by_value = get_typbyval(slot.valuetype);
		uint32		hash = datum_image_hash(slot.values[i], by_value, get_typlen(slot.valuetype));

		bins[hash % HC_COLUMN_BINS] += slot.numbers[i];
		sum += slot.numbers[i];
	}
	free_attstatsslot(&slot);
	return sum;
}

static bool
is_ordered(HeapTuple statistics)
{
	AttStatsSlot slot;
	bool		ordered = false;

	if (get_attstatsslot(&slot, statistics, STATISTIC_KIND_CORRELATION, InvalidOid, ATTSTATSSLOT_NUMBERS))
	{
		ordered = slot.nnumbers > 0 && fabsf(slot.numbers[0]) > ORDERED_CORRELATION;
		free_attstatsslot(&slot);
	}
	return ordered;
}

/* 10 % to 90 % of the histogram, where its values are numbers. */
static void
read_deciles(HeapTuple statistics, double *deciles)
{
	AttStatsSlot slot;

	for (int i = 0; i < HC_COLUMN_DECILES; i++)
		deciles[i] = NAN;
	if (is_ordered(statistics) ||
		!get_attstatsslot(&slot, statistics, STATISTIC_KIND_HISTOGRAM, InvalidOid, ATTSTATSSLOT_VALUES))
		return;
	if (slot.nvalues >= 11)
		for (int i = 0; i < HC_COLUMN_DECILES; i++)
			deciles[i] = number_of(slot.values[(slot.nvalues - 1) * (i + 1) / 10], slot.valuetype);
	free_attstatsslot(&slot);
}

/* Statistics target of the column; not positive: the default. */
static int
target_of(HeapTuple attribute)
{
#if PG_VERSION_NUM >= 170000
	bool		isnull;
	Datum		target = SysCacheGetAttr(ATTNUM, attribute, Anum_pg_attribute_attstattarget, &isnull);

	return isnull ? -1 : DatumGetInt16(target);
#else
	return ((Form_pg_attribute) GETSTRUCT(attribute))->attstattarget;
#endif
}

/* What ANALYZE left; without it rows stay NaN. */
static void
read_statistics(const WatchedColumn *watched, hc_column_stats *stats)
{
	HeapTuple	class = SearchSysCache1(RELOID, ObjectIdGetDatum(watched->relation));
	HeapTuple	attribute = SearchSysCache2(ATTNUM, ObjectIdGetDatum(watched->relation), Int16GetDatum(watched->attnum));
	HeapTuple	tuple = NULL;

	if (HeapTupleIsValid(class) && HeapTupleIsValid(attribute) && ((Form_pg_class) GETSTRUCT(class))->reltuples > 0)
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(class);
		int			target = target_of(attribute);
		bool		inherited = form->relkind == RELKIND_PARTITIONED_TABLE;

		tuple = SearchSysCache3(STATRELATTINH, ObjectIdGetDatum(watched->relation),
								Int16GetDatum(watched->attnum), BoolGetDatum(inherited));
		if (HeapTupleIsValid(tuple))
		{
			Form_pg_statistic statistic = (Form_pg_statistic) GETSTRUCT(tuple);

			stats->rows = form->reltuples;
			stats->sample_rows = Min(stats->rows, (double) ANALYZE_ROWS * (target > 0 ? target : default_statistics_target));
			stats->null_fraction = statistic->stanullfrac;
			stats->distinct = statistic->stadistinct >= 0 ? statistic->stadistinct : -statistic->stadistinct * stats->rows;
			stats->frequent = count_frequent(tuple, stats->bins);
			read_deciles(tuple, stats->deciles);
			ReleaseSysCache(tuple);
		}
	}
	if (HeapTupleIsValid(class))
		ReleaseSysCache(class);
	if (HeapTupleIsValid(attribute))
		ReleaseSysCache(attribute);
}

/* Count rows and NULLs in the last blocks. The lock is ours. */
static void
read_recent(Relation rel, AttrNumber attnum, hc_column_stats *stats)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(rel);
	ItemPointerData first;
	ItemPointerData last;
	TupleTableSlot *slot;
	TableScanDesc scan;

	stats->recent_rows = stats->recent_nulls = 0;
	if (blocks == 0)
		return;
	ItemPointerSet(&first, blocks > RECENT_BLOCKS ? blocks - RECENT_BLOCKS : 0, 0);
	ItemPointerSet(&last, blocks - 1, MaxOffsetNumber);
	slot = table_slot_create(rel, NULL);
	scan = table_beginscan_tidrange(rel, GetActiveSnapshot(), &first, &last);
	while (stats->recent_rows < RECENT_ROWS && table_scan_getnextslot_tidrange(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		stats->recent_rows++;
		if (slot_attisnull(slot, attnum))
			stats->recent_nulls++;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

static void
try_recent(const WatchedColumn *watched, hc_column_stats *stats)
{
	Relation	rel;

	if (get_rel_relkind(watched->relation) != RELKIND_RELATION ||
		get_rel_persistence(watched->relation) == RELPERSISTENCE_TEMP ||
		!ConditionalLockRelationOid(watched->relation, AccessShareLock))
		return;
	rel = try_relation_open(watched->relation, NoLock);
	if (rel == NULL)
		return;
	if (rel->rd_tableam->scan_set_tidrange != NULL && watched->attnum <= RelationGetNumberOfAttributes(rel))
		read_recent(rel, watched->attnum, stats);
	relation_close(rel, NoLock);
}

static void
put_column(Writer *w, const WatchedColumn *watched)
{
	uint32		start = w->job->used;
	hc_column_stats stats = {.rows = NAN,.recent_rows = NAN,.recent_nulls = NAN};

	stats.relation_oid = watched->relation;
	stats.column_number = watched->attnum;
	stats.watched_at = watched->watched_at;
	read_statistics(watched, &stats);
	try_recent(watched, &stats);
	put_bytes(w, &stats, sizeof(stats));
	put_text(w, watched->schema);
	put_text(w, watched->table);
	put_text(w, watched->column);
	if (row_done(w, start))
		w->header.n_columns++;
	else
		w->header.complete = 0;
}

static const char *
next_text(const char **at, const char *end)
{
	const char *text = *at;
	Size		len = strnlen(text, end - text);

	if (len == end - text)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("list of watched columns is not usable")));
	*at = text + len + 1;
	return text;
}

/* The list: for each column the time it was watched at and three texts. */
void
inspect_columns(Writer *w, const InspectRequest *request, const char *list, Size len)
{
	const char *at = list;
	const char *end = list + len;

	for (uint32 i = 0; i < request->n_watched; i++)
	{
		WatchedColumn watched;
		Oid			schema;
		char	   *names[3];

		CHECK_FOR_INTERRUPTS();
		if (end - at < sizeof(watched.watched_at))
			break;
		memcpy(&watched.watched_at, at, sizeof(watched.watched_at));
		at += sizeof(watched.watched_at);
		watched.schema = next_text(&at, end);
		watched.table = next_text(&at, end);
		watched.column = next_text(&at, end);
		names[0] = worker_from_utf8(watched.schema);
		names[1] = worker_from_utf8(watched.table);
		names[2] = worker_from_utf8(watched.column);
		schema = get_namespace_oid(names[0], true);
		watched.relation = OidIsValid(schema) ? get_relname_relid(names[1], schema) : InvalidOid;
		if (!OidIsValid(watched.relation))
			continue;
		watched.attnum = get_attnum(watched.relation, names[2]);
		if (watched.attnum <= 0)
			continue;
		watched.schema = names[0];
		watched.table = names[1];
		watched.column = names[2];
		put_column(w, &watched);
	}
}

/* ------------------------------------------------------------------------
 * Sequences behind their columns
 * ------------------------------------------------------------------------ */

/* Sequences after an OID that count up, in order; PROBES_PER_PASS + 1 at most. */
static int
owned_sequences(Oid after, Oid *sequences)
{
	Relation	rel = table_open(SequenceRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	int			n = 0;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_sequence form = (Form_pg_sequence) GETSTRUCT(tuple);
		int			i;

		if (form->seqrelid <= after || form->seqincrement <= 0 || form->seqcycle)
			continue;
		if (n == PROBES_PER_PASS + 1 && form->seqrelid > sequences[n - 1])
			continue;
		if (n < PROBES_PER_PASS + 1)
			n++;
		for (i = n - 1; i > 0 && sequences[i - 1] > form->seqrelid; i--)
			sequences[i] = sequences[i - 1];
		sequences[i] = form->seqrelid;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return n;
}

static bool
is_btree(Oid index)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(index));
	bool		btree = HeapTupleIsValid(tuple) && ((Form_pg_class) GETSTRUCT(tuple))->relam == BTREE_AM_OID;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return btree;
}

/* A btree index over all rows with this column first, InvalidOid none. */
static Oid
index_on(Relation table, AttrNumber column, bool *descending)
{
	List	   *indexes = RelationGetIndexList(table);
	ListCell   *lc;
	Oid			found = InvalidOid;

	foreach(lc, indexes)
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));
		Form_pg_index form;

		if (!HeapTupleIsValid(tuple))
			continue;
		form = (Form_pg_index) GETSTRUCT(tuple);
		if (!OidIsValid(found) && form->indisvalid && form->indkey.values[0] == column &&
			heap_attisnull(tuple, Anum_pg_index_indpred, NULL) &&
			is_btree(form->indexrelid))
		{
			bool		isnull;
			Datum		options = SysCacheGetAttr(INDEXRELID, tuple, Anum_pg_index_indoption, &isnull);

			found = form->indexrelid;
			*descending = !isnull && (((int2vector *) DatumGetPointer(options))->values[0] & INDOPTION_DESC) != 0;
		}
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	return found;
}

static RegProcedure
at_least(Oid type)
{
	return type == INT2OID ? F_INT2GE : type == INT4OID ? F_INT4GE : F_INT8GE;
}

static Datum
datum_of(int64 value, Oid type)
{
	if (type == INT2OID)
		return Int16GetDatum((int16) value);
	return type == INT4OID ? Int32GetDatum((int32) value) : Int64GetDatum(value);
}

/*
 * First visible value of the column in this direction, from a lower bound on
 * where there is one. Gives up after some entries: a tail of dead ones is not
 * worth reading.
 */
static bool
probe(Relation table, Relation index, AttrNumber column, Oid type, bool forward, const int64 *from, int64 *value)
{
	ScanKeyData key;
	TupleTableSlot *slot = table_slot_create(table, NULL);
#if PG_VERSION_NUM >= 180000
	IndexScanDesc scan = index_beginscan(table, index, GetActiveSnapshot(), NULL, from != NULL ? 1 : 0, 0);
#else
	IndexScanDesc scan = index_beginscan(table, index, GetActiveSnapshot(), from != NULL ? 1 : 0, 0);
#endif
	bool		found = false;

	if (from != NULL)
		ScanKeyInit(&key, 1, BTGreaterEqualStrategyNumber, at_least(type), datum_of(*from, type));
	index_rescan(scan, from != NULL ? &key : NULL, from != NULL ? 1 : 0, NULL, 0);
	for (int i = 0; i < PROBE_ENTRIES && !found; i++)
	{
		Datum		datum;
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		if (index_getnext_tid(scan, forward ? ForwardScanDirection : BackwardScanDirection) == NULL)
			break;
		if (!index_fetch_heap(scan, slot))
			continue;
		datum = slot_getattr(slot, column, &isnull);
		if (isnull)
			continue;
		*value = type == INT2OID ? DatumGetInt16(datum) : type == INT4OID ? DatumGetInt32(datum) : DatumGetInt64(datum);
		found = true;
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return found;
}

/* What the sequence gives next; false when it cannot be told. */
static bool
next_value(Oid sequence, int64 *next, bool *used)
{
	HeapTuple	tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(sequence));
	LOCAL_FCINFO(fcinfo, 1);
	Datum		last;

	if (!HeapTupleIsValid(tuple))
		return false;
	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = ObjectIdGetDatum(sequence);
	fcinfo->args[0].isnull = false;
	last = pg_sequence_last_value(fcinfo);
	*used = !fcinfo->isnull;
	*next = *used ? DatumGetInt64(last) + ((Form_pg_sequence) GETSTRUCT(tuple))->seqincrement :
		((Form_pg_sequence) GETSTRUCT(tuple))->seqstart;
	ReleaseSysCache(tuple);
	return true;
}

static void
put_behind(Writer *w, Relation table, AttrNumber column, Oid sequence, int64 next, int64 largest, int64 collision, bool used)
{
	uint32		start = w->job->used;
	char	   *schema = get_namespace_name(get_rel_namespace(sequence));
	char	   *name = get_rel_name(sequence);
	char	   *table_schema = get_namespace_name(RelationGetNamespace(table));
	char	   *attribute = get_attname(RelationGetRelid(table), column, true);

	if (schema == NULL || name == NULL || table_schema == NULL || attribute == NULL)
		return;
	put_uint32(w, sequence);
	put_uint32(w, RelationGetRelid(table));
	put_int64(w, next);
	put_int64(w, largest);
	put_int64(w, collision);
	put_uint32(w, used);
	put_text(w, quote_qualified_identifier(schema, name));
	put_text(w, quote_qualified_identifier(table_schema, RelationGetRelationName(table)));
	put_text(w, quote_identifier(attribute));
	if (row_done(w, start))
		w->header.n_behind++;
}

static void
compare_with_column(Writer *w, Oid sequence, Relation table, AttrNumber column)
{
	Oid			type = get_atttype(RelationGetRelid(table), column);
	bool		descending = false;
	bool		used;
	int64		next;
	int64		largest;
	int64		collision;
	Oid			index_oid;
	Relation	index;

	if (type != INT2OID && type != INT4OID && type != INT8OID)
		return;
	index_oid = index_on(table, column, &descending);
	if (!OidIsValid(index_oid) || !ConditionalLockRelationOid(index_oid, AccessShareLock))
		return;
	index = try_relation_open(index_oid, NoLock);
	if (index == NULL)
		return;
	if (probe(table, index, column, type, descending, NULL, &largest) &&
		next_value(sequence, &next, &used) && largest >= next)
	{
		/* The smallest existing value from the next one on is where it will fail. */
		if (!probe(table, index, column, type, !descending, &next, &collision))
			collision = largest;
		put_behind(w, table, column, sequence, next, largest, collision, used);
	}
	relation_close(index, NoLock);
}

/* Tables of a subscription get their keys from elsewhere. */
static bool
is_subscribed(Oid table)
{
	Relation	rel = table_open(SubscriptionRelRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	bool		found;

	ScanKeyInit(&key, Anum_pg_subscription_rel_srrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(table));
	scan = systable_beginscan(rel, SubscriptionRelSrrelidSrsubidIndexId, true, NULL, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* The column that owns the sequence. */
static bool
owner_of(Oid sequence, Relation depend, Oid *table, AttrNumber *column)
{
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&key[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(sequence));
	scan = systable_beginscan(depend, DependDependerIndexId, true, NULL, 2, key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		if (form->refclassid != RelationRelationId || form->refobjsubid <= 0 ||
			(form->deptype != DEPENDENCY_AUTO && form->deptype != DEPENDENCY_INTERNAL))
			continue;
		*table = form->refobjid;
		*column = form->refobjsubid;
		found = true;
	}
	systable_endscan(scan);
	return found;
}

static void
inspect_owned(Writer *w, Oid sequence, Relation depend)
{
	Oid			table;
	AttrNumber	column;
	Relation	rel;

	if (!owner_of(sequence, depend, &table, &column) || get_rel_relkind(table) != RELKIND_RELATION ||
		get_rel_persistence(table) == RELPERSISTENCE_TEMP || is_subscribed(table) ||
		!ConditionalLockRelationOid(sequence, RowExclusiveLock) ||
		!ConditionalLockRelationOid(table, AccessShareLock))
		return;
	if (get_rel_name(sequence) == NULL)
		return;
	rel = try_relation_open(table, NoLock);
	if (rel == NULL)
		return;
	compare_with_column(w, sequence, rel, column);
	relation_close(rel, NoLock);
}

/*
 * A few sequences in each pass, the next one goes on behind them. One that
 * cannot be looked at just now is not known to be behind.
 */
void
inspect_behind(Writer *w, Oid after)
{
	Oid			sequences[PROBES_PER_PASS + 1];
	int			n = owned_sequences(after, sequences);
	int			upto = Min(n, PROBES_PER_PASS);
	Relation	depend = table_open(DependRelationId, AccessShareLock);

	for (int i = 0; i < upto; i++)
	{
		CHECK_FOR_INTERRUPTS();
		inspect_owned(w, sequences[i], depend);
	}
	table_close(depend, AccessShareLock);
	w->header.probed_from = after;
	w->header.probed_upto = upto < n ? sequences[upto - 1] : InvalidOid;
}

/* ------------------------------------------------------------------------
 * Constraints that do not hold, collations
 * ------------------------------------------------------------------------ */

static void
put_fault(Writer *w, hc_fault_kind kind, Oid object, Oid relation, const char *name, const char *detail)
{
	uint32		start = w->job->used;
	char	   *table = "";

	if (w->header.n_faults >= MAX_FAULTS)
	{
		w->header.complete = 0;
		return;
	}
	if (OidIsValid(relation))
	{
		char	   *schema = get_namespace_name(get_rel_namespace(relation));
		char	   *relname = get_rel_name(relation);

		/* Dropped meanwhile. */
		if (schema == NULL || relname == NULL)
			return;
		table = psprintf("%s.%s", schema, relname);
	}
	put_uint32(w, kind);
	put_uint32(w, object);
	put_text(w, table);
	put_text(w, name);
	put_text(w, detail);
	if (row_done(w, start))
		w->header.n_faults++;
}

static void
scan_constraints(Writer *w)
{
	Relation	rel = table_open(ConstraintRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_constraint form = (Form_pg_constraint) GETSTRUCT(tuple);

		CHECK_FOR_INTERRUPTS();
		if (!form->convalidated && OidIsValid(form->conrelid) && !OidIsValid(form->conparentid))
			put_fault(w, HC_FAULT_NOT_VALID, form->oid, form->conrelid, NameStr(form->conname), "added as NOT VALID");
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* A foreign key has triggers on both tables; one disabled is enough. */
static void
scan_triggers(Writer *w)
{
	Relation	rel = table_open(TriggerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	List	   *told = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(tuple);
		char	   *name;

		CHECK_FOR_INTERRUPTS();
		if (!form->tgisinternal || form->tgenabled != TRIGGER_DISABLED || !OidIsValid(form->tgconstraint) ||
			list_member_oid(told, form->tgconstraint))
			continue;
		name = get_constraint_name(form->tgconstraint);
		if (name == NULL)
			continue;
		told = lappend_oid(told, form->tgconstraint);
		put_fault(w, HC_FAULT_TRIGGER_OFF, form->tgconstraint, form->tgrelid, name, "its triggers are disabled");
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* The version is NULL where a collation cannot change. */
static void
check_collation(Writer *w)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
	LOCAL_FCINFO(fcinfo, 1);
	Datum		recorded;
	Datum		actual;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		return;
	recorded = SysCacheGetAttr(DATABASEOID, tuple, Anum_pg_database_datcollversion, &isnull);
	if (!isnull)
	{
		char	   *version = TextDatumGetCString(recorded);

		InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
		fcinfo->args[0].value = ObjectIdGetDatum(MyDatabaseId);
		fcinfo->args[0].isnull = false;
		actual = pg_database_collation_actual_version(fcinfo);
		if (!fcinfo->isnull && strcmp(version, TextDatumGetCString(actual)) != 0)
			put_fault(w, HC_FAULT_COLLATION, MyDatabaseId, InvalidOid,
					  psprintf("database %s", NameStr(((Form_pg_database) GETSTRUCT(tuple))->datname)),
					  psprintf("version %s is recorded, %s is in use", version, TextDatumGetCString(actual)));
	}
	ReleaseSysCache(tuple);
}

void
inspect_faults(Writer *w)
{
	scan_constraints(w);
	scan_triggers(w);
	check_collation(w);
}

/* ------------------------------------------------------------------------
 * amcheck
 * ------------------------------------------------------------------------ */

/* Schema of amcheck in this database, NULL none. It is never installed by us. */
static char *
amcheck_schema(void)
{
	if (!OidIsValid(get_extension_oid("amcheck", true)))
		return NULL;
	if (SPI_execute("SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n"
					" ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'", true, 1) != SPI_OK_SELECT ||
		SPI_processed != 1)
		return NULL;
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

static bool
server_is_quiet(void)
{
	int			n = pgstat_fetch_stat_numbackends();
	int			at_work = 0;

	for (int i = 1; i <= n; i++)
	{
#if PG_VERSION_NUM >= 160000
		LocalPgBackendStatus *local = pgstat_get_local_beentry_by_index(i);
#else
		LocalPgBackendStatus *local = pgstat_fetch_stat_local_beentry(i);
#endif

		if (local != NULL && local->backendStatus.st_backendType == B_BACKEND &&
			local->backendStatus.st_state == STATE_RUNNING)
			at_work++;
	}
	return at_work <= QUIET_SESSIONS;
}

/* Small btree indexes of users in order of OID, from the one after the last; InvalidOid: the round is over. */
static Oid
next_index(const InspectRequest *request, Oid *table, char **name)
{
	Oid			types[2] = {OIDOID, INT8OID};
	Datum		values[2] = {ObjectIdGetDatum(request->check_after), Int64GetDatum(request->check_max_bytes)};
	bool		isnull;

	if (SPI_execute_with_args("SELECT c.oid, i.indrelid, c.relname::text FROM pg_catalog.pg_class c"
							  " JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid"
							  " WHERE c.relkind = 'i' AND c.relam = 403 AND c.relpersistence = 'p'"
							  " AND i.indisvalid AND i.indisready AND c.oid > $1 AND c.oid >= 16384"
							  " AND pg_catalog.pg_relation_size(c.oid) <= $2 ORDER BY c.oid LIMIT 1",
							  2, types, values, NULL, true, 1) != SPI_OK_SELECT || SPI_processed == 0)
		return InvalidOid;
	*table = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	*name = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3);
	return DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/*
 * One index with the check that takes the weakest lock. amcheck itself runs
 * what the index's owner wrote as that owner.
 */
static void
check_index(Writer *w, const char *schema, Oid index, Oid table, const char *name)
{
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(index)};
	char	   *sql = psprintf("SELECT %s.bt_index_check($1::pg_catalog.regclass, false)", quote_identifier(schema));
	MemoryContext oldcxt = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(oldcxt);
	PG_TRY();
	{
		SPI_execute_with_args(sql, 1, types, values, NULL, true, 0);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(oldcxt);
		edata = CopyErrorData();
		if (edata->sqlerrcode != ERRCODE_INDEX_CORRUPTED && edata->sqlerrcode != ERRCODE_DATA_CORRUPTED)
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(oldcxt);
		put_fault(w, HC_FAULT_INDEX_DAMAGED, index, table, name, edata->message);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(oldcxt);
	CurrentResourceOwner = owner;
}

void
inspect_amcheck(Writer *w, const InspectRequest *request)
{
	char	   *schema;
	char	   *name = NULL;
	Oid			table = InvalidOid;
	Oid			index;

	w->header.checked = InvalidOid;
	if (request->check_max_bytes <= 0 || !server_is_quiet())
		return;
	schema = amcheck_schema();
	if (schema == NULL)
		return;
	index = next_index(request, &table, &name);
	w->header.check_ran = 1;
	w->header.checked = index;
	if (!OidIsValid(index) ||
		!ConditionalLockRelationOid(table, AccessShareLock) ||
		!ConditionalLockRelationOid(index, AccessShareLock))
		return;
	check_index(w, schema, index, table, name);
}
