/*-------------------------------------------------------------------------
 *
 * job.h
 *	  What the job slots (job.c) and the code that runs inside a job's worker
 *	  (action.c, capture.c, inspect.c, sql_top.c) share with each other.
 *
 * Text crosses the boundary in UTF-8, whatever the encoding of the database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_HEAL_JOB_H
#define PG_HEAL_JOB_H

#include "pg_heal.h"

/* ---- job.c, healer side ---- */

/* Has this job ended, be it that its process died? */
extern bool job_is_finished(HealJobSlot *job);

/* The text a worker set as its result, palloc'd; "" none. */
extern char *job_text(HealJobSlot *job);

/* ---- job.c, worker side: job is the worker's private copy of its slot ---- */

/* Lives as long as the worker; nothing in it survives into another job. */
extern MemoryContext worker_context;

extern void worker_result(HealJobSlot *job, hc_outcome_status status, int sqlerrcode, const char *fmt,...) pg_attribute_printf(4, 5);
/* In PG_CATCH: copy the error into the result, abort the transaction. */
extern void worker_catch(HealJobSlot *job, hc_outcome_status status);
/* Largest text a worker can hand over (compressed where the slot is smaller). */
#define WORKER_MAX_TEXT		(4 * 1024 * 1024)
/* Replace the data of the job; ERROR 54000 when it does not fit. */
extern void worker_set_text(HealJobSlot *job, const char *text);
extern char *worker_from_utf8(const char *text);

/* From here on what the job holds is an answer, even if the process ends early. */
extern void worker_keep_answer(HealJobSlot *job);

/* A read-only transaction with SPI and the job's statement timeout. */
extern void worker_query_begin(HealJobSlot *job, int isolation);
extern void worker_query_end(void);
extern void worker_timeout_start(HealJobSlot *job);
extern void worker_timeout_stop(void);

/* ---- sql_top.c ---- */

/* What a list of statements needs to be known for before it runs. */
typedef struct SqlTop
{
	const char *sql;
	List	   *statements;		/* of RawStmt */
	bool		changes_settings;	/* there is an ALTER SYSTEM */
} SqlTop;

/* Parse; refuse what may not run here. ERROR when it is not SQL. */
extern SqlTop *sql_top_parse(const char *sql);
/* Does every statement still mean the relation of the job? */
extern bool sql_top_relation_matches(SqlTop *top, HealJobSlot *job, char **why_not);
/* Run them, each as its own transaction. */
extern bool sql_top_run(SqlTop *top, HealJobSlot *job);

/* ---- inspect.c and inspect_worker.c: what they send each other ---- */

/* Most rows of one database. */
#define INSPECT_MAX_TABLES		500
#define INSPECT_MIN_TABLES		50
#define INSPECT_MAX_INDEXES		200
#define INSPECT_MAX_SEQUENCES	100

#define INSPECT_MAX_ROW_COUNTS	200
#define INSPECT_MAX_WATCHED		200
#define INSPECT_MAX_FAULTS		100
#define INSPECT_MAX_BEHIND		100

/*
 * Followed by the OIDs of remembered tables, the watched columns and the queries
 * of metrics of users, see metric_worker.c.
 */
typedef struct InspectRequest
{
	int32		max_tables;
	Oid			after_sequence; /* go on behind this one; 0: from the first */
	uint32		metrics_only;	/* no look at tables, indexes, sequences */
	uint32		n_metrics;
	uint32		metrics_len;	/* bytes of their queries */
	Oid			probe_after;	/* the same for sequences compared with columns */
	Oid			check_after;	/* amcheck: the index after this one */
	int64		check_max_bytes;	/* 0: no check now */
	uint32		n_remembered;	/* tables that were large */
	uint32		n_watched;
} InspectRequest;

/* One metric of users. Answers have a fixed size and stand right behind the header, not aligned. */
typedef struct MetricAnswer
{
	uint32		id;				/* of the definition, see user_metrics.c */
	uint32		ran;			/* 0: there was no time for it */
	double		value;			/* NaN: see error */
	int64		duration_us;
	char		error[HEAL_METRIC_ERROR];	/* UTF-8 */
} MetricAnswer;

/* ---- metric_worker.c ---- */

extern bool metric_type_is_number(Oid type);
/* answers is where n of them have room. */
extern void metrics_run(HealJobSlot *job, const char *request, uint32 length, char *answers, uint32 n);

/*
 * Begins the answer. Sequences are those with an OID above sequences_from and
 * up to sequences_upto, which is 0 when the last one has been seen.
 */
typedef struct InspectHeader
{
	int64		dead_tuples;
	int32		stale_tables;
	int32		complete;
	double		sequences_used;		/* largest share; -1 unknown */
	uint32		n_tables;
	uint32		n_indexes;
	uint32		n_sequences;
	Oid			sequences_from;
	Oid			sequences_upto;
	uint32		n_metrics;
	uint32		n_row_counts;
	uint32		n_columns;
	uint32		n_behind;
	uint32		n_faults;
	Oid			probed_from;
	Oid			probed_upto;
	int32		check_ran;
	Oid			checked;		/* index; 0 after the last one */
} InspectHeader;

#endif							/* PG_HEAL_JOB_H */
