/*-------------------------------------------------------------------------
 *
 * core_bridge.c
 *	  The only caller of the C++ core.
 *
 * The core contains its exceptions and answers with a status; only after it
 * has returned is a status turned into ereport, so no error ever jumps over a
 * C++ frame. What the core allocates hangs on a memory-context callback that is
 * registered before the core is called, so any later error frees it.
 *
 *-------------------------------------------------------------------------
 */
#include "pg_heal.h"

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "utils/memutils.h"

#include "heal_core/c_api.h"

struct HealCore
{
	hc_engine  *engine;			/* NULL: not made yet, or destroyed */
	hc_decisions decisions;		/* of the last step */
	MemoryContextCallback release;
};

/* A buffer the core allocated, freed with its context. */
typedef struct CoreBuffer
{
	char	   *data;
	MemoryContextCallback release;
} CoreBuffer;

/*
 * The engine is stopped by termination alone: an interrupted step costs a
 * rebuild, which a stray cancel request or a barrier is not worth.
 */
static int
poll_engine(void *arg)
{
	return ProcDiePending || ShutdownRequestPending;
}

/* In a backend the user's cancel counts as well. Other interrupts raise nothing. */
static int
poll_backend(void *arg)
{
	return (InterruptPending && (QueryCancelPending || ProcDiePending)) || ShutdownRequestPending;
}

static int
status_sqlstate(hc_status status)
{
	switch (status)
	{
		case HC_ENOMEM:
			return ERRCODE_OUT_OF_MEMORY;
		case HC_EINVAL:
			return ERRCODE_INVALID_PARAMETER_VALUE;
		case HC_ELIMIT:
			return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		case HC_ECANCELED:
			return ERRCODE_QUERY_CANCELED;
		case HC_OK:
		case HC_EINTERNAL:
			break;
	}
	return ERRCODE_INTERNAL_ERROR;
}

/* ERROR unless the core succeeded; what and hint are for HC_EINVAL and HC_ELIMIT. */
static void
check_status(hc_status status, const char *what, const char *hint, hc_error *err)
{
	if (status == HC_OK)
		return;

	err->message[sizeof(err->message) - 1] = '\0';
	if (status == HC_ECANCELED)
	{
		/* Usually raises the right message: a timeout, a cancel, a termination. */
		CHECK_FOR_INTERRUPTS();
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("%s: canceled", what)));
	}
	ereport(ERROR,
			(errcode(status_sqlstate(status)),
			 status == HC_ENOMEM ? errmsg("out of memory") : errmsg("%s", what),
			 err->message[0] != '\0' ? errdetail_internal("%s", err->message) : 0,
			 (status == HC_EINVAL || status == HC_ELIMIT) && hint != NULL ? errhint("%s", hint) : 0));
}

static void
release_engine(void *arg)
{
	HealCore   *core = arg;

	hc_engine_destroy(core->engine);
	core->engine = NULL;
}

static void
release_buffer(void *arg)
{
	CoreBuffer *buffer = arg;

	hc_free(buffer->data);
	buffer->data = NULL;
}

/* The engine dies with cxt. */
HealCore *
bridge_create(MemoryContext cxt)
{
	HealCore   *core = MemoryContextAllocZero(cxt, sizeof(HealCore));
	hc_limits	limits = {0};
	hc_error	err = {{0}};

	if (hc_abi_version() != HC_ABI_VERSION)
		elog(ERROR, "core has ABI version %u, expected %d", hc_abi_version(), HC_ABI_VERSION);

	limits.poll = poll_engine;
	core->release.func = release_engine;
	core->release.arg = core;
	MemoryContextRegisterResetCallback(cxt, &core->release);

	check_status(hc_engine_create(&limits, pg_prng_uint64(&pg_global_prng_state), &core->engine, &err),
				 "could not create the healing engine", NULL, &err);
	return core;
}

void
bridge_restore(HealCore *core, const hc_record *records, uint32 n, bool foreign)
{
	hc_error	err = {{0}};

	check_status(hc_engine_restore(core->engine, records, n, foreign, &err),
				 "could not restore the healing engine from its tables and journal", NULL, &err);
}

const hc_decisions *
bridge_step(HealCore *core, const hc_observation *obs)
{
	hc_error	err = {{0}};

	memset(&core->decisions, 0, sizeof(core->decisions));
	check_status(hc_engine_step(core->engine, obs, &core->decisions, &err),
				 "step of the healing engine failed", NULL, &err);
	return &core->decisions;
}

/* Ranked causes for evidence, as palloc'd JSON; runs in any backend. */
char *
bridge_diagnose(const hc_config *config, const hc_settings *settings, const char *evidence)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(caller, "pg_heal diagnosis", ALLOCSET_SMALL_SIZES);
	CoreBuffer *buffer = MemoryContextAllocZero(work, sizeof(CoreBuffer));
	hc_limits	limits = {0};
	hc_error	err = {{0}};
	char	   *result;

	limits.poll = poll_backend;
	buffer->release.func = release_buffer;
	buffer->release.arg = buffer;
	MemoryContextRegisterResetCallback(work, &buffer->release);

	check_status(hc_diagnose(config, settings, &limits, evidence, &buffer->data, &err),
				 "could not diagnose the evidence",
				 "Evidence is a JSON object of node names and true or false; heal_causal_nodes lists the nodes.", &err);
	result = MemoryContextStrdup(caller, buffer->data);
	MemoryContextDelete(work);
	return result;
}

/* ERROR when nodes and edges do not form a valid graph. */
void
bridge_check_graph(const hc_config *config)
{
	hc_error	err = {{0}};

	check_status(hc_graph_check(config, &err),
				 "causal graph is not valid",
				 "heal_causal_nodes and heal_causal_edges show the graph; it must not contain a cycle.", &err);
}

/* How good a detector is by its counts. */
BridgeGrade
bridge_detector_grade(double confirmed, double refuted, double unexplained)
{
	hc_grade	grade = hc_detector_grade(confirmed, refuted, unexplained);

	return (BridgeGrade) {grade.precision, grade.low, grade.high, grade.demoted != 0};
}

/* Everything the core knows, as JSON in UTF-8. */
const char *
bridge_catalogue(void)
{
	return hc_catalogue_json();
}

static const hc_metric_info *
metric_info(int metric)
{
	uint32		n = 0;
	const hc_metric_info *metrics = hc_catalogue_metrics(&n);

	if (metric < 0 || metric >= n)
		elog(ERROR, "there is no metric %d", metric);
	return &metrics[metric];
}

const char *
bridge_metric_name(int metric)
{
	return metric_info(metric)->name;
}

void
bridge_metric_describe(int metric, const char **component, const char **category, const char **unit)
{
	const hc_metric_info *info = metric_info(metric);

	*component = info->component;
	*category = info->category;
	*unit = info->unit;
}
