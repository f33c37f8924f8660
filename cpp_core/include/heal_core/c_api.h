/*
 * c_api.h: the C ABI of the pg_heal core.
 *
 * Conventions
 *  1. Every function is noexcept and contains every exception: the caller sees
 *     an hc_status. On failure the text is in *err (caller's buffer, may be NULL).
 *  2. Input strings are NUL-terminated, never NULL ("" where unknown) and only
 *     read during the call. Names meant for SQL text arrive quoted already.
 *  3. Output pointers (hc_decisions and all it points to) belong to the engine
 *     and stay valid until its next call or its destruction.
 *  4. Time is an argument: now_us is a PostgreSQL TimestampTz (microseconds since
 *     2000-01-01 UTC, may jump), mono_us a monotonic clock. 0 as a timestamp
 *     means "none". Durations are microseconds (_us) or milliseconds (_ms).
 *  5. NaN as a metric value means unknown. Infinities are treated as unknown.
 *  6. Same inputs and seed give the same outputs, byte for byte.
 *  7. The core makes one kind of call back: poll, which may only read a flag.
 *  8. Zero-initialise every struct; new fields are only added at the end.
 */
#ifndef HEAL_CORE_C_API_H_
#define HEAL_CORE_C_API_H_

#include "heal_core/decisions.h"
#include "heal_core/observation.h"

#ifdef __cplusplus
extern "C" {
#define HC_NOEXCEPT noexcept
#else
#define HC_NOEXCEPT
#endif

#define HC_ABI_VERSION 1

typedef enum hc_status
{
	HC_OK = 0,
	HC_ENOMEM,					/* allocation failed */
	HC_EINVAL,					/* an argument or its content is wrong */
	HC_ELIMIT,					/* a limit of hc_limits was reached */
	HC_ECANCELED,				/* poll asked to stop */
	HC_EINTERNAL				/* defect in the core */
} hc_status;

typedef struct hc_error
{
	char		message[512];
} hc_error;

/* Return non-zero to stop. Must not raise, lock or allocate. */
typedef int (*hc_poll_fn) (void *arg);

/* Bounds of one engine; 0 stands for the default named in the comment. */
typedef struct hc_limits
{
	size_t		max_bytes;			/* memory of the engine's own collections: 12 MiB */
	uint32_t	max_incidents;		/* open incidents: 256 */
	uint32_t	max_graph_nodes;	/* causal graph: 4096 */
	uint64_t	max_work;			/* factor cells per inference: 1 << 24 */
	hc_poll_fn	poll;				/* may be NULL */
	void	   *poll_arg;
} hc_limits;

/* ---- engine ---- */

typedef struct hc_engine hc_engine;

uint32_t	hc_abi_version(void) HC_NOEXCEPT;
const char *hc_status_name(hc_status status) HC_NOEXCEPT;

hc_status	hc_engine_create(const hc_limits *limits, uint64_t seed, hc_engine **out, hc_error *err) HC_NOEXCEPT;
void		hc_engine_destroy(hc_engine *engine) HC_NOEXCEPT;	/* NULL allowed */

/* Rebuild from row images in any order, the newest of a key last. Open
 * incidents come back; an attempt that was executing is verified, not repeated.
 * foreign != 0: rows of another server; kept as history, nothing resumed (open
 * incidents are closed as cancelled by the next step). Only before any step. */
hc_status	hc_engine_restore(hc_engine *engine, const hc_record *records, uint32_t n, int foreign, hc_error *err) HC_NOEXCEPT;

/* One step. HC_EINVAL leaves the engine as it was. After any other failure the
 * engine must be destroyed and rebuilt by restore. */
hc_status	hc_engine_step(hc_engine *engine, const hc_observation *observation, hc_decisions *out, hc_error *err) HC_NOEXCEPT;

/* Live engines of this process (leak check). */
int64_t		hc_engine_live_count(void) HC_NOEXCEPT;

/* ---- catalogue, for the tables and the documentation ---- */

typedef struct hc_metric_info
{
	const char *name,
			   *component,
			   *category,
			   *unit,
			   *kind,
			   *bad_direction,
			   *description;
} hc_metric_info;

typedef struct hc_threshold_info
{
	const char *failure_type,
			   *name,
			   *unit,
			   *description;
	double		default_value;
} hc_threshold_info;

const hc_metric_info *hc_catalogue_metrics(uint32_t *n) HC_NOEXCEPT;
const hc_threshold_info *hc_catalogue_thresholds(uint32_t *n) HC_NOEXCEPT;

/* All shipped rows as one JSON object: failures, thresholds, remedies, nodes,
 * edges. The install script's shipped rows and docs/failures.md are generated
 * from it (heal-catalogue). Valid for ever. */
const char *hc_catalogue_json(void) HC_NOEXCEPT;

/* ---- diagnosis without an engine ---- */

/*
 * Ranked root causes for evidence, a JSON object {"node": true|false, ...}.
 * Result: JSON array of {cause, component, posterior, chain:[...], probability_chain}
 * into a buffer the caller frees with hc_free. HC_EINVAL: unknown node, cycle,
 * impossible evidence, bad JSON. HC_ELIMIT: network too wide.
 */
hc_status	hc_diagnose(const hc_config *config, const hc_settings *settings, const hc_limits *limits,
						const char *evidence_json, char **result_json, hc_error *err) HC_NOEXCEPT;

/* HC_OK when nodes and edges form a valid graph; else HC_EINVAL names the fault (a cycle with its path). */
hc_status	hc_graph_check(const hc_config *config, hc_error *err) HC_NOEXCEPT;

/* ---- grades of detectors ---- */

typedef struct hc_grade
{
	double		precision,
				low,
				high;			/* 80 % interval; all NaN before anything was graded */
	int32_t		demoted;
} hc_grade;

/* Counts as in hc_detector_counts. */
hc_grade	hc_detector_grade(double confirmed, double refuted, double unexplained) HC_NOEXCEPT;

void		hc_free(void *p) HC_NOEXCEPT;

#ifdef __cplusplus
}
#endif
#endif							/* HEAL_CORE_C_API_H_ */
