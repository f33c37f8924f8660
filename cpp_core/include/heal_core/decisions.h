/*
 * decisions.h: what the core tells the shell to keep, to run and to answer.
 * Plain data, no function. Conventions: see c_api.h.
 */
#ifndef HEAL_CORE_DECISIONS_H_
#define HEAL_CORE_DECISIONS_H_

#include "heal_core/observation.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A record is the whole row after the change, as a JSON object whose keys are
 * the columns of the table: applying it twice, or only the last one, is right. */
typedef enum hc_table_kind
{
	HC_T_INCIDENTS,
	HC_T_TRANSITIONS,			/* append only */
	HC_T_ATTEMPTS,
	HC_T_RECOMMENDATIONS,
	HC_T_SNAPSHOTS,
	HC_T_SNAPSHOT_ITEMS,
	HC_T_ANOMALIES,				/* append only */
	HC_T_AUDIT,					/* append only */
	HC_T_PREDICTIONS,
	HC_T_COLUMN_GENERATIONS,
	HC_T_COUNT
} hc_table_kind;

typedef struct hc_record
{
	hc_table_kind table;
	int64_t		id;				/* primary key */
	const char *json;
} hc_record;

typedef enum hc_command_kind
{
	HC_CMD_CANCEL,				/* SIGINT to target */
	HC_CMD_TERMINATE,			/* SIGTERM to target */
	HC_CMD_SQL,					/* statements at top level by an action worker */
	HC_CMD_CAPTURE,				/* read before-images by an action worker */
	HC_CMD_INSPECT				/* look at database_oid again now */
} hc_command_kind;

/* What must still be true of target when the signal is sent, besides identity. */
typedef enum hc_signal_guard
{
	HC_GUARD_IDLE_IN_TRANSACTION,	/* idle in transaction since state_change and blocks a waiter */
	HC_GUARD_WAITING_LOCK,			/* waits for a heavyweight lock on relation_oid */
	HC_GUARD_IDLE					/* idle outside a transaction since state_change */
} hc_signal_guard;

typedef struct hc_command
{
	uint64_t	id;
	hc_command_kind kind;
	int64_t		incident_id;
	int64_t		attempt_id;
	hc_session_identity target;
	hc_signal_guard guard;
	uint32_t	relation_oid;
	uint32_t	database_oid;		/* 0: pg_heal.database */
	int32_t		as_owner;			/* 1: as the owner of relation_oid, security-restricted */
	const char *guard_sql;			/* one boolean; false: HC_OUT_REFUSED. "" none */
	const char *sql;				/* statements separated by ";\n", each its own transaction */
	const char *probe_sql;			/* after sql: one row, returned as a JSON object. "" none */
	const char *items;				/* CAPTURE: JSON array, see docs/design.md "Snapshot items" */
	int32_t		lock_timeout_ms;
	int32_t		statement_timeout_ms;
} hc_command;

typedef struct hc_reply
{
	uint64_t	id_request;
	const char *sqlstate;			/* "00000" success */
	const char *message;
	const char *detail;
	const char *hint;
	const char *json;				/* result of a success */
} hc_reply;

typedef struct hc_component_status
{
	const char *component;
	const char *state;				/* healthy degraded failing recovering unknown */
	int64_t		since;
	int32_t		open_incidents;
	const char *worst_failure;		/* "" none */
	int64_t		last_recovery_at;
	const char *detail;
} hc_component_status;

typedef struct hc_metric_status
{
	double		value;				/* gauge, or rate of a counter; NaN unknown */
	double		baseline_mean,
				baseline_stddev,
				zscore,
				iqr_low,
				iqr_high,			/* NaN until min_baseline_samples */
				anomaly_score,		/* 1 - tail probability under the metric's own history */
				forest_score;		/* of its category's frame, the same for all in it; NaN until fitted */
	int64_t		samples;
	int64_t		observed_at;
} hc_metric_status;

typedef struct hc_log_line
{
	int			warning;			/* 0 LOG, 1 WARNING */
	const char *text;
} hc_log_line;

typedef struct hc_decisions
{
	const hc_record *records;		/* make these durable before the commands */
	uint32_t	n_records;
	const hc_command *commands;
	uint32_t	n_commands;
	const hc_reply *replies;
	uint32_t	n_replies;
	const hc_component_status *components;
	uint32_t	n_components;
	const hc_metric_status *metrics;	/* HC_METRIC_COUNT */
	const hc_metric_status *user_metrics;	/* in the order of the observation */
	uint32_t	n_user_metrics;
	const hc_log_line *log;
	uint32_t	n_log;
	int64_t		look_again_us;		/* wanted delay to the next look; -1 none */
	int32_t		open_incidents;
	int32_t		paused;				/* what heal_pause left it in */
} hc_decisions;

#ifdef __cplusplus
}
#endif
#endif							/* HEAL_CORE_DECISIONS_H_ */
