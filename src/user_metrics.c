/*-------------------------------------------------------------------------
 *
 * user_metrics.c
 *	  What users measure: definitions, whose turn it is, newest values.
 *
 * Definitions come from heal.user_metrics, with the rest of the configuration.
 * The queries run in the inspectors' short-lived workers (metric_worker.c), with
 * each inspection of their database, or in a run of their own when they want to
 * be read more often. The longest unread one goes first, so that one that takes
 * all the time does not keep the others from being read.
 *
 * Whatever goes wrong is the metric's last_error and makes its value unknown.
 *
 *-------------------------------------------------------------------------
 */
#include "pg_heal.h"

#include <math.h>

#include "access/xlog.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "job.h"

PG_FUNCTION_INFO_V1(heal_add_metric_0_1);
PG_FUNCTION_INFO_V1(heal_user_metric_state_0_1);

/*---- Definitions ----*/

typedef struct KnownMetric
{
	HealUserMetric shown;
	uint32		id;				/* another one after every change */
	char		database[NAMEDATALEN];
	char		run_as[NAMEDATALEN];
	int64		every_us;		/* 0: with each inspection */
	bool		asked;			/* by the run under way */
	char	   *query;			/* in metrics_cxt */
} KnownMetric;

static MemoryContext metrics_cxt = NULL;
static KnownMetric known[HC_MAX_USER_METRICS];
static int	n_known = 0;
static uint32 next_id = 1;
static hc_user_metric observed[HC_MAX_USER_METRICS];

#define DEFINITIONS_SQL \
	"SELECT metric, query, component, category, unit, counter::int, bad," \
	" coalesce(database, pg_catalog.current_database()), run_as," \
	" coalesce(pg_catalog.extract('epoch', every), 0)::double precision" \
	" FROM heal.user_metrics WHERE enabled ORDER BY metric COLLATE pg_catalog.\"C\" LIMIT $1"

static const char *
column(uint64 row, int number)
{
	char	   *text = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number);

	return text == NULL ? "" : pg_server_to_any(text, strlen(text), PG_UTF8);
}

static int
direction(const char *bad)
{
	return strcmp(bad, "up") == 0 ? 1 : strcmp(bad, "down") == 0 ? -1 : strcmp(bad, "both") == 0 ? 0 : 2;
}

static KnownMetric *
find_known(const char *name)
{
	for (int i = 0; i < n_known; i++)
		if (strcmp(known[i].shown.name, name) == 0)
			return &known[i];
	return NULL;
}

static void
read_definition(uint64 row, KnownMetric *metric)
{
	memset(metric, 0, sizeof(*metric));
	strlcpy(metric->shown.name, column(row, 1), NAMEDATALEN);
	metric->query = pstrdup(column(row, 2));
	strlcpy(metric->shown.component, column(row, 3), NAMEDATALEN);
	strlcpy(metric->shown.category, column(row, 4), sizeof(metric->shown.category));
	strlcpy(metric->shown.unit, column(row, 5), sizeof(metric->shown.unit));
	metric->shown.counter = column(row, 6)[0] == '1';
	metric->shown.bad = direction(column(row, 7));
	strlcpy(metric->database, column(row, 8), NAMEDATALEN);
	strlcpy(metric->run_as, column(row, 9), NAMEDATALEN);
	metric->every_us = (int64) (atof(column(row, 10)) * 1e6);
	metric->shown.value = NAN;
}

static bool
same_definition(const KnownMetric *a, const KnownMetric *b)
{
	return strcmp(a->query, b->query) == 0 && strcmp(a->database, b->database) == 0 &&
		strcmp(a->run_as, b->run_as) == 0 && strcmp(a->shown.component, b->shown.component) == 0 &&
		strcmp(a->shown.category, b->shown.category) == 0 && strcmp(a->shown.unit, b->shown.unit) == 0 &&
		a->shown.counter == b->shown.counter && a->shown.bad == b->shown.bad;
}

/* What was measured stays known as long as its definition does. */
static void
keep_state(KnownMetric *metric)
{
	const KnownMetric *old = find_known(metric->shown.name);

	if (old == NULL || !same_definition(old, metric))
	{
		metric->id = next_id++;
		return;
	}
	metric->shown = old->shown;
	metric->id = old->id;
	metric->asked = old->asked;
}

static void
note_failure(KnownMetric *metric, const char *why, TimestampTz now)
{
	metric->shown.value = NAN;
	metric->shown.last_run_at = now;
	metric->shown.last_run_us = 0;
	strlcpy(metric->shown.error, why, HEAL_METRIC_ERROR);
	metric->shown.error[pg_encoding_mbcliplen(PG_UTF8, why, strlen(why), HEAL_METRIC_ERROR - 1)] = '\0';
}

/* Nobody runs the query of a metric whose database has gone. */
void
user_metrics_check_databases(TimestampTz now)
{
	for (int i = 0; i < n_known; i++)
		if (!inspect_knows_database(known[i].database))
			note_failure(&known[i], "the database does not exist or allows no connections", now);
}

/* Read the definitions anew; what it raises leaves them as they are. */
void
user_metrics_load(void)
{
	MemoryContext cxt = AllocSetContextCreate(TopMemoryContext, "pg_heal metrics of users", ALLOCSET_SMALL_SIZES);
	MemoryContext oldcxt = CurrentMemoryContext;
	Oid			types[1] = {INT4OID};
	Datum		values[1] = {Int32GetDatum(HC_MAX_USER_METRICS)};
	KnownMetric *loaded;
	int			n;

	/* Until it has become metrics_cxt an error frees it. */
	MemoryContextSetParent(cxt, CurrentMemoryContext);
	if (SPI_connect() != SPI_OK_CONNECT ||
		SPI_execute_with_args(DEFINITIONS_SQL, 1, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read heal.user_metrics");
	n = (int) SPI_processed;
	loaded = palloc(Max(n, 1) * sizeof(KnownMetric));
	MemoryContextSwitchTo(cxt);
	for (int i = 0; i < n; i++)
		read_definition(i, &loaded[i]);

	for (int i = 0; i < n; i++)
		keep_state(&loaded[i]);
	memcpy(known, loaded, n * sizeof(KnownMetric));
	n_known = n;
	user_metrics_check_databases(GetCurrentTimestamp());
	SPI_finish();
	MemoryContextSwitchTo(oldcxt);

	if (metrics_cxt != NULL)
		MemoryContextDelete(metrics_cxt);
	MemoryContextSetParent(cxt, TopMemoryContext);
	metrics_cxt = cxt;
}

/*---- Turns ----*/

/* A new one is read at once; a clock set back must not stop the turns. */
static bool
is_due(const KnownMetric *metric, TimestampTz now, bool with_inspection)
{
	TimestampTz last = metric->shown.last_run_at;

	if (last == 0 || now < last)
		return true;
	if (metric->every_us == 0)
		return with_inspection;
	return now - last >= metric->every_us;
}

bool
user_metrics_due(const char *database, TimestampTz now)
{
	for (int i = 0; i < n_known; i++)
		if (strcmp(known[i].database, database) == 0 && is_due(&known[i], now, false))
			return true;
	return false;
}

static int
compare_age(const void *a, const void *b)
{
	TimestampTz x = (*(KnownMetric *const *) a)->shown.last_run_at;
	TimestampTz y = (*(KnownMetric *const *) b)->shown.last_run_at;

	return x < y ? -1 : x > y ? 1 : 0;
}

static void
append_text(StringInfo job, const char *text)
{
	uint32		length = strlen(text);

	appendBinaryStringInfo(job, (char *) &length, sizeof(length));
	appendBinaryStringInfo(job, text, length + 1);
}

uint32
user_metrics_request(const char *database, TimestampTz now, bool with_inspection, StringInfo job)
{
	KnownMetric *due[HC_MAX_USER_METRICS];
	uint32		n = 0;

	for (int i = 0; i < n_known; i++)
	{
		known[i].asked = strcmp(known[i].database, database) == 0 && is_due(&known[i], now, with_inspection);
		if (known[i].asked)
			due[n++] = &known[i];
	}
	if (n > 1)
		qsort(due, n, sizeof(due[0]), compare_age);
	for (uint32 i = 0; i < n; i++)
	{
		appendBinaryStringInfo(job, (char *) &due[i]->id, sizeof(due[i]->id));
		append_text(job, due[i]->run_as);
		append_text(job, due[i]->query);
	}
	return n;
}

/*---- Values ----*/

static void
take_answer(KnownMetric *metric, const MetricAnswer *answer, TimestampTz now)
{
	if (isnan(answer->value))
		note_failure(metric, answer->error, now);
	else
	{
		metric->shown.value = answer->value;
		metric->shown.observed_at = metric->shown.last_run_at = now;
		metric->shown.error[0] = '\0';
	}
	metric->shown.last_run_us = answer->duration_us;
}

void
user_metrics_take(const char *answers, uint32 n, TimestampTz now)
{
	for (uint32 k = 0; k < n; k++)
	{
		MetricAnswer answer;

		memcpy(&answer, answers + k * sizeof(answer), sizeof(answer));
		answer.error[HEAL_METRIC_ERROR - 1] = '\0';
		for (int i = 0; i < n_known; i++)
			if (known[i].id == answer.id && answer.ran)
				take_answer(&known[i], &answer, now);
	}
	for (int i = 0; i < n_known; i++)
		known[i].asked = false;
}

void
user_metrics_failed(const char *why, TimestampTz now)
{
	for (int i = 0; i < n_known; i++)
	{
		if (known[i].asked)
			note_failure(&known[i], why[0] != '\0' ? why : "the process that ran it ended early", now);
		known[i].asked = false;
	}
}

void
user_metrics_fill(hc_observation *obs)
{
	for (int i = 0; i < n_known; i++)
	{
		const HealUserMetric *shown = &known[i].shown;

		observed[i].name = shown->name;
		observed[i].component = shown->component;
		observed[i].category = shown->category;
		observed[i].unit = shown->unit;
		observed[i].counter = shown->counter;
		observed[i].bad = shown->bad;
		observed[i].value = shown->value;
		observed[i].observed_at = shown->observed_at;
	}
	obs->user_metrics = observed;
	obs->n_user_metrics = n_known;
}

/* Under the lock of heal_shared. */
void
user_metrics_publish(const hc_decisions *decisions)
{
	heal_shared->n_user_metrics = n_known;
	for (int i = 0; i < n_known; i++)
	{
		HealUserMetric *slot = &heal_shared->user_metrics[i];

		*slot = known[i].shown;
		if (i < decisions->n_user_metrics)
			slot->status = decisions->user_metrics[i];
	}
}

/*---- SQL: how it goes ----*/

static Datum
timestamp_or_null(TimestampTz at, bool *isnull)
{
	*isnull = at == 0;
	return TimestampTzGetDatum(at);
}

Datum
heal_user_metric_state_0_1(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	HealUserMetric *metrics = palloc(sizeof(heal_shared->user_metrics));
	int			n;

	shmem_check();
	InitMaterializedSRF(fcinfo, 0);

	LWLockAcquire(heal_shared->lock, LW_SHARED);
	n = heal_shared->n_user_metrics;
	memcpy(metrics, heal_shared->user_metrics, n * sizeof(HealUserMetric));
	LWLockRelease(heal_shared->lock);

	for (int i = 0; i < n; i++)
	{
		const HealUserMetric *m = &metrics[i];
		Datum		values[6];
		bool		nulls[6] = {0};

		values[0] = CStringGetTextDatum(m->name);
		nulls[1] = isnan(m->value);
		values[1] = Float8GetDatum(m->value);
		values[2] = timestamp_or_null(m->observed_at, &nulls[2]);
		values[3] = timestamp_or_null(m->last_run_at, &nulls[3]);
		nulls[4] = m->last_run_at == 0;
		values[4] = Float8GetDatum(m->last_run_us / 1000.0);
		nulls[5] = m->error[0] == '\0';
		values[5] = nulls[5] ? (Datum) 0 : CStringGetTextDatum(pg_any_to_server(m->error, strlen(m->error), PG_UTF8));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*---- SQL: defining one ----*/

#define QUERY_HINT "The query of a metric is one SELECT that returns one number. Name the schema of everything outside pg_catalog."

/* What the parser says is about the query of the metric, not about the statement that calls us. */
static void
explain_query_error(void *arg)
{
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery((const char *) arg);
	}
	errhint(QUERY_HINT);
}

static void query_is_wrong(const char *how) pg_attribute_noreturn();

static void
query_is_wrong(const char *how)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("query of the metric %s", how),
			 errhint(QUERY_HINT)));
}

/* Without a look into the catalogs: it is meant for another database. */
static void
check_syntax(const char *query)
{
	List	   *statements = pg_parse_query(query);
	SelectStmt *select;

	if (list_length(statements) != 1)
		query_is_wrong(statements == NIL ? "is empty" : "has more than one statement");
	select = (SelectStmt *) linitial_node(RawStmt, statements)->stmt;
	if (!IsA(select, SelectStmt) || select->intoClause != NULL)
		query_is_wrong("is not a SELECT");
	if (select->lockingClause != NIL)
		query_is_wrong("locks rows");
}

/* Also what names mean, to the role that calls. Nothing is executed. */
static void
check_meaning(const char *text)
{
	SPIPlanPtr	plan = SPI_prepare(text, 0, NULL);
	List	   *sources = plan == NULL ? NIL : SPI_plan_get_plan_sources(plan);
	CachedPlanSource *source;
	Query	   *query;

	if (list_length(sources) != 1)
		query_is_wrong(sources == NIL ? "is empty" : "has more than one statement");
	source = linitial(sources);
	query = list_length(source->query_list) == 1 ? linitial_node(Query, source->query_list) : NULL;
	if (query == NULL || query->commandType != CMD_SELECT)
		query_is_wrong("is not a SELECT");
	if (query->hasModifyingCTE)
		query_is_wrong("changes data");
	if (query->rowMarks != NIL)
		query_is_wrong("locks rows");
	if (source->resultDesc == NULL || source->resultDesc->natts != 1)
		query_is_wrong("does not return exactly one column");
	if (!metric_type_is_number(TupleDescAttr(source->resultDesc, 0)->atttypid))
		query_is_wrong(psprintf("returns type %s, which is no number",
								format_type_be(TupleDescAttr(source->resultDesc, 0)->atttypid)));
	SPI_freeplan(plan);
}

static void
check_query(const char *query, bool here)
{
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = explain_query_error,
		.arg = unconstify(char *, query),
	};

	error_context_stack = &callback;
	if (here)
		check_meaning(query);
	else
		check_syntax(query);
	error_context_stack = callback.previous;
}

static void
refuse_null(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name),
				 errhint("Leave it out for its default; a metric needs a name and a query.")));
}

/* The owner of the function that is running. */
static Oid
function_owner(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Store it as the owner of the extension; the arguments are only values. */
static void
put_metric(FunctionCallInfo fcinfo, const char *run_as)
{
	Oid			types[10] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID, TEXTOID, TEXTOID, INTERVALOID, TEXTOID};
	Datum		values[10];
	char		nulls[11] = "          ";
	Oid			user;
	int			context;

	for (int i = 0; i < 9; i++)
	{
		values[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	values[9] = CStringGetTextDatum(run_as);

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(function_owner(fcinfo->flinfo->fn_oid), context | SECURITY_LOCAL_USERID_CHANGE);
	if (SPI_execute_with_args("SELECT heal.put_metric($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
							  10, types, values, nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not store the metric");
	SetUserIdAndSecContext(user, context);
}

/*
 * The query will run as the role that calls, which is not session_user: a
 * function with the rights of its owner must not make metrics of its caller.
 */
Datum
heal_add_metric_0_1(PG_FUNCTION_ARGS)
{
	static const char *const names[7] = {"metric", "query", "component", "category", "unit", "counter", "bad"};
	char	   *run_as = GetUserNameFromId(GetUserId(), false);
	char	   *database;

	for (int i = 0; i < lengthof(names); i++)
		refuse_null(fcinfo, i, names[i]);
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_heal cannot be configured while the server is in recovery"),
				 errhint("Run this on the primary.")));

	database = PG_ARGISNULL(7) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(7));
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	check_query(text_to_cstring(PG_GETARG_TEXT_PP(1)),
				database == NULL || strcmp(database, get_database_name(MyDatabaseId)) == 0);
	put_metric(fcinfo, run_as);
	SPI_finish();
	PG_RETURN_VOID();
}
