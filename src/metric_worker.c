/*-------------------------------------------------------------------------
 *
 * metric_worker.c
 *	  Run the queries of users' metrics, in an inspector's worker.
 *
 * The query of a user must not harm the server nor lend anybody rights. It runs
 * in a read-only transaction of its own, as the role that defined it, in a
 * security-restricted operation: that role cannot be left. What it sets ends
 * with it. Time is bounded by pg_heal.component_timeout, and where a query
 * catches even that (a function can) by the end of this process; rows by two,
 * memory and temporary files by the limits below.
 *
 * The answers stand in the job from the beginning, so that when the process has
 * to end the others' are there and that of the culprit says so.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>
#include <sys/resource.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "portability/instr_time.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "compat.h"
#include "job.h"

/* Private memory of the process, and temporary files, while queries of users run. */
#define MEMORY_LIMIT		(256 * 1024 * 1024)
#define TEMP_FILE_LIMIT		"256MB"
/* A query that does not end when told to is given this long. */
#define GRACE_MS			2000
/* No query is begun after this many times the timeout of one. */
#define TIMEOUTS_IN_ALL		4

#define NO_END "the query did not end at its timeout, and its process was ended"

typedef struct MetricQuery
{
	uint32		id;
	const char *run_as;
	const char *query;
} MetricQuery;

bool
metric_type_is_number(Oid type)
{
	switch (getBaseType(type))
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			return true;
		default:
			return false;
	}
}

static double
to_number(Datum value, Oid type)
{
	switch (getBaseType(type))
	{
		case INT2OID:
			return DatumGetInt16(value);
		case INT4OID:
			return DatumGetInt32(value);
		case INT8OID:
			return (double) DatumGetInt64(value);
		case FLOAT4OID:
			return DatumGetFloat4(value);
		case FLOAT8OID:
			return DatumGetFloat8(value);
		default:
			return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, value));
	}
}

static void fail(const char *why) pg_attribute_noreturn();

static void
fail(const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_CARDINALITY_VIOLATION),
			 errmsg("the query %s", why)));
}

/* The one number, or an error that says what came instead. */
static double
only_value(void)
{
	Oid			type;
	Datum		value;
	double		number;
	bool		isnull;

	if (SPI_processed != 1)
		fail(SPI_processed == 0 ? "returned no row" : "returned more than one row");
	if (SPI_tuptable->tupdesc->natts != 1)
		fail("did not return exactly one column");
	type = SPI_gettypeid(SPI_tuptable->tupdesc, 1);
	if (!metric_type_is_number(type))
		fail(psprintf("returned type %s, which is no number", format_type_be(type)));
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (isnull)
		fail("returned NULL");
	number = to_number(value, type);
	if (isnan(number) || isinf(number))
		fail(isnan(number) ? "returned NaN" : "returned infinity");
	return number;
}

/* The definition was checked, but the table may hold what was not. */
static double
run_plan(const char *query)
{
	SPIPlanPtr	plan = SPI_prepare(query, 0, NULL);
	List	   *sources = plan == NULL ? NIL : SPI_plan_get_plan_sources(plan);

	CachedPlanSource *source = list_length(sources) == 1 ? linitial(sources) : NULL;

	if (source == NULL || source->commandTag != CMDTAG_SELECT || list_length(source->query_list) != 1 ||
		linitial_node(Query, source->query_list)->hasModifyingCTE)
		fail("is not a single SELECT");
	if (SPI_execute_plan(plan, NULL, NULL, true, 2) != SPI_OK_SELECT)
		fail("is not a single SELECT");
	return only_value();
}

static Oid
role_of(const MetricQuery *metric)
{
	Oid			role = get_role_oid(metric->run_as, true);

	if (!OidIsValid(role))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role \"%s\" does not exist", metric->run_as)));
	if (!compat_may_connect(role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" may not connect to this database", metric->run_as)));
	return role;
}

static void
set_local(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/* In a transaction of its own; raises. */
static double
query_value(HealJobSlot *job, const MetricQuery *metric)
{
	double		value;
	Oid			user;
	int			context;
	int			nest;

	worker_query_begin(job, XACT_READ_COMMITTED);
	nest = NewGUCNestLevel();
	set_local("row_security", "on");
	set_local("temp_file_limit", TEMP_FILE_LIMIT);
	set_local("max_parallel_workers_per_gather", "0");

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(role_of(metric),
						   context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	value = run_plan(metric->query);
	SetUserIdAndSecContext(user, context);

	/* Also what the query has set for the whole session. */
	AtEOXact_GUC(false, nest);
	worker_query_end();
	return value;
}

/* ---- the process ---- */

/* In a signal handler. Unlike a cancel this cannot be caught in SQL. */
static void
end_process(void)
{
	InterruptPending = true;
	ProcDiePending = true;
	SetLatch(MyLatch);
}

static void
limit_memory(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_DATA, &limit) != 0)
		return;
	if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max > MEMORY_LIMIT)
		limit.rlim_cur = MEMORY_LIMIT;
	(void) setrlimit(RLIMIT_DATA, &limit);
}

static int64
elapsed_us(instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

/* What worker_catch left in the job, as far as it fits. */
static void
take_error(HealJobSlot *job, MetricAnswer *answer)
{
	int			length = pg_encoding_mbcliplen(PG_UTF8, job->message, strlen(job->message), HEAL_METRIC_ERROR - 1);

	answer->value = NAN;
	memcpy(answer->error, job->message, length);
	answer->error[length] = '\0';
}

static void
run_one(HealJobSlot *job, const MetricQuery *metric, MetricAnswer *answer, TimeoutId hard)
{
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	PG_TRY();
	{
		double		value;

		enable_timeout_after(hard, job->statement_timeout + GRACE_MS);
		value = query_value(job, metric);
		disable_timeout(hard, false);
		answer->value = value;
		answer->error[0] = '\0';
	}
	PG_CATCH();
	{
		worker_catch(job, HC_OUT_DONE);
		take_error(job, answer);
	}
	PG_END_TRY();
	answer->duration_us = elapsed_us(start);
}

/* ---- the request: see user_metrics_request ---- */

static const char *
take_text(const char **at, const char *end)
{
	uint32		length;
	const char *text;

	if (end - *at < (ptrdiff_t) sizeof(length))
		elog(ERROR, "request for metrics is cut off");
	memcpy(&length, *at, sizeof(length));
	text = *at + sizeof(length);
	if (end - text < (ptrdiff_t) length + 1 || text[length] != '\0')
		elog(ERROR, "request for metrics is cut off");
	*at = text + length + 1;
	return worker_from_utf8(text);
}

static void
take_query(const char **at, const char *end, MetricQuery *metric)
{
	if (end - *at < (ptrdiff_t) sizeof(metric->id))
		elog(ERROR, "request for metrics is cut off");
	memcpy(&metric->id, *at, sizeof(metric->id));
	*at += sizeof(metric->id);
	metric->run_as = take_text(at, end);
	metric->query = take_text(at, end);
}

void
metrics_run(HealJobSlot *job, const char *request, uint32 length, char *answers, uint32 n)
{
	TimeoutId	hard = RegisterTimeout(USER_TIMEOUT, end_process);
	const char *at = request;
	instr_time	start;

	limit_memory();
	INSTR_TIME_SET_CURRENT(start);
	for (uint32 i = 0; i < n; i++)
	{
		MetricQuery metric;
		MetricAnswer answer = {.ran = 1,.value = NAN,.error = NO_END};

		if (elapsed_us(start) > (int64) TIMEOUTS_IN_ALL * job->statement_timeout * 1000)
			break;
		take_query(&at, request + length, &metric);
		answer.id = metric.id;
		memcpy(answers + i * sizeof(answer), &answer, sizeof(answer));
		run_one(job, &metric, &answer, hard);
		memcpy(answers + i * sizeof(answer), &answer, sizeof(answer));
	}
}
