/*-------------------------------------------------------------------------
 *
 * metric_history.c
 *	  Samples of all metrics: recorded for a while, exported as CSV.
 *
 * Each full tick leaves a frame in shared memory: every metric as the core was
 * given it, so counters are cumulative and a replay sees what the server saw.
 * Some minutes of them become one row of heal.metric_history. That is best
 * effort: while the server cannot write, the oldest frames are given up, and
 * nothing of it goes through the journal.
 *
 * Data of a row: number of frames and of columns (uint32), times (int64), then
 * for each column a byte that says whether it is unknown throughout, constant
 * (one double) or given in full (a double per frame). In the byte order of the
 * server: rows are not dumped.
 *
 *-------------------------------------------------------------------------
 */
#include "pg_heal.h"

#include <math.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(heal_export_metrics_0_1);

#define BATCH_US			(5 * 60 * INT64CONST(1000000))
#define RETRY_US			(60 * INT64CONST(1000000))
#define TRIM_BATCHES		12
#define MAX_TABLE_BYTES		(64 * INT64CONST(1024) * 1024)
/* Frames given up at once when there is no room. */
#define GIVEN_UP			(HEAL_HISTORY_FRAMES / 10)
#define ROWS_PER_FETCH		10

typedef enum ColumnKind
{
	COLUMN_UNKNOWN,
	COLUMN_CONSTANT,
	COLUMN_FULL
} ColumnKind;

/*---- Recording ----*/

static TimestampTz recorded_at[HC_MAX_USER_METRICS];	/* newest value in a frame */
static TimestampTz next_try = 0;
static int	batches_since_trim = TRIM_BATCHES;

static bool
same_users(const HealHistory *history, const hc_user_metric *users, int n)
{
	if (history->n_user != n)
		return false;
	for (int i = 0; i < n; i++)
		if (strcmp(history->user_names[i], users[i].name) != 0)
			return false;
	return true;
}

/* Frames of one batch have the same columns; without a write they are lost. */
static void
change_users(HealHistory *history, const hc_user_metric *users, int n)
{
	history->n_frames = 0;
	history->n_user = n;
	for (int i = 0; i < n; i++)
		strlcpy(history->user_names[i], users[i].name, NAMEDATALEN);
	memset(recorded_at, 0, sizeof(recorded_at));
}

static void
make_room(HealHistory *history)
{
	int			kept = HEAL_HISTORY_FRAMES - GIVEN_UP;

	memmove(history->at, history->at + GIVEN_UP, kept * sizeof(history->at[0]));
	memmove(history->values, history->values + GIVEN_UP, kept * sizeof(history->values[0]));
	history->n_frames = kept;
}

static void write_now(void);

/* A user's metric has a value in the frame of the tick that brought it, and no other. */
void
metric_history_add(TimestampTz at, const double *metrics)
{
	HealHistory *history = &heal_shared->history;
	hc_observation obs;
	double	   *frame;

	if (!heal_history_enabled)
		return;
	user_metrics_fill(&obs);
	if (!same_users(history, obs.user_metrics, obs.n_user_metrics) && history->n_frames > 0 && next_try == 0)
		write_now();

	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	if (!same_users(history, obs.user_metrics, obs.n_user_metrics))
		change_users(history, obs.user_metrics, obs.n_user_metrics);
	if (history->n_frames == HEAL_HISTORY_FRAMES)
		make_room(history);
	frame = history->values[history->n_frames];
	history->at[history->n_frames++] = at;
	memcpy(frame, metrics, HC_METRIC_COUNT * sizeof(double));
	for (int i = 0; i < history->n_user; i++)
	{
		bool		fresh = obs.user_metrics[i].observed_at != recorded_at[i];

		frame[HC_METRIC_COUNT + i] = fresh ? obs.user_metrics[i].value : NAN;
		recorded_at[i] = obs.user_metrics[i].observed_at;
	}
	LWLockRelease(heal_shared->lock);
}

/* No other process changes the frames, so the healer reads them without the lock. */
static void
append_column(StringInfo data, const HealHistory *history, int column)
{
	double		first = history->values[0][column];
	char		kind = isnan(first) ? COLUMN_UNKNOWN : COLUMN_CONSTANT;

	for (int i = 1; i < history->n_frames && kind != COLUMN_FULL; i++)
		if (memcmp(&history->values[i][column], &first, sizeof(first)) != 0 &&
			!(isnan(first) && isnan(history->values[i][column])))
			kind = COLUMN_FULL;
	appendStringInfoChar(data, kind);
	if (kind == COLUMN_CONSTANT)
		appendBinaryStringInfo(data, (char *) &first, sizeof(first));
	for (int i = 0; i < history->n_frames && kind == COLUMN_FULL; i++)
		appendBinaryStringInfo(data, (char *) &history->values[i][column], sizeof(double));
}

static bytea *
encode(const HealHistory *history)
{
	StringInfoData data;
	uint32		counts[2] = {history->n_frames, HC_METRIC_COUNT + history->n_user};

	initStringInfo(&data);
	appendStringInfoSpaces(&data, VARHDRSZ);
	appendBinaryStringInfo(&data, (char *) counts, sizeof(counts));
	appendBinaryStringInfo(&data, (char *) history->at, history->n_frames * sizeof(history->at[0]));
	for (uint32 i = 0; i < counts[1]; i++)
		append_column(&data, history, i);
	SET_VARSIZE(data.data, data.len);
	return (bytea *) data.data;
}

static const char *
column_name(const HealHistory *history, int column)
{
	return column < HC_METRIC_COUNT ? bridge_metric_name(column) : history->user_names[column - HC_METRIC_COUNT];
}

static char *
column_names(const HealHistory *history)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < HC_METRIC_COUNT + history->n_user; i++)
		appendStringInfo(&names, "%s%s", i == 0 ? "" : ",", column_name(history, i));
	return names.data;
}

/* Too old, or beyond the size bound counted from the newest. */
static void
trim(void)
{
	Oid			types[2] = {FLOAT8OID, INT8OID};
	Datum		values[2] = {Float8GetDatum(heal_history_retention), Int64GetDatum(MAX_TABLE_BYTES)};

	if (SPI_execute_with_args("DELETE FROM heal.metric_history WHERE last_at < clock_timestamp() - make_interval(secs => $1)"
							  " OR first_at <= (SELECT max(s.first_at) FROM ("
							  "  SELECT h.first_at, sum(pg_column_size(h.data) + pg_column_size(h.metrics))"
							  "   OVER (ORDER BY h.first_at DESC) AS bytes FROM heal.metric_history h) AS s WHERE s.bytes > $2)",
							  2, types, values, NULL, false, 0) < 0)
		elog(ERROR, "could not trim heal.metric_history");
}

/* In a transaction of its own. */
static void
write_batch(void)
{
	const HealHistory *history = &heal_shared->history;
	Oid			types[5] = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, TEXTOID, BYTEAOID};
	Datum		values[5];

	values[0] = TimestampTzGetDatum(history->at[0]);
	values[1] = TimestampTzGetDatum(history->at[history->n_frames - 1]);
	values[2] = Int32GetDatum(history->n_frames);
	values[3] = CStringGetTextDatum(column_names(history));
	values[4] = PointerGetDatum(encode(history));
	if (SPI_execute_with_args("INSERT INTO heal.metric_history (first_at, last_at, samples, metrics, data)"
							  " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (first_at) DO UPDATE"
							  " SET last_at = excluded.last_at, samples = excluded.samples, metrics = excluded.metrics, data = excluded.data",
							  5, types, values, NULL, false, 0) < 0)
		elog(ERROR, "could not write heal.metric_history");
	if (batches_since_trim >= TRIM_BATCHES)
		trim();
}

static void
write_now(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!store_try(write_batch, "write samples into"))
	{
		next_try = now + RETRY_US;
		return;
	}
	next_try = 0;
	batches_since_trim = batches_since_trim >= TRIM_BATCHES ? 1 : batches_since_trim + 1;
	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	heal_shared->history.n_frames = 0;
	LWLockRelease(heal_shared->lock);
}

void
metric_history_write(bool writable)
{
	const HealHistory *history = &heal_shared->history;
	TimestampTz now;

	if (!writable || !heal_history_enabled || history->n_frames == 0)
		return;
	now = GetCurrentTimestamp();
	if (history->n_frames < HEAL_HISTORY_FRAMES && now - history->at[0] < BATCH_US && now >= history->at[0])
		return;
	if (next_try != 0 && now < next_try && next_try - now <= RETRY_US)
		return;
	if (!RecoveryInProgress())
		write_now();
}

/*---- Exporting ----*/

/* Frames from a row of the table, or from shared memory. */
typedef struct Frames
{
	uint32		n;
	uint32		n_columns;
	char	  **names;
	TimestampTz *at;
	double	  **columns;		/* n each; NULL: unknown */
} Frames;

typedef struct Export
{
	ReturnSetInfo *rsinfo;
	TimestampTz since;
	TimestampTz until;
	TimestampTz last;			/* sample written last: times only grow */
	char	  **header;			/* sorted */
	int			n_header;
	StringInfoData line;
} Export;

static void frames_are_broken(void) pg_attribute_noreturn();

static void
frames_are_broken(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("a row of heal.metric_history is not usable"),
			 errhint("Remove it: DELETE FROM heal.metric_history.")));
}

static char **
split_names(char *text, uint32 *n)
{
	char	  **names;
	char	   *rest = text;

	*n = 1;
	for (char *p = text; *p != '\0'; p++)
		*n += *p == ',';
	names = palloc(*n * sizeof(char *));
	for (uint32 i = 0; i < *n; i++)
		names[i] = strsep(&rest, ",");
	return names;
}

static void
take(const char **at, const char *end, void *to, Size length)
{
	if ((Size) (end - *at) < length)
		frames_are_broken();
	memcpy(to, *at, length);
	*at += length;
}

static double *
decode_column(const char **at, const char *end, uint32 n)
{
	char		kind;
	double	   *values;

	take(at, end, &kind, 1);
	if (kind == COLUMN_UNKNOWN)
		return NULL;
	values = palloc(n * sizeof(double));
	if (kind == COLUMN_FULL)
		take(at, end, values, n * sizeof(double));
	else if (kind == COLUMN_CONSTANT)
	{
		take(at, end, values, sizeof(double));
		for (uint32 i = 1; i < n; i++)
			values[i] = values[0];
	}
	else
		frames_are_broken();
	return values;
}

static void
decode(Frames *frames, char *names, bytea *data)
{
	const char *at = VARDATA_ANY(data);
	const char *end = at + VARSIZE_ANY_EXHDR(data);

	take(&at, end, &frames->n, sizeof(frames->n));
	take(&at, end, &frames->n_columns, sizeof(frames->n_columns));
	if (frames->n == 0 || frames->n > HEAL_HISTORY_FRAMES || frames->n_columns > 10000)
		frames_are_broken();
	frames->at = palloc(frames->n * sizeof(TimestampTz));
	take(&at, end, frames->at, frames->n * sizeof(TimestampTz));
	frames->columns = palloc(Max(frames->n_columns, 1) * sizeof(double *));
	for (uint32 i = 0; i < frames->n_columns; i++)
		frames->columns[i] = decode_column(&at, end, frames->n);
	frames->names = split_names(names, &frames->n_columns);
	if (at != end)
		frames_are_broken();
}

/* What has not been written yet; false: nothing. */
static bool
frames_in_memory(Frames *frames)
{
	HealHistory *copy;

	if (!shmem_usable())
		return false;
	copy = palloc(sizeof(HealHistory));
	LWLockAcquire(heal_shared->lock, LW_SHARED);
	memcpy(copy, &heal_shared->history, sizeof(HealHistory));
	LWLockRelease(heal_shared->lock);

	frames->n = copy->n_frames;
	frames->n_columns = HC_METRIC_COUNT + copy->n_user;
	frames->at = copy->at;
	frames->names = palloc(frames->n_columns * sizeof(char *));
	frames->columns = palloc(frames->n_columns * sizeof(double *));
	for (uint32 c = 0; c < frames->n_columns; c++)
	{
		frames->names[c] = pstrdup(column_name(copy, c));
		frames->columns[c] = palloc(Max(frames->n, 1) * sizeof(double));
		for (uint32 i = 0; i < frames->n; i++)
			frames->columns[c][i] = copy->values[i][c];
	}
	return frames->n > 0;
}

static void
put_line(Export *export)
{
	Datum		values[1] = {PointerGetDatum(cstring_to_text_with_len(export->line.data, export->line.len))};
	bool		nulls[1] = {false};

	tuplestore_putvalues(export->rsinfo->setResult, export->rsinfo->setDesc, values, nulls);
	pfree(DatumGetPointer(values[0]));
}

static void
append_time(StringInfo line, TimestampTz at)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)
		frames_are_broken();
	appendStringInfo(line, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ",
					 tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int) fsec);
}

/* Short text that reads back as the very number; empty: not known. */
static void
append_value(StringInfo line, double value)
{
	char		text[DOUBLE_SHORTEST_DECIMAL_LEN];

	appendStringInfoChar(line, ',');
	if (isnan(value) || isinf(value))
		return;
	double_to_shortest_decimal_buf(value, text);
	appendStringInfoString(line, text);
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

static void
put_frames(Export *export, const Frames *frames)
{
	double	  **source = palloc0(Max(export->n_header, 1) * sizeof(double *));

	for (uint32 c = 0; c < frames->n_columns; c++)
	{
		char	  **found = bsearch(&frames->names[c], export->header, export->n_header, sizeof(char *), compare_names);

		if (found != NULL)
			source[found - export->header] = frames->columns[c];
	}
	for (uint32 i = 0; i < frames->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (frames->at[i] < export->since || frames->at[i] > export->until || frames->at[i] <= export->last)
			continue;
		export->last = frames->at[i];
		resetStringInfo(&export->line);
		append_time(&export->line, frames->at[i]);
		for (int c = 0; c < export->n_header; c++)
			append_value(&export->line, source[c] == NULL ? NAN : source[c][i]);
		put_line(export);
	}
}

static void
add_names(List **list, char **names, uint32 n)
{
	for (uint32 i = 0; i < n; i++)
	{
		ListCell   *lc;
		bool		known = false;

		foreach(lc, *list)
			known |= strcmp(lfirst(lc), names[i]) == 0;
		if (!known)
			*list = lappend(*list, names[i]);
	}
}

#define IN_RANGE " FROM heal.metric_history WHERE last_at >= $1 AND first_at <= $2"

static void
put_header(Export *export, const Frames *newest, Datum *range)
{
	Oid			types[2] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	List	   *names = NIL;
	ListCell   *lc;

	for (int i = 0; i < HC_METRIC_COUNT; i++)
		names = lappend(names, pstrdup(bridge_metric_name(i)));
	add_names(&names, newest->names, newest->n_columns);
	if (SPI_execute_with_args("SELECT DISTINCT metrics" IN_RANGE, 2, types, range, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read heal.metric_history");
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		uint32		n;
		char	  **split = split_names(SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 1), &n);

		CHECK_FOR_INTERRUPTS();
		add_names(&names, split, n);
	}

	export->header = palloc(list_length(names) * sizeof(char *));
	foreach(lc, names)
		export->header[export->n_header++] = lfirst(lc);
	qsort(export->header, export->n_header, sizeof(char *), compare_names);

	appendStringInfoString(&export->line, "timestamp");
	for (int i = 0; i < export->n_header; i++)
		appendStringInfo(&export->line, ",%s", export->header[i]);
	put_line(export);
}

static void
put_written(Export *export, Datum *range)
{
	Oid			types[2] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "pg_heal export", ALLOCSET_DEFAULT_SIZES);
	Portal		cursor = SPI_cursor_open_with_args(NULL, "SELECT metrics, data" IN_RANGE " ORDER BY first_at",
												   2, types, range, NULL, true, 0);

	for (;;)
	{
		SPI_cursor_fetch(cursor, true, ROWS_PER_FETCH);
		if (SPI_processed == 0)
			break;
		for (uint64 row = 0; row < SPI_processed; row++)
		{
			MemoryContext old = MemoryContextSwitchTo(work);
			Frames		frames;
			bool		isnull;
			Datum		data = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 2, &isnull);

			decode(&frames, pstrdup(TextDatumGetCString(SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 1, &isnull))),
				   DatumGetByteaPP(data));
			put_frames(export, &frames);
			MemoryContextSwitchTo(old);
			MemoryContextReset(work);
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(cursor);
	MemoryContextDelete(work);
}

/* What is in memory is copied first: it is in the table before it leaves there. */
Datum
heal_export_metrics_0_1(PG_FUNCTION_ARGS)
{
	Export		export = {.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo,.last = PG_INT64_MIN};
	Frames		newest = {0};
	Datum		range[2];
	bool		in_memory;

	export.since = PG_ARGISNULL(0) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(0);
	export.until = PG_ARGISNULL(1) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(1);
	if (export.since > export.until)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the time range of an export ends before it begins"),
				 errhint("Give the earlier time first; NULL stands for no bound.")));
	shmem_check();
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	range[0] = TimestampTzGetDatum(export.since);
	range[1] = TimestampTzGetDatum(export.until);

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	initStringInfo(&export.line);
	in_memory = frames_in_memory(&newest);
	put_header(&export, &newest, range);
	put_written(&export, range);
	if (in_memory)
		put_frames(&export, &newest);
	SPI_finish();
	return (Datum) 0;
}
