/*-------------------------------------------------------------------------
 *
 * publish.c
 *	  What the healer shows in shared memory, for the views to read.
 *
 *-------------------------------------------------------------------------
 */
#include "pg_heal.h"

#include <sys/resource.h>

#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/memutils.h"

#include "compat.h"

#define MEMORY_LOOK_MS 10000

static TimestampTz next_memory_look = 0;
static int64 cpu_published = 0;
static int64 memory_used = 0;

/*---- What the core says ----*/

/* What heal_status shows when there is no healer or no engine; "" when there is. By the launcher, too. */
void
publish_state(const char *state)
{
	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	strlcpy(heal_shared->healer_state, state, HEAL_TEXT);
	LWLockRelease(heal_shared->lock);
}

/* Nothing is known any more. */
void
publish_nothing(void)
{
	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	heal_shared->n_components = 0;
	heal_shared->n_user_metrics = 0;
	heal_shared->last_tick_at = 0;
	LWLockRelease(heal_shared->lock);
}

static void
copy_component(HealComponentSlot *slot, const hc_component_status *status, const char *trouble)
{
	strlcpy(slot->component, status->component, sizeof(slot->component));
	strlcpy(slot->state, status->state, sizeof(slot->state));
	slot->since = status->since;
	slot->open_incidents = status->open_incidents;
	strlcpy(slot->worst_failure, status->worst_failure, sizeof(slot->worst_failure));
	slot->last_recovery_at = status->last_recovery_at;
	strlcpy(slot->detail, status->detail, sizeof(slot->detail));

	/* What ails the healer itself the core does not know. */
	if (trouble == NULL || strcmp(slot->component, "healer") != 0)
		return;
	if (strcmp(slot->state, "healthy") == 0)
		strlcpy(slot->state, "degraded", sizeof(slot->state));
	strlcpy(slot->detail, trouble, sizeof(slot->detail));
}

/* trouble: of the healer's own, or NULL. */
void
publish_decisions(const hc_decisions *decisions, const char *trouble)
{
	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	heal_shared->last_tick_at = GetCurrentTimestamp();
	heal_shared->n_components = Min(decisions->n_components, HEAL_MAX_COMPONENTS);
	for (int i = 0; i < heal_shared->n_components; i++)
		copy_component(&heal_shared->components[i], &decisions->components[i], trouble);
	if (decisions->metrics != NULL)
		memcpy(heal_shared->metrics, decisions->metrics, sizeof(heal_shared->metrics));
	user_metrics_publish(decisions);
	LWLockRelease(heal_shared->lock);
}

/*---- What it uses itself ----*/

/* Heavyweight locks of this process, which should have none between ticks. */
static int
locks_held(void)
{
	int			n = 0;

	for (int i = 0; i < NUM_LOCK_PARTITIONS; i++)
	{
#if PG_VERSION_NUM >= 160000
		if (!dlist_is_empty(&MyProc->myProcLocks[i]))
			n++;
#else
		if (!SHMQueueEmpty(&MyProc->myProcLocks[i]))
			n++;
#endif
	}
	return n;
}

static int64
cpu_us(void)
{
	struct rusage use;

	if (getrusage(RUSAGE_SELF, &use) != 0)
		return 0;
	return (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * INT64CONST(1000000) +
		use.ru_utime.tv_usec + use.ru_stime.tv_usec;
}

void
publish_use(int64 longest_tick_us)
{
	HealPartUse *use = &heal_shared->parts[HEAL_PART_HEALER];
	int64		cpu = cpu_us();
	TimestampTz now = GetCurrentTimestamp();

	if (now >= next_memory_look)
	{
		memory_used = (int64) host_own_memory(MyProcPid);
		if (memory_used == 0)
			memory_used = MemoryContextMemAllocated(TopMemoryContext, true);
		hooks_check_ticks();
		next_memory_look = TimestampTzPlusMilliseconds(now, MEMORY_LOOK_MS);
	}

	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	/* Former healers of this server count too. */
	use->cpu_us += cpu - cpu_published;
	use->memory_bytes = memory_used;
	use->disk_bytes = journal_bytes();
	use->longest_tick_us = Max(use->longest_tick_us, longest_tick_us);
	use->locks_held = locks_held();
	LWLockRelease(heal_shared->lock);
	cpu_published = cpu;
}
