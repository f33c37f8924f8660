/*-------------------------------------------------------------------------
 *
 * collect_replication.c
 *	  Standbys, replication slots, prepared transactions, and how far back
 *	  all that holds the horizon.
 *
 * The four that can hold the horizon are kept apart: a session by its own
 * xmin, a slot, a standby by its feedback, a prepared transaction by its id.
 *
 *-------------------------------------------------------------------------
 */
#include "pg_heal.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/twophase.h"
#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "commands/dbcommands.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#if PG_VERSION_NUM >= 160000
#define fetch_local_entry(i) pgstat_get_local_beentry_by_index(i)
#define slot_is_lost(data) ((data)->invalidated != RS_INVAL_NONE)
#else
#define fetch_local_entry(i) pgstat_fetch_stat_local_beentry(i)
#define slot_is_lost(data) \
	(XLogRecPtrIsInvalid((data)->restart_lsn) && !XLogRecPtrIsInvalid((data)->invalidated_at))
#endif

/* Columns of pg_prepared_xact(). */
enum
{
	PREPARED_XID = 1,
	PREPARED_GID,
	PREPARED_AT,
	PREPARED_OWNER,
	PREPARED_DATABASE
};

/* Shared with the other collectors. */

/* A walsender, copied under its spinlock. */
typedef struct SenderCopy
{
	pid_t		pid;
	WalSndState state;
	XLogRecPtr	sent;
	XLogRecPtr	flush;
	XLogRecPtr	apply;
} SenderCopy;

/* A slot, copied under its spinlock. */
typedef struct SlotCopy
{
	ReplicationSlotPersistentData data;
	pid_t		active_pid;
	TransactionId xmin;			/* effective ones: those that hold */
	TransactionId catalog_xmin;
} SlotCopy;

/* Against what everything here is measured. */
typedef struct Position
{
	TransactionId next_xid;
	XLogRecPtr	lsn;			/* written, on a standby replayed */
} Position;

/* age(), with 0 for none */
static uint32
age_of(const Position *now, TransactionId xid)
{
	return TransactionIdIsNormal(xid) ? (uint32) Max((int32) (now->next_xid - xid), 1) : 0;
}

static int64
distance(const Position *now, XLogRecPtr lsn)
{
	return !XLogRecPtrIsInvalid(lsn) && lsn < now->lsn ? (int64) (now->lsn - lsn) : 0;
}

static const char *
database_name(Oid oid)
{
	char	   *name = OidIsValid(oid) ? get_database_name(oid) : NULL;

	return name != NULL ? collect_text(name, NAMEDATALEN) : "";
}

/* ---- prepared transactions ---- */

static void
read_prepared(HeapTupleHeader row, TransactionId next_xid, hc_prepared *prepared, TransactionId *xid)
{
	bool		isnull;
	char	   *role;

	*xid = DatumGetTransactionId(GetAttributeByNum(row, PREPARED_XID, &isnull));
	prepared->gid = collect_text(TextDatumGetCString(GetAttributeByNum(row, PREPARED_GID, &isnull)), GIDSIZE);
	prepared->prepared_at = DatumGetTimestampTz(GetAttributeByNum(row, PREPARED_AT, &isnull));
	role = GetUserNameFromId(DatumGetObjectId(GetAttributeByNum(row, PREPARED_OWNER, &isnull)), true);
	prepared->role = role != NULL ? collect_text(role, NAMEDATALEN) : "";
	prepared->database = database_name(DatumGetObjectId(GetAttributeByNum(row, PREPARED_DATABASE, &isnull)));
	prepared->xid_age = (uint32) Max((int32) (next_xid - *xid), 1);
}

/*
 * All prepared transactions and, beside each, its transaction id. Their
 * shared state is private to the server; the function behind the view
 * pg_prepared_xacts is the way in that needs no query.
 */
uint32
collect_prepared(hc_prepared **prepared, TransactionId **xids)
{
	LOCAL_FCINFO(fcinfo, 0);
	FmgrInfo	flinfo;
	ReturnSetInfo rsinfo = {.type = T_ReturnSetInfo};
	TransactionId next_xid = XidFromFullTransactionId(ReadNextFullTransactionId());
	uint32		n = 0;

	*prepared = NULL;
	*xids = NULL;
	if (max_prepared_xacts == 0)
		return 0;
	*prepared = palloc0(sizeof(hc_prepared) * max_prepared_xacts);
	*xids = palloc0(sizeof(TransactionId) * max_prepared_xacts);

	fmgr_info(F_PG_PREPARED_XACT, &flinfo);
	rsinfo.econtext = CreateStandaloneExprContext();
	rsinfo.allowedModes = SFRM_ValuePerCall;
	rsinfo.returnMode = SFRM_ValuePerCall;
	InitFunctionCallInfoData(*fcinfo, &flinfo, 0, InvalidOid, NULL, (Node *) &rsinfo);
	for (;;)
	{
		Datum		row;

		rsinfo.isDone = ExprSingleResult;
		fcinfo->isnull = false;
		row = FunctionCallInvoke(fcinfo);
		if (rsinfo.isDone != ExprMultipleResult)
			break;
		if (n < (uint32) max_prepared_xacts)
		{
			read_prepared(DatumGetHeapTupleHeader(row), next_xid, &(*prepared)[n], &(*xids)[n]);
			n++;
		}
	}
	FreeExprContext(rsinfo.econtext, true);
	return n;
}

static uint32
report_prepared(hc_observation *obs, double *metrics)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz oldest = now;
	hc_prepared *prepared;
	TransactionId *xids;
	uint32		age = 0;

	obs->n_prepared = collect_prepared(&prepared, &xids);
	obs->prepared = prepared;
	for (uint32 i = 0; i < obs->n_prepared; i++)
	{
		oldest = Min(oldest, prepared[i].prepared_at);
		age = Max(age, prepared[i].xid_age);
	}
	metrics[HC_M_PREPARED_TRANSACTIONS] = obs->n_prepared;
	metrics[HC_M_OLDEST_PREPARED] = (now - oldest) / (double) USECS_PER_SEC;
	return age;
}

/* ---- slots ---- */

static uint32
copy_slots(SlotCopy *copies)
{
	uint32		n = 0;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];

		if (!slot->in_use)
			continue;
		SpinLockAcquire(&slot->mutex);
		copies[n].data = slot->data;
		copies[n].active_pid = slot->active_pid;
		copies[n].xmin = slot->effective_xmin;
		copies[n].catalog_xmin = slot->effective_catalog_xmin;
		SpinLockRelease(&slot->mutex);
		n++;
	}
	LWLockRelease(ReplicationSlotControlLock);
	return n;
}

/* A lost slot still shows its xmin but holds neither WAL nor horizon. */
static void
read_slot(const Position *now, const SlotCopy *copy, hc_slot *slot)
{
	slot->name = collect_text(NameStr(copy->data.name), NAMEDATALEN);
	slot->logical = OidIsValid(copy->data.database);
	slot->active = copy->active_pid != 0;
	slot->lost = slot_is_lost(&copy->data);
	slot->temporary = copy->data.persistency == RS_TEMPORARY;
	slot->database = database_name(copy->data.database);
	if (slot->lost)
		return;
	slot->retained_bytes = distance(now, copy->data.restart_lsn);
	slot->xmin_age = Max(age_of(now, copy->xmin), age_of(now, copy->catalog_xmin));
}

static uint32
report_slots(hc_observation *obs, const Position *now, const SlotCopy *copies, uint32 n, double *metrics)
{
	hc_slot    *slots = palloc0(sizeof(hc_slot) * Max(n, 1));
	int64		retained = 0;
	uint32		age = 0;
	int			inactive = 0;

	for (uint32 i = 0; i < n; i++)
	{
		read_slot(now, &copies[i], &slots[i]);
		inactive += !slots[i].active && !slots[i].lost;
		retained = Max(retained, slots[i].retained_bytes);
		age = Max(age, slots[i].xmin_age);
	}
	metrics[HC_M_SLOTS_INACTIVE] = inactive;
	metrics[HC_M_SLOT_RETAINED] = retained;
	obs->slots = slots;
	obs->n_slots = n;
	return age;
}

/* ---- standbys ---- */

static uint32
copy_senders(SenderCopy *copies)
{
	uint32		n = 0;

	for (int i = 0; i < max_wal_senders; i++)
	{
		WalSnd	   *sender = &WalSndCtl->walsnds[i];
		SenderCopy *copy = &copies[n];

		SpinLockAcquire(&sender->mutex);
		copy->pid = sender->pid;
		copy->state = sender->state;
		copy->sent = sender->sentPtr;
		copy->flush = sender->flush;
		copy->apply = sender->apply;
		SpinLockRelease(&sender->mutex);
		if (copy->pid != 0)
			n++;
	}
	return n;
}

static const char *
sender_state_name(WalSndState state)
{
	switch (state)
	{
		case WALSNDSTATE_STARTUP:
			return "startup";
		case WALSNDSTATE_BACKUP:
			return "backup";
		case WALSNDSTATE_CATCHUP:
			return "catchup";
		case WALSNDSTATE_STREAMING:
			return "streaming";
		case WALSNDSTATE_STOPPING:
			return "stopping";
	}
	return "unknown";
}

static const PgBackendStatus *
find_status(int pid)
{
	int			n = pgstat_fetch_stat_numbackends();

	for (int i = 1; i <= n; i++)
	{
		const LocalPgBackendStatus *local = fetch_local_entry(i);

		if (local != NULL && local->backendStatus.st_procpid == pid)
			return &local->backendStatus;
	}
	return NULL;
}

/* Feedback is kept in the standby's slot, or else in the walsender itself. */
static uint32
feedback_age(const Position *now, int pid, const SlotCopy *slots, uint32 n_slots)
{
	PGPROC	   *proc;

	for (uint32 i = 0; i < n_slots; i++)
		if (slots[i].active_pid == pid && !slot_is_lost(&slots[i].data))
			return Max(age_of(now, slots[i].xmin), age_of(now, slots[i].catalog_xmin));
	proc = BackendPidGetProc(pid);
	return proc != NULL ? age_of(now, proc->xmin) : 0;
}

/*
 * Fill in one standby; true if it is a server that replays. A subscriber is
 * connected to a database, and what only receives WAL never says that it
 * applied any.
 */
static bool
read_standby(const Position *now, const SenderCopy *copy, const SlotCopy *slots, uint32 n_slots, hc_standby *standby)
{
	const PgBackendStatus *status = find_status(copy->pid);
	bool		physical = status == NULL || !OidIsValid(status->st_databaseid);
	bool		replays = physical && !XLogRecPtrIsInvalid(copy->apply);
	XLogRecPtr	reached = copy->apply;

	if (XLogRecPtrIsInvalid(reached))
		reached = XLogRecPtrIsInvalid(copy->flush) ? copy->sent : copy->flush;
	standby->pid = copy->pid;
	standby->application = status != NULL ? collect_text(status->st_appname, NAMEDATALEN) : "";
	standby->state = sender_state_name(copy->state);
	standby->lag_bytes = distance(now, reached);
	if (physical)
		standby->xmin_age = feedback_age(now, copy->pid, slots, n_slots);
	return replays;
}

static void
report_standbys(hc_observation *obs, const Position *now, const SlotCopy *slots, uint32 n_slots, double *metrics)
{
	SenderCopy *copies = palloc(sizeof(SenderCopy) * (max_wal_senders + 1));
	uint32		n = copy_senders(copies);
	hc_standby *standbys = palloc0(sizeof(hc_standby) * Max(n, 1));
	int64		lag = 0;
	int			streaming = 0;

	for (uint32 i = 0; i < n; i++)
	{
		if (!read_standby(now, &copies[i], slots, n_slots, &standbys[i]))
			continue;
		streaming += copies[i].state == WALSNDSTATE_STREAMING;
		lag = Max(lag, standbys[i].lag_bytes);
	}
	metrics[HC_M_REPLICAS] = streaming;
	metrics[HC_M_REPLICATION_LAG] = lag;
	obs->standbys = standbys;
	obs->n_standbys = n;
}

/* ---- horizon ---- */

/*
 * The oldest id any process, walsenders included, holds back. Like the
 * server's own computation: an assigned id counts as much as a snapshot, lazy
 * vacuum and logical decoding do not count. This very look is left out.
 */
static uint32
oldest_process(const Position *now)
{
	uint32		age = 0;

	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		const PGPROC *proc = &ProcGlobal->allProcs[i];
		TransactionId xid = *(const volatile TransactionId *) &proc->xid;
		TransactionId xmin = *(const volatile TransactionId *) &proc->xmin;

		if (proc == MyProc || (proc->statusFlags & (PROC_IN_VACUUM | PROC_IN_LOGICAL_DECODING)))
			continue;
		age = Max(age, Max(age_of(now, xid), age_of(now, xmin)));
	}
	return age;
}

static XLogRecPtr
current_lsn(void)
{
	return RecoveryInProgress() ? GetXLogReplayRecPtr(NULL) : GetXLogWriteRecPtr();
}

void
collect_replication(hc_observation *obs, double *metrics)
{
	SlotCopy   *slots = palloc(sizeof(SlotCopy) * (max_replication_slots + 1));
	uint32		n_slots;
	uint32		horizon;
	Position	now;

	n_slots = copy_slots(slots);
	/* Taken after the slots, so that no slot is ahead of it. */
	now.next_xid = XidFromFullTransactionId(ReadNextFullTransactionId());
	now.lsn = current_lsn();
	report_standbys(obs, &now, slots, n_slots, metrics);
	horizon = oldest_process(&now);
	horizon = Max(horizon, report_slots(obs, &now, slots, n_slots, metrics));
	horizon = Max(horizon, report_prepared(obs, metrics));
	metrics[HC_M_HORIZON_AGE] = horizon;
}
