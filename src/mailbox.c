/*-------------------------------------------------------------------------
 *
 * mailbox.c
 *	  Requests from SQL to the healer through shared memory.
 *
 * A request is not transactional: it works inside a transaction block, needs
 * no XID and no table, and what it starts goes on when the caller rolls back.
 * A slot belongs to the backend while FREE becomes WRITTEN and again once it
 * is ANSWERED, to the healer while TAKEN. A backend that gives up leaves the
 * slot ABANDONED for the healer to free. All changes under heal_shared->lock.
 *
 *-------------------------------------------------------------------------
 */
#include "pg_heal.h"

#include "access/xlog.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/builtins.h"

/* The healer must take a request within this; it looks at least twice a second. */
#define TAKE_TIMEOUT_MS 30000

/* A roll-back may run several attempts of pg_heal.rollback_timeout each. */
#define ANSWER_TIMEOUT_MS (10 * 60 * 1000)

#define POLL_MS 1000

static HealRequestSlot *
slot_by_id(uint64 id)
{
	for (int i = 0; i < HEAL_MAX_REQUESTS; i++)
	{
		HealRequestSlot *slot = &heal_shared->requests[i];

		if (slot->state != HEAL_REQUEST_FREE && slot->id == id)
			return slot;
	}
	return NULL;
}

static HealRequestSlot *
free_slot(void)
{
	for (int i = 0; i < HEAL_MAX_REQUESTS; i++)
		if (heal_shared->requests[i].state == HEAL_REQUEST_FREE)
			return &heal_shared->requests[i];
	return NULL;
}

static void
check_healer_runs(void)
{
	char		why[HEAL_TEXT];
	pid_t		healer;

	shmem_check();
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_heal does not act while the server is in recovery"),
				 errhint("Run this on the primary.")));

	LWLockAcquire(heal_shared->lock, LW_SHARED);
	healer = heal_shared->healer_pid;
	strlcpy(why, heal_shared->healer_state, sizeof(why));
	LWLockRelease(heal_shared->lock);

	if (healer == 0 || why[0] != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the pg_heal worker is not running"),
				 why[0] != '\0' ? errdetail("%s", why) : 0,
				 errhint("Check that pg_heal.enabled is on, that pg_heal.database names this database, and the server log.")));
}

/* What is in a slot is UTF-8, as the core speaks it. */
static const char *
to_utf8(const char *text)
{
	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

static const char *
from_utf8(const char *text)
{
	return pg_any_to_server(text, strlen(text), PG_UTF8);
}

/* Copy what fits, in whole characters. */
static void
put_text(char *target, const char *text, Size size)
{
	int			len = pg_encoding_mbcliplen(PG_UTF8, text, strlen(text), size - 1);

	memcpy(target, text, len);
	target[len] = '\0';
}

/* Write the request into a free slot; returns its id. */
static uint64
post_request(hc_request_kind kind, int64 target, int32 flag, const char *text, const char *component)
{
	const char *role = to_utf8(GetUserNameFromId(GetUserId(), false));
	HealRequestSlot *slot;
	uint64		id;

	text = to_utf8(text);
	component = to_utf8(component);
	if (strlen(text) >= HEAL_REQUEST_TEXT || strlen(component) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument is too long"),
				 errhint("A text may have at most %d bytes, a component name at most %d.",
						 HEAL_REQUEST_TEXT - 1, NAMEDATALEN - 1)));

	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	slot = free_slot();
	if (slot == NULL)
	{
		LWLockRelease(heal_shared->lock);
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("too many requests are waiting for the pg_heal worker"),
				 errhint("Try again when the others have been answered.")));
	}

	id = ++heal_shared->next_request;
	slot->id = id;
	slot->kind = kind;
	slot->target = target;
	slot->flag = flag;
	slot->backend_pgprocno = MyProc->pgprocno;
	put_text(slot->role, role, NAMEDATALEN);
	strlcpy(slot->text, text, HEAL_REQUEST_TEXT);
	strlcpy(slot->component, component, NAMEDATALEN);
	slot->sqlstate[0] = slot->message[0] = slot->detail[0] = slot->hint[0] = slot->json[0] = '\0';
	slot->state = HEAL_REQUEST_WRITTEN;
	LWLockRelease(heal_shared->lock);
	return id;
}

/* Also run when the waiting backend is cancelled or terminated. */
static void
abandon_request(int code, Datum arg)
{
	HealRequestSlot *slot;

	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	slot = slot_by_id(DatumGetUInt64(arg));
	if (slot != NULL)
		slot->state = slot->state == HEAL_REQUEST_TAKEN ? HEAL_REQUEST_ABANDONED : HEAL_REQUEST_FREE;
	LWLockRelease(heal_shared->lock);
}

/* Copy the answer out if it is there, and free the slot. */
static bool
fetch_answer(uint64 id, HealRequestSlot *copy, HealRequestState *state)
{
	HealRequestSlot *slot;
	bool		done;

	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	slot = slot_by_id(id);
	*state = slot == NULL ? HEAL_REQUEST_FREE : slot->state;
	done = slot != NULL && slot->state == HEAL_REQUEST_ANSWERED;
	if (done)
	{
		memcpy(copy, slot, sizeof(HealRequestSlot));
		slot->state = HEAL_REQUEST_FREE;
	}
	LWLockRelease(heal_shared->lock);
	return done;
}

/* Wait for the answer; ERROR when the healer stops or does not react. */
static void
wait_answer(uint64 id, HealRequestSlot *answer)
{
	TimestampTz start = GetCurrentTimestamp();
	HealRequestState state;

	while (!fetch_answer(id, answer, &state))
	{
		long		waited = TimestampDifferenceMilliseconds(start, GetCurrentTimestamp());

		if (waited > (state == HEAL_REQUEST_WRITTEN ? TAKE_TIMEOUT_MS : ANSWER_TIMEOUT_MS))
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("the pg_heal worker did not answer in time"),
					 errdetail("The request was %s.", state == HEAL_REQUEST_WRITTEN ? "not taken up" : "taken up and may still be carried out"),
					 errhint("See heal_status and the server log.")));
		check_healer_runs();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, POLL_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
raise_answer(const HealRequestSlot *answer)
{
	ereport(ERROR,
			(errcode(MAKE_SQLSTATE(answer->sqlstate[0], answer->sqlstate[1], answer->sqlstate[2],
								   answer->sqlstate[3], answer->sqlstate[4])),
			 errmsg("%s", from_utf8(answer->message)),
			 answer->detail[0] ? errdetail("%s", from_utf8(answer->detail)) : 0,
			 answer->hint[0] ? errhint("%s", from_utf8(answer->hint)) : 0));
}

/* Send a request and wait, interruptibly, for its JSON result (palloc'd). */
char *
mailbox_call(hc_request_kind kind, int64 target, int32 flag, const char *text, const char *component)
{
	HealRequestSlot *answer = palloc(sizeof(HealRequestSlot));
	char	   *json;
	uint64		id;

	check_healer_runs();
	id = post_request(kind, target, flag, text, component);
	PG_ENSURE_ERROR_CLEANUP(abandon_request, UInt64GetDatum(id));
	{
		healer_wake();
		wait_answer(id, answer);
	}
	PG_END_ENSURE_ERROR_CLEANUP(abandon_request, UInt64GetDatum(id));

	if (strcmp(answer->sqlstate, "00000") != 0)
		raise_answer(answer);
	json = pstrdup(from_utf8(answer->json));
	pfree(answer);
	return json;
}

/* Healer: take over what was written since the last call. */
uint32
mailbox_take(hc_request **requests)
{
	uint32		n = 0;
	hc_request *taken = palloc0(sizeof(hc_request) * HEAL_MAX_REQUESTS);

	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < HEAL_MAX_REQUESTS; i++)
	{
		HealRequestSlot *slot = &heal_shared->requests[i];

		if (slot->state != HEAL_REQUEST_WRITTEN)
			continue;
		slot->state = HEAL_REQUEST_TAKEN;
		taken[n].id_request = slot->id;
		taken[n].kind = slot->kind;
		taken[n].id = slot->target;
		taken[n].flag = slot->flag;
		/* The slot keeps still while TAKEN, but may be abandoned: copy. */
		taken[n].role = pstrdup(slot->role);
		taken[n].text = pstrdup(slot->text);
		taken[n].component = pstrdup(slot->component);
		n++;
	}
	LWLockRelease(heal_shared->lock);
	*requests = taken;
	return n;
}

static void
wake_backend(int pgprocno)
{
	if (pgprocno >= 0 && pgprocno < ProcGlobal->allProcCount)
		SetLatch(&ProcGlobal->allProcs[pgprocno].procLatch);
}

/* Healer: answer one request; an abandoned one is only freed. */
void
mailbox_answer(const hc_reply *reply)
{
	HealRequestSlot *slot;
	int			backend = -1;

	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	slot = slot_by_id(reply->id_request);
	if (slot != NULL && slot->state == HEAL_REQUEST_ABANDONED)
		slot->state = HEAL_REQUEST_FREE;
	else if (slot != NULL && slot->state == HEAL_REQUEST_TAKEN)
	{
		bool		fits = strlen(reply->json) < HEAL_REPLY_JSON;

		strlcpy(slot->sqlstate, fits ? reply->sqlstate : "54000", sizeof(slot->sqlstate));
		put_text(slot->message, fits ? reply->message : "answer of the pg_heal worker is too long", HEAL_REQUEST_TEXT);
		put_text(slot->detail, reply->detail, HEAL_REQUEST_TEXT);
		put_text(slot->hint, fits ? reply->hint : "The request was carried out; see the views for its result.", HEAL_REQUEST_TEXT);
		strlcpy(slot->json, fits ? reply->json : "", HEAL_REPLY_JSON);
		slot->state = HEAL_REQUEST_ANSWERED;
		backend = slot->backend_pgprocno;
	}
	LWLockRelease(heal_shared->lock);
	wake_backend(backend);
}

/* Healer, going away: nobody is left waiting for it. */
void
mailbox_fail_all(const char *sqlstate, const char *message)
{
	hc_reply	reply = {0};

	reply.sqlstate = sqlstate;
	reply.message = message;
	reply.detail = "";
	reply.hint = "Try again when the worker is back.";
	reply.json = "";

	for (int i = 0; i < HEAL_MAX_REQUESTS; i++)
	{
		HealRequestSlot *slot = &heal_shared->requests[i];

		LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
		if (slot->state == HEAL_REQUEST_WRITTEN)
			slot->state = HEAL_REQUEST_TAKEN;
		reply.id_request = slot->state == HEAL_REQUEST_FREE ? 0 : slot->id;
		LWLockRelease(heal_shared->lock);
		if (reply.id_request != 0)
			mailbox_answer(&reply);
	}
}
