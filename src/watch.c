/*-------------------------------------------------------------------------
 *
 * watch.c
 *	  What the healer tells its inspectors to look at: watched columns, and how
 *	  far amcheck may go. Read from the tables with the configuration.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "job.h"

typedef struct Watched
{
	const char *texts[4];		/* database, schema, table, column; UTF-8 */
	int64		watched_at;
} Watched;

static MemoryContext watch_context = NULL;
static Watched *watched = NULL;
static int	n_watched = 0;
static double check_bytes = 0;
static double check_interval_s = 600;

static void
read_watched(void)
{
	MemoryContext spi;
	bool		isnull;

	if (SPI_execute("SELECT w.database, w.schema_name, w.table_name, w.column_name,"
					" (pg_catalog.date_part('epoch', w.watched_at) * 1000000)::pg_catalog.int8 - 946684800000000"
					" FROM heal.watched_columns w ORDER BY 1, 2, 3, 4", true, INSPECT_MAX_WATCHED) != SPI_OK_SELECT)
		elog(ERROR, "could not read heal.watched_columns");
	n_watched = 0;
	MemoryContextReset(watch_context);
	spi = MemoryContextSwitchTo(watch_context);
	watched = palloc0(Max(SPI_processed, 1) * sizeof(Watched));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];

		for (int column = 0; column < 4; column++)
		{
			char	   *text = SPI_getvalue(tuple, SPI_tuptable->tupdesc, column + 1);
			char	   *utf8 = text == NULL ? "" : pg_server_to_any(text, strlen(text), PG_UTF8);

			watched[i].texts[column] = MemoryContextStrdup(watch_context, utf8);
		}
		watched[i].watched_at = DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 5, &isnull));
		n_watched++;
	}
	MemoryContextSwitchTo(spi);
}

static void
read_limit(const char *name, double *value)
{
	Oid			types[1] = {25};	/* text */
	Datum		values[1] = {CStringGetTextDatum(name)};
	bool		isnull;

	if (SPI_execute_with_args("SELECT t.value FROM heal.thresholds t"
							  " WHERE t.failure_type = 'index_corruption' AND t.name = $1",
							  1, types, values, NULL, true, 1) == SPI_OK_SELECT && SPI_processed == 1)
		*value = DatumGetFloat8(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/* In a transaction of the healer. */
void
watch_load(void)
{
	if (watch_context == NULL)
		watch_context = AllocSetContextCreate(TopMemoryContext, "pg_heal watched columns", ALLOCSET_SMALL_SIZES);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	read_watched();
	read_limit("max_bytes", &check_bytes);
	read_limit("interval_s", &check_interval_s);
	SPI_finish();
}

int64
watch_check_bytes(void)
{
	return (int64) check_bytes;
}

int64
watch_check_interval_us(void)
{
	return (int64) (check_interval_s * 1000000.0);
}

/* Append the columns of a database as inspect_columns() reads them; how many. */
uint32
watch_put(const char *database, char *data, uint32 *used)
{
	uint32		n = 0;

	for (int i = 0; i < n_watched; i++)
	{
		Size		len = sizeof(int64);

		if (strcmp(watched[i].texts[0], database) != 0)
			continue;
		for (int column = 1; column < 4; column++)
			len += strlen(watched[i].texts[column]) + 1;
		if (*used + len > HEAL_JOB_BYTES)
			break;
		memcpy(data + *used, &watched[i].watched_at, sizeof(int64));
		*used += sizeof(int64);
		for (int column = 1; column < 4; column++)
		{
			strcpy(data + *used, watched[i].texts[column]);
			*used += strlen(watched[i].texts[column]) + 1;
		}
		n++;
	}
	return n;
}
