/*-------------------------------------------------------------------------
 *
 * collect_security.c
 *	  Logins per role and address, and statements that matter for security.
 *
 * The table of logins is the authentication hook's; it keeps the pairs that
 * failed most lately. It is copied under its lock when it has changed since the
 * call before; an array that is there but empty says that nobody logged in yet.
 * Events, too, are those since the call before.
 *
 *-------------------------------------------------------------------------
 */
#include "pg_heal.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "postmaster/autovacuum.h"
#include "storage/bufmgr.h"
#include "utils/guc.h"

static void
collect_logins(hc_observation *obs)
{
	static uint64 changes_seen = PG_UINT64_MAX;
	HealAuthSlot *slots;
	hc_login   *logins;

	if (*(volatile uint64 *) &heal_shared->auth_changes == changes_seen)
		return;
	slots = palloc(sizeof(heal_shared->auth));
	logins = palloc0(sizeof(hc_login) * HEAL_AUTH_SLOTS);
	LWLockAcquire(heal_shared->auth_lock, LW_SHARED);
	memcpy(slots, heal_shared->auth, sizeof(heal_shared->auth));
	changes_seen = heal_shared->auth_changes;
	LWLockRelease(heal_shared->auth_lock);

	for (int i = 0; i < HEAL_AUTH_SLOTS; i++)
	{
		hc_login   *login = &logins[obs->n_logins];

		if (slots[i].last_at == 0)
			continue;
		login->role = collect_text(slots[i].role, NAMEDATALEN);
		login->address = slots[i].addr;
		login->failures = slots[i].failures;
		login->successes = slots[i].successes;
		login->last_at = slots[i].last_at;
		login->broken_in = slots[i].broken_in;
		obs->n_logins++;
	}
	obs->logins = logins;
}

/* As this process has them: like the server, unless the healer's role says otherwise. */
uint32
collect_unsafe_settings(void)
{
	/* Its variable is not exported. */
	const char *ignore_failure = GetConfigOption("ignore_checksum_failure", true, false);

	return (enableFsync ? 0 : HC_UNSAFE_FSYNC) |
		(fullPageWrites ? 0 : HC_UNSAFE_FULL_PAGE_WRITES) |
		(autovacuum_start_daemon ? 0 : HC_UNSAFE_AUTOVACUUM) |
		(zero_damaged_pages ? HC_UNSAFE_ZERO_DAMAGED_PAGES : 0) |
		(ignore_failure != NULL && strcmp(ignore_failure, "on") == 0 ? HC_UNSAFE_IGNORE_CHECKSUM_FAILURE : 0);
}

void
collect_security(hc_observation *obs)
{
	static uint64 seen = 0;
	hc_security_event *events;

	collect_logins(obs);
	obs->n_security_events = security_read(&seen, &events);
	obs->security_events = events;
}
