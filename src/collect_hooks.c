/*-------------------------------------------------------------------------
 *
 * collect_hooks.c
 *	  What the hooks counted: statements, log messages, failed logins.
 *
 * Counts go on as they are, the core makes rates of them. Mean and percentile
 * of the latency are those of the time since the previous call.
 *
 *-------------------------------------------------------------------------
 */
#include "pg_heal.h"

#include <math.h>

/* Which metric shows which counter of the log hook. */
static const hc_metric_id log_metrics[HEAL_LOG_COUNTERS] = {
	[HEAL_LOG_ERRORS] = HC_M_LOG_ERRORS,
	[HEAL_LOG_LOCK_WAITS] = HC_M_LOG_LOCK_WAITS,
	[HEAL_LOG_TOO_MANY_CONNECTIONS] = HC_M_LOG_TOO_MANY_CONNECTIONS,
	[HEAL_LOG_DISK_FULL] = HC_M_LOG_DISK_FULL,
	[HEAL_LOG_CORRUPTION] = HC_M_LOG_CORRUPTION,
	[HEAL_LOG_CANCELED] = HC_M_LOG_CANCELED,
	[HEAL_LOG_CONSTRAINT] = HC_M_LOG_CONSTRAINT_VIOLATIONS,
	[HEAL_LOG_BAD_INPUT] = HC_M_LOG_BAD_INPUT,
	[HEAL_LOG_PERMISSION] = HC_M_LOG_PERMISSION_DENIED,
	[HEAL_LOG_SYNTAX_OR_NAME] = HC_M_LOG_SYNTAX_OR_NAME,
	[HEAL_LOG_CHECKPOINTS_TOO_FREQUENT] = HC_M_LOG_CHECKPOINTS_TOO_FREQUENT,
};

/*
 * The time, in microseconds, that a share of the statements stayed below.
 * Bucket n counts times from 2^n up to 2^(n+1), the first one also those below
 * 1; within a bucket times are taken to be spread evenly.
 */
static double
latency_quantile(const uint64 *latency, double share)
{
	uint64		total = 0;
	double		wanted;
	double		below = 0;

	for (int i = 0; i < HEAL_LATENCY_BUCKETS; i++)
		total += latency[i];
	wanted = share * total;
	for (int i = 0; i < HEAL_LATENCY_BUCKETS; i++)
	{
		double		low = i == 0 ? 0 : ldexp(1, i);

		if (latency[i] > 0 && below + latency[i] >= wanted)
			return low + (ldexp(1, i + 1) - low) * (wanted - below) / latency[i];
		below += latency[i];
	}
	return NAN;
}

/* Differences to the previous totals; false when there is nothing to compare. */
static bool
since_previous(const HealExecTotals *now, HealExecTotals *difference)
{
	static HealExecTotals previous;
	static bool has_previous = false;
	bool		usable = has_previous && now->calls > previous.calls && now->time_us >= previous.time_us;

	difference->calls = now->calls - previous.calls;
	difference->time_us = now->time_us - previous.time_us;
	for (int i = 0; i < HEAL_LATENCY_BUCKETS; i++)
	{
		/* Counters are read one by one: a bucket must not go below zero. */
		difference->latency[i] = now->latency[i] > previous.latency[i] ? now->latency[i] - previous.latency[i] : 0;
	}
	previous = *now;
	has_previous = true;
	return usable;
}

static void
collect_exec(double *metrics)
{
	HealExecTotals totals = {0};
	HealExecTotals recent = {0};

	hooks_read_exec(&totals);
	metrics[HC_M_EXEC_CALLS] = totals.calls;
	metrics[HC_M_EXEC_ERRORS] = totals.errors;
	metrics[HC_M_EXEC_LATENCY_MEAN] = metrics[HC_M_EXEC_LATENCY_P99] = NAN;
	if (since_previous(&totals, &recent))
	{
		metrics[HC_M_EXEC_LATENCY_MEAN] = recent.time_us / (double) recent.calls / 1000;
		metrics[HC_M_EXEC_LATENCY_P99] = latency_quantile(recent.latency, 0.99) / 1000;
	}
}

/* Latencies are those since the last call: they belong to whole intervals only. */
void
collect_hooks(double *metrics, bool whole_interval)
{
	if (heal_shared == NULL)
		return;
	if (whole_interval)
		collect_exec(metrics);
	for (int i = 0; i < HEAL_LOG_COUNTERS; i++)
		metrics[log_metrics[i]] = pg_atomic_read_u64(&heal_shared->log_counters[i]);
	metrics[HC_M_AUTH_FAILURES] = pg_atomic_read_u64(&heal_shared->auth_failures);
}
