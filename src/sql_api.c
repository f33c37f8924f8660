/*-------------------------------------------------------------------------
 *
 * sql_api.c
 *	  The C entry points behind the heal_* functions and views.
 *
 * Reading functions copy from shared memory; acting ones send a request to
 * the healer. Symbols carry the version so that an old catalog keeps working
 * with a new library.
 *
 *-------------------------------------------------------------------------
 */
#include "pg_heal.h"

#include <math.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/trigger.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(heal_check_database_0_1);
PG_FUNCTION_INFO_V1(heal_check_writable_0_1);
PG_FUNCTION_INFO_V1(heal_config_changed_0_1);
PG_FUNCTION_INFO_V1(heal_graph_check_0_1);
PG_FUNCTION_INFO_V1(heal_catalogue_0_1);
PG_FUNCTION_INFO_V1(heal_status_0_1);
PG_FUNCTION_INFO_V1(heal_metrics_0_1);
PG_FUNCTION_INFO_V1(heal_detector_grade_0_1);
PG_FUNCTION_INFO_V1(heal_overhead_0_1);
PG_FUNCTION_INFO_V1(heal_approve_0_1);
PG_FUNCTION_INFO_V1(heal_reject_0_1);
PG_FUNCTION_INFO_V1(heal_execute_0_1);
PG_FUNCTION_INFO_V1(heal_pause_0_1);
PG_FUNCTION_INFO_V1(heal_reset_baseline_0_1);
PG_FUNCTION_INFO_V1(heal_resume_0_1);
PG_FUNCTION_INFO_V1(heal_snapshot_0_1);
PG_FUNCTION_INFO_V1(heal_rollback_0_1);
PG_FUNCTION_INFO_V1(heal_diagnose_0_1);

/* Without an answer for this many intervals a component's state is not known. */
#define STALE_INTERVALS 3
#define STALE_MIN_MS 15000

static Datum
text_or_null(const char *text, bool *isnull)
{
	*isnull = text[0] == '\0';
	return *isnull ? (Datum) 0 : CStringGetTextDatum(text);
}

static Datum
timestamp_or_null(TimestampTz at, bool *isnull)
{
	*isnull = at == 0;
	return TimestampTzGetDatum(at);
}

static Datum
float_or_null(double value, bool *isnull)
{
	*isnull = isnan(value);
	return Float8GetDatum(value);
}

/* ---- installation ---- */

/* CREATE EXTENSION belongs into the one database the healer connects to. */
Datum
heal_check_database_0_1(PG_FUNCTION_ARGS)
{
	char	   *here = get_database_name(MyDatabaseId);

	if (here != NULL && strcmp(here, heal_database) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_heal can only be created in database \"%s\"", heal_database),
				 errdetail("One worker serves the whole server; pg_heal.database names its database, and this is \"%s\".", here),
				 errhint("Connect to database \"%s\", or set pg_heal.database to \"%s\" and reload.", heal_database, here)));
	PG_RETURN_VOID();
}

Datum
heal_check_writable_0_1(PG_FUNCTION_ARGS)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_heal cannot be configured while the server is in recovery"),
				 errhint("Run this on the primary.")));
	PG_RETURN_VOID();
}

/* ---- configuration changes reach the healer when they are committed ---- */

static bool config_change_pending = false;

static void
announce_config_change(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT && config_change_pending && shmem_usable())
	{
		pg_atomic_fetch_add_u64(&heal_shared->config_generation, 1);
		healer_wake();
	}
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		config_change_pending = false;
}

/* Statement trigger on the tables a user may edit. */
Datum
heal_config_changed_0_1(PG_FUNCTION_ARGS)
{
	static bool registered = false;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "config_changed")));
	if (!registered)
		RegisterXactCallback(announce_config_change, NULL);
	registered = true;
	config_change_pending = true;
	PG_RETURN_POINTER(NULL);
}

/* ERROR when the causal graph in the tables, as this transaction sees them, is not valid. */
Datum
heal_graph_check_0_1(PG_FUNCTION_ARGS)
{
	bridge_check_graph(store_load_config());
	PG_RETURN_VOID();
}

/* ---- reading ---- */

/* Why what is published cannot be trusted now; "" when it can. */
static void
published_is_stale(char *why, Size len)
{
	long		limit = Max((long) STALE_INTERVALS * heal_monitoring_interval, STALE_MIN_MS);

	why[0] = '\0';
	if (RecoveryInProgress())
		strlcpy(why, "the server is in recovery; pg_heal works on the primary", len);
	else if (heal_shared->healer_state[0] != '\0')
		strlcpy(why, heal_shared->healer_state, len);
	else if (heal_shared->healer_pid == 0)
		strlcpy(why, heal_enabled ? "the worker is not running" : "pg_heal.enabled is off", len);
	else if (heal_shared->last_tick_at == 0)
		strlcpy(why, "the worker has just started", len);
	else if (TimestampDifferenceExceeds(heal_shared->last_tick_at, GetCurrentTimestamp(), limit))
		strlcpy(why, "the worker has not reported lately", len);
}

static void
put_component(ReturnSetInfo *rsinfo, const HealComponentSlot *c, const char *stale)
{
	Datum		values[7];
	bool		nulls[7] = {0};

	values[0] = CStringGetTextDatum(c->component);
	values[1] = CStringGetTextDatum(stale[0] ? "unknown" : c->state);
	values[2] = timestamp_or_null(c->since, &nulls[2]);
	values[3] = Int32GetDatum(c->open_incidents);
	values[4] = text_or_null(c->worst_failure, &nulls[4]);
	values[5] = timestamp_or_null(c->last_recovery_at, &nulls[5]);
	values[6] = text_or_null(stale[0] ? stale : c->detail, &nulls[6]);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

Datum
heal_status_0_1(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	HealComponentSlot *components = palloc(sizeof(heal_shared->components));
	HealComponentSlot healer = {.component = "healer"};
	char		stale[HEAL_TEXT];
	bool		has_healer = false;
	int			n;

	shmem_check();
	InitMaterializedSRF(fcinfo, 0);

	LWLockAcquire(heal_shared->lock, LW_SHARED);
	n = heal_shared->n_components;
	memcpy(components, heal_shared->components, sizeof(heal_shared->components));
	published_is_stale(stale, sizeof(stale));
	LWLockRelease(heal_shared->lock);

	for (int i = 0; i < n; i++)
	{
		has_healer |= strcmp(components[i].component, "healer") == 0;
		put_component(rsinfo, &components[i], stale);
	}
	/* Before the first tick there is still one row, which says why. */
	if (!has_healer)
		put_component(rsinfo, &healer, stale[0] ? stale : "no tick yet");
	return (Datum) 0;
}

static void
put_metric(ReturnSetInfo *rsinfo, const char *name, const char *component, const char *category, const char *unit,
		   const hc_metric_status *m)
{
	Datum		values[14];
	bool		nulls[14] = {0};

	values[0] = CStringGetTextDatum(name);
	values[1] = CStringGetTextDatum(component);
	values[2] = CStringGetTextDatum(category);
	values[3] = float_or_null(m->observed_at == 0 ? NAN : m->value, &nulls[3]);
	values[4] = CStringGetTextDatum(unit);
	values[5] = float_or_null(m->samples == 0 ? NAN : m->baseline_mean, &nulls[5]);
	values[6] = float_or_null(m->samples == 0 ? NAN : m->baseline_stddev, &nulls[6]);
	values[7] = float_or_null(m->samples == 0 ? NAN : m->zscore, &nulls[7]);
	values[8] = float_or_null(m->samples == 0 ? NAN : m->iqr_low, &nulls[8]);
	values[9] = float_or_null(m->samples == 0 ? NAN : m->iqr_high, &nulls[9]);
	values[10] = Int64GetDatum(m->samples);
	values[11] = timestamp_or_null(m->observed_at, &nulls[11]);
	values[12] = float_or_null(m->samples == 0 ? NAN : m->anomaly_score, &nulls[12]);
	values[13] = float_or_null(m->samples == 0 ? NAN : m->forest_score, &nulls[13]);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* A metric of users; before the core has judged it, its value as it was read. */
static void
put_user_metric(ReturnSetInfo *rsinfo, const HealUserMetric *metric)
{
	hc_metric_status status = metric->status;

	if (status.observed_at == 0)
	{
		status.value = metric->value;
		status.observed_at = metric->observed_at;
	}
	put_metric(rsinfo, metric->name, metric->component, metric->category,
			   pg_any_to_server(metric->unit, strlen(metric->unit), PG_UTF8), &status);
}

Datum
heal_metrics_0_1(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	hc_metric_status *metrics = palloc(sizeof(heal_shared->metrics));
	HealUserMetric *user = palloc(sizeof(heal_shared->user_metrics));
	int			n_user;

	shmem_check();
	InitMaterializedSRF(fcinfo, 0);

	LWLockAcquire(heal_shared->lock, LW_SHARED);
	memcpy(metrics, heal_shared->metrics, sizeof(heal_shared->metrics));
	n_user = heal_shared->n_user_metrics;
	memcpy(user, heal_shared->user_metrics, n_user * sizeof(HealUserMetric));
	LWLockRelease(heal_shared->lock);

	for (int i = 0; i < HC_METRIC_COUNT; i++)
	{
		const char *component,
				   *category,
				   *unit;

		bridge_metric_describe(i, &component, &category, &unit);
		put_metric(rsinfo, bridge_metric_name(i), component, category, unit, &metrics[i]);
	}
	for (int i = 0; i < n_user; i++)
		put_user_metric(rsinfo, &user[i]);
	return (Datum) 0;
}

/* A row: precision, low, high, demoted. */
Datum
heal_detector_grade_0_1(PG_FUNCTION_ARGS)
{
	BridgeGrade grade = bridge_detector_grade(PG_GETARG_FLOAT8(0), PG_GETARG_FLOAT8(1), PG_GETARG_FLOAT8(2));
	TupleDesc	desc;
	Datum		values[4];
	bool		nulls[4] = {0};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = float_or_null(grade.precision, &nulls[0]);
	values[1] = float_or_null(grade.low, &nulls[1]);
	values[2] = float_or_null(grade.high, &nulls[2]);
	values[3] = BoolGetDatum(grade.demoted);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

Datum
heal_overhead_0_1(PG_FUNCTION_ARGS)
{
	static const char *const part_names[HEAL_PARTS] = {
		[HEAL_PART_LAUNCHER] = "launcher",
		[HEAL_PART_HEALER] = "healer",
		[HEAL_PART_INSPECTOR] = "inspectors",
		[HEAL_PART_ACTION] = "actions",
		[HEAL_PART_HOOKS] = "hooks",
	};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	HealPartUse use[HEAL_PARTS];

	shmem_check();
	InitMaterializedSRF(fcinfo, 0);

	LWLockAcquire(heal_shared->lock, LW_SHARED);
	memcpy(use, heal_shared->parts, sizeof(use));
	LWLockRelease(heal_shared->lock);

	for (int i = 0; i < HEAL_PARTS; i++)
	{
		Datum		values[7];
		bool		nulls[7] = {0};

		values[0] = CStringGetTextDatum(part_names[i]);
		values[1] = Float8GetDatum(use[i].cpu_us / 1000.0);
		values[2] = Int64GetDatum(use[i].memory_bytes);
		values[3] = Int64GetDatum(use[i].shared_bytes);
		values[4] = Int64GetDatum(use[i].disk_bytes);
		values[5] = Float8GetDatum(use[i].longest_tick_us / 1000.0);
		values[6] = Int32GetDatum(use[i].locks_held);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* ---- acting: one request each ---- */

static Datum
json_to_jsonb(const char *json)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json[0] == '\0' ? "{}" : json));
}

/* What the core knows is plain ASCII, so valid in any encoding. */
Datum
heal_catalogue_0_1(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(json_to_jsonb(bridge_catalogue()));
}

/* A request is either made or an error: a NULL must not pass for done. */
static void
refuse_null(FunctionCallInfo fcinfo, int argument, const char *name, const char *hint)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name),
				 errhint("%s", hint)));
}

#define HINT_RECOMMENDATION "SELECT recommendation_id, remedy, state FROM heal_recommend() lists them."
#define HINT_INCIDENT "SELECT incident_id, failure_type, subject FROM heal_incidents lists them."
#define HINT_SNAPSHOT "SELECT snapshot_id, label, state FROM heal_snapshots lists them."

static Datum
call_healer(hc_request_kind kind, int64 target, const char *argument)
{
	return json_to_jsonb(mailbox_call(kind, target, 0, argument, ""));
}

Datum
heal_approve_0_1(PG_FUNCTION_ARGS)
{
	refuse_null(fcinfo, 0, "recommendation_id", HINT_RECOMMENDATION);
	return call_healer(HC_REQ_APPROVE, PG_GETARG_INT64(0), "");
}

Datum
heal_reject_0_1(PG_FUNCTION_ARGS)
{
	refuse_null(fcinfo, 0, "recommendation_id", HINT_RECOMMENDATION);
	refuse_null(fcinfo, 1, "reason", "Leave it out if there is none.");
	return call_healer(HC_REQ_REJECT, PG_GETARG_INT64(0), text_to_cstring(PG_GETARG_TEXT_PP(1)));
}

Datum
heal_execute_0_1(PG_FUNCTION_ARGS)
{
	refuse_null(fcinfo, 0, "incident_id", HINT_INCIDENT);
	refuse_null(fcinfo, 1, "remedy", "SELECT remedy FROM heal_recommend(incident_id) lists those that fit an incident.");
	return call_healer(HC_REQ_EXECUTE, PG_GETARG_INT64(0), text_to_cstring(PG_GETARG_TEXT_PP(1)));
}

Datum
heal_pause_0_1(PG_FUNCTION_ARGS)
{
	refuse_null(fcinfo, 0, "reason", "Say why, for those who find pg_heal paused; an empty text will do.");
	return call_healer(HC_REQ_PAUSE, 0, text_to_cstring(PG_GETARG_TEXT_PP(0)));
}

Datum
heal_resume_0_1(PG_FUNCTION_ARGS)
{
	return call_healer(HC_REQ_RESUME, 0, "");
}

/* NULL, the default: all metrics. */
Datum
heal_reset_baseline_0_1(PG_FUNCTION_ARGS)
{
	const char *metric = "";

	if (!PG_ARGISNULL(0))
	{
		metric = text_to_cstring(PG_GETARG_TEXT_PP(0));
		if (metric[0] == '\0')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("metric must not be empty"),
					 errhint("Leave it out to reset the baselines of all metrics.")));
	}
	return call_healer(HC_REQ_RESET_BASELINE, 0, metric);
}

/* Value of a key of a JSON object as text; NULL when absent or null. */
static char *
json_field(JsonbContainer *object, const char *key)
{
	JsonbValue	buffer;
	JsonbValue *v = getKeyJsonValueFromContainer(object, key, strlen(key), &buffer);

	if (v == NULL || v->type == jbvNull)
		return NULL;
	if (v->type == jbvString)
		return pnstrdup(v->val.string.val, v->val.string.len);
	if (v->type == jbvNumeric)
		return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(v->val.numeric)));
	return NULL;
}

Datum
heal_snapshot_0_1(PG_FUNCTION_ARGS)
{
	char	   *json;
	char	   *id;

	if (PG_ARGISNULL(0) || VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(0)) == 0)
		ereport(ERROR,
				(errcode(PG_ARGISNULL(0) ? ERRCODE_NULL_VALUE_NOT_ALLOWED : ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a snapshot needs a label"),
				 errhint("Name what you are about to change, for example heal_snapshot('before tuning').")));
	/* The core knows no parent as 0. */
	if (!PG_ARGISNULL(2) && PG_GETARG_INT64(2) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no snapshot 0"),
				 errhint(HINT_SNAPSHOT)));
	json = mailbox_call(HC_REQ_SNAPSHOT, PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2), 0,
						text_to_cstring(PG_GETARG_TEXT_PP(0)),
						PG_ARGISNULL(1) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(1)));
	id = json_field(&DatumGetJsonbP(json_to_jsonb(json))->root, "snapshot_id");
	if (id == NULL)
		elog(ERROR, "answer without snapshot_id: %s", json);
	PG_RETURN_INT64(pg_strtoint64(id));
}

static void
put_item(ReturnSetInfo *rsinfo, const char *item, JsonbContainer *object)
{
	char	   *status = json_field(object, "status");
	char	   *detail = json_field(object, "detail");
	Datum		values[3];
	bool		nulls[3] = {false, status == NULL, detail == NULL};

	values[0] = CStringGetTextDatum(item);
	values[1] = status ? CStringGetTextDatum(status) : (Datum) 0;
	values[2] = detail ? CStringGetTextDatum(detail) : (Datum) 0;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* First a row "snapshot" with the overall status, then one per item. */
Datum
heal_rollback_0_1(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	JsonbValue	buffer;
	JsonbValue *items;
	Jsonb	   *answer;

	refuse_null(fcinfo, 0, "snapshot_id", HINT_SNAPSHOT);
	refuse_null(fcinfo, 1, "force", "Use true or false.");
	InitMaterializedSRF(fcinfo, 0);
	answer = DatumGetJsonbP(json_to_jsonb(mailbox_call(HC_REQ_ROLLBACK, PG_GETARG_INT64(0), PG_GETARG_BOOL(1), "", "")));
	put_item(rsinfo, "snapshot", &answer->root);

	items = getKeyJsonValueFromContainer(&answer->root, "items", strlen("items"), &buffer);
	if (items == NULL || items->type != jbvBinary || !JsonContainerIsArray(items->val.binary.data))
		return (Datum) 0;
	for (uint32 i = 0; i < JsonContainerSize(items->val.binary.data); i++)
	{
		JsonbValue *entry = getIthJsonbValueFromContainer(items->val.binary.data, i);

		if (entry->type == jbvBinary)
			put_item(rsinfo, json_field(entry->val.binary.data, "item"), entry->val.binary.data);
	}
	return (Datum) 0;
}

/* heal.diagnose(evidence jsonb) returns jsonb; runs the core in the calling backend */
Datum
heal_diagnose_0_1(PG_FUNCTION_ARGS)
{
	hc_settings settings = {0};
	char	   *evidence = JsonbToCString(NULL, &PG_GETARG_JSONB_P(0)->root, 0);
	char	   *result;

	guc_fill_settings(&settings);
	result = bridge_diagnose(store_load_config(), &settings, evidence);
	PG_RETURN_DATUM(json_to_jsonb(result));
}
