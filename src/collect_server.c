/*-------------------------------------------------------------------------
 *
 * collect_server.c
 *	  The server as a whole: cumulative counters, disk, age of transaction
 *	  ids, and what the core must know before it acts.
 *
 * Counters are read from shared statistics, database by database. The list of
 * databases, and how far each is frozen, comes from pg_database; it is kept
 * between looks and read again when the catalog changed, which updates of
 * datfrozenxid announce as well.
 *
 * What cannot be read is NaN, never zero.
 *
 *-------------------------------------------------------------------------
 */
#include "pg_heal.h"

#include <math.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/autovacuum.h"
#include "postmaster/bgwriter.h"
#include "postmaster/postmaster.h"
#include "storage/fd.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#if PG_VERSION_NUM >= 160000
#define RESERVED_SLOTS (SuperuserReservedConnections + ReservedConnections)
#define fetch_local_entry(i) pgstat_get_local_beentry_by_index(i)
#define DB(entry, field) ((entry)->field)
#else
#define RESERVED_SLOTS ReservedBackends
#define fetch_local_entry(i) pgstat_fetch_stat_local_beentry(i)
#define DB(entry, field) ((entry)->n_##field)
#endif

#if PG_VERSION_NUM >= 170000
#define XID_STOP_LIMIT (TransamVariables->xidStopLimit)
#else
#define XID_STOP_LIMIT (ShmemVariableCache->xidStopLimit)
#endif

#if PG_VERSION_NUM >= 180000
#define WAL_COUNTER(stats, field) ((stats)->wal_counters.field)
#else
#define WAL_COUNTER(stats, field) ((stats)->field)
#endif

/* Safety net: the list is read again after this even if nothing was announced. */
#define DATABASES_MAX_AGE_US (5 * 60 * USECS_PER_SEC)

/* A session under this name declares that a migration is going on. */
#define MIGRATION_APPLICATION "pg_heal_migration"

typedef struct DatabaseAge
{
	Oid			oid;
	TransactionId frozen_xid;
	MultiXactId min_mxid;
} DatabaseAge;

/* The databases as last read; entries outlive transactions. */
static DatabaseAge *databases = NULL;
static int	n_databases = 0;
static int	max_databases = 0;
static TimestampTz databases_read_at = 0;
static bool databases_stale = true;

/* ---- list of databases ---- */

static void
databases_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	databases_stale = true;
}

static void
add_database(Form_pg_database form)
{
	if (n_databases >= max_databases)
	{
		int			wanted = Max(2 * max_databases, 16);
		Size		size = mul_size(sizeof(DatabaseAge), wanted);

		databases = databases == NULL ? MemoryContextAlloc(TopMemoryContext, size) : repalloc(databases, size);
		max_databases = wanted;
	}
	databases[n_databases++] = (DatabaseAge) {
		.oid = form->oid,.frozen_xid = form->datfrozenxid,.min_mxid = form->datminmxid
	};
}

static void
read_databases(void)
{
	static bool registered = false;
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (!registered)
	{
		CacheRegisterSyscacheCallback(DATABASEOID, databases_changed, (Datum) 0);
		registered = true;
	}

	/* Opening the catalog takes in what was announced so far. */
	rel = table_open(DatabaseRelationId, AccessShareLock);
	databases_stale = false;
	n_databases = 0;
	PG_TRY();
	{
		scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
			add_database((Form_pg_database) GETSTRUCT(tuple));
		systable_endscan(scan);
	}
	PG_CATCH();
	{
		databases_stale = true;
		PG_RE_THROW();
	}
	PG_END_TRY();
	table_close(rel, AccessShareLock);
	databases_read_at = GetCurrentTimestamp();
}

static void
refresh_databases(void)
{
	TimestampTz now = GetCurrentTimestamp();

	/* A clock set back counts as too old, too. */
	if (databases_stale || now < databases_read_at || now - databases_read_at > DATABASES_MAX_AGE_US)
		read_databases();
}

/* ---- statistics ---- */

static void
add_database_counters(const PgStat_StatDBEntry *db, double *metrics)
{
	metrics[HC_M_XACT_COMMIT] += DB(db, xact_commit);
	metrics[HC_M_XACT_ROLLBACK] += DB(db, xact_rollback);
	metrics[HC_M_BLKS_READ] += DB(db, blocks_fetched) - DB(db, blocks_hit);
	metrics[HC_M_BLKS_HIT] += DB(db, blocks_hit);
	metrics[HC_M_TEMP_FILES] += DB(db, temp_files);
	metrics[HC_M_TEMP_BYTES] += DB(db, temp_bytes);
	metrics[HC_M_TUPLES_FETCHED] += DB(db, tuples_fetched);
	metrics[HC_M_TUPLES_INSERTED] += DB(db, tuples_inserted);
	metrics[HC_M_TUPLES_UPDATED] += DB(db, tuples_updated);
	metrics[HC_M_TUPLES_DELETED] += DB(db, tuples_deleted);
	metrics[HC_M_DEADLOCKS] += DB(db, deadlocks);
	metrics[HC_M_SESSIONS_NEW] += DB(db, sessions);
	metrics[HC_M_SESSIONS_ABANDONED] += DB(db, sessions_abandoned);
	metrics[HC_M_SESSIONS_FATAL] += DB(db, sessions_fatal);
	metrics[HC_M_SESSIONS_KILLED] += DB(db, sessions_killed);
	metrics[HC_M_CHECKSUM_FAILURES] += DB(db, checksum_failures);
	metrics[HC_M_CONFLICTS] += DB(db, conflict_tablespace) + DB(db, conflict_lock) + DB(db, conflict_snapshot) +
		DB(db, conflict_bufferpin) + DB(db, conflict_startup_deadlock);
}

static void
fill_metrics(double *metrics, const hc_metric_id *ids, int n, double value)
{
	for (int i = 0; i < n; i++)
		metrics[ids[i]] = value;
}

/* Where a checksum failed, if ever. */
static void
note_checksums(hc_observation *obs, Oid oid, const PgStat_StatDBEntry *db)
{
	hc_checksum *checksums = unconstify(hc_checksum *, obs->checksums);
	char	   *name;

	if (DB(db, checksum_failures) <= 0)
		return;
	name = OidIsValid(oid) ? get_database_name(oid) : "";
	if (name == NULL)
		return;
	if (checksums == NULL)
		obs->checksums = checksums = palloc0(sizeof(hc_checksum) * (n_databases + 1));
	checksums[obs->n_checksums++] = (hc_checksum) {
		.database_oid = oid,.database = collect_text(name, NAMEDATALEN),
			.failures = DB(db, checksum_failures),.last_at = db->last_checksum_failure
	};
}

/* Sums over all databases, and the entry of shared catalogs. */
static void
collect_databases(hc_observation *obs, double *metrics)
{
	static const hc_metric_id summed[] = {
		HC_M_XACT_COMMIT, HC_M_XACT_ROLLBACK, HC_M_BLKS_READ, HC_M_BLKS_HIT, HC_M_TEMP_FILES, HC_M_TEMP_BYTES,
		HC_M_TUPLES_FETCHED, HC_M_TUPLES_INSERTED, HC_M_TUPLES_UPDATED, HC_M_TUPLES_DELETED, HC_M_DEADLOCKS,
		HC_M_SESSIONS_NEW, HC_M_SESSIONS_ABANDONED, HC_M_SESSIONS_FATAL, HC_M_SESSIONS_KILLED,
		HC_M_CHECKSUM_FAILURES, HC_M_CONFLICTS
	};
	int			found = 0;

	fill_metrics(metrics, summed, lengthof(summed), 0);
	for (int i = -1; i < n_databases; i++)
	{
		PgStat_StatDBEntry *db = pgstat_fetch_stat_dbentry(i < 0 ? InvalidOid : databases[i].oid);

		if (db == NULL)
			continue;
		add_database_counters(db, metrics);
		note_checksums(obs, i < 0 ? InvalidOid : databases[i].oid, db);
		found++;
	}
	if (found == 0)
		fill_metrics(metrics, summed, lengthof(summed), NAN);
}

static void
collect_checkpointer(double *metrics)
{
	const PgStat_CheckpointerStats *stats = pgstat_fetch_stat_checkpointer();

#if PG_VERSION_NUM >= 170000
	metrics[HC_M_CHECKPOINTS_TIMED] = stats->num_timed;
	metrics[HC_M_CHECKPOINTS_REQUESTED] = stats->num_requested;
	metrics[HC_M_CHECKPOINT_WRITE_TIME] = stats->write_time;
	metrics[HC_M_CHECKPOINT_SYNC_TIME] = stats->sync_time;
	metrics[HC_M_BUFFERS_CHECKPOINT] = stats->buffers_written;
	/* Counted per backend type and context there, in pg_stat_io. */
	metrics[HC_M_BUFFERS_BACKEND] = NAN;
	metrics[HC_M_BUFFERS_BACKEND_FSYNC] = NAN;
#else
	metrics[HC_M_CHECKPOINTS_TIMED] = stats->timed_checkpoints;
	metrics[HC_M_CHECKPOINTS_REQUESTED] = stats->requested_checkpoints;
	metrics[HC_M_CHECKPOINT_WRITE_TIME] = stats->checkpoint_write_time;
	metrics[HC_M_CHECKPOINT_SYNC_TIME] = stats->checkpoint_sync_time;
	metrics[HC_M_BUFFERS_CHECKPOINT] = stats->buf_written_checkpoints;
	metrics[HC_M_BUFFERS_BACKEND] = stats->buf_written_backend;
	metrics[HC_M_BUFFERS_BACKEND_FSYNC] = stats->buf_fsync_backend;
#endif
	metrics[HC_M_BUFFERS_CLEAN] = pgstat_fetch_stat_bgwriter()->buf_written_clean;
}

static void
collect_wal(double *metrics)
{
	const PgStat_WalStats *wal = pgstat_fetch_stat_wal();
	const PgStat_ArchiverStats *archiver = pgstat_fetch_stat_archiver();

	metrics[HC_M_WAL_RECORDS] = WAL_COUNTER(wal, wal_records);
	metrics[HC_M_WAL_FPI] = WAL_COUNTER(wal, wal_fpi);
	metrics[HC_M_WAL_BYTES] = WAL_COUNTER(wal, wal_bytes);
	metrics[HC_M_WAL_BUFFERS_FULL] = WAL_COUNTER(wal, wal_buffers_full);
	metrics[HC_M_ARCHIVED] = archiver->archived_count;
	metrics[HC_M_ARCHIVE_FAILED] = archiver->failed_count;
}

/* ---- ages and disk ---- */

static void
collect_ages(double *metrics)
{
	TransactionId next_xid = XidFromFullTransactionId(ReadNextFullTransactionId());
	MultiXactId next_mxid = ReadNextMultiXactId();
	int32		xid_age = 0;
	int32		mxid_age = 0;

	for (int i = 0; i < n_databases; i++)
	{
		if (TransactionIdIsNormal(databases[i].frozen_xid))
			xid_age = Max(xid_age, (int32) (next_xid - databases[i].frozen_xid));
		if (MultiXactIdIsValid(databases[i].min_mxid))
			mxid_age = Max(mxid_age, (int32) (next_mxid - databases[i].min_mxid));
	}
	metrics[HC_M_XID_AGE] = n_databases > 0 ? xid_age : NAN;
	metrics[HC_M_MXID_AGE] = n_databases > 0 ? mxid_age : NAN;
}

/* As df has it: what root keeps for itself is neither used nor free. */
static int64
used_bytes(const struct statvfs *fs)
{
	return (int64) (fs->f_blocks - fs->f_bfree) * fs->f_frsize;
}

/* Temporary files looked at; their directory may be large when it matters. */
#define MAX_COUNTED_FILES	1024

/* Members are kept in files of this many; the oldest files are removed. */
#define MEMBERS_PER_FILE	INT64CONST(52352)
#define MEMBERS_INTERVAL_US	(60 * USECS_PER_SEC)

/* Fits 2^32 members, of which a file more or less does not matter. */
#define MAX_MEMBER_FILES	90000

/* Are these files old enough to be counted again? A clock set back says yes. */
static bool
is_due(TimestampTz *counted_at, int64 interval)
{
	TimestampTz now = GetCurrentTimestamp();

	if (*counted_at != 0 && now >= *counted_at && now - *counted_at < interval)
		return false;
	*counted_at = now;
	return true;
}

static int64
multixact_members(void)
{
	static TimestampTz counted_at = 0;
	static int64 members = 0;
	DIR		   *dir;
	struct dirent *entry;
	int64		files = 0;

	if (!is_due(&counted_at, MEMBERS_INTERVAL_US))
		return members;
	members = 0;
	dir = AllocateDir("pg_multixact/members");
	while (files < MAX_MEMBER_FILES && (entry = ReadDirExtended(dir, "pg_multixact/members", DEBUG1)) != NULL)
		if (entry->d_name[0] != '.')
			files++;
	if (dir != NULL)
		FreeDir(dir);
	/* One file is there always, and nearly empty. */
	if (files > 0)
		members = Max((files - 1) * MEMBERS_PER_FILE, 1);
	return members;
}

/*
 * Bytes of the files of a directory and those below it, of at most *left files;
 * files may go away meanwhile. -1 when it cannot be read.
 */
static int64
directory_bytes(const char *path, int depth, int *left)
{
	DIR		   *dir = opendir(path);
	struct dirent *entry;
	int64		bytes = 0;

	if (dir == NULL)
		return errno == ENOENT ? 0 : -1;
	while (*left > 0 && (entry = readdir(dir)) != NULL)
	{
		char		file[MAXPGPATH];
		struct stat st;

		if (entry->d_name[0] == '.')
			continue;
		(*left)--;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		if (lstat(file, &st) != 0)
			continue;
		if (S_ISREG(st.st_mode))
			bytes += st.st_size;
		else if (S_ISDIR(st.st_mode) && depth > 0)
			bytes += Max(directory_bytes(file, depth - 1, left), 0);
	}
	closedir(dir);
	return bytes;
}

/* Of the default tablespace, which shares its file system with the data. */
static int64
temporary_bytes(void)
{
	int			left = MAX_COUNTED_FILES;

	return directory_bytes("base/" PG_TEMP_FILES_DIR, 1, &left);
}

/* Its own file system, or that of the data directory? */
static bool
wal_has_own_disk(void)
{
	struct stat data;
	struct stat wal;

	return stat(".", &data) == 0 && stat(XLOGDIR, &wal) == 0 && data.st_dev != wal.st_dev;
}

/* Both directories by their path from the data directory, where we are. */
static void
collect_disk(hc_server *server, double *metrics)
{
	struct statvfs data;
	struct statvfs wal;

	metrics[HC_M_DISK_FREE] = metrics[HC_M_DISK_USED] = metrics[HC_M_WAL_DISK_FREE] = NAN;
	if (statvfs(".", &data) == 0)
	{
		double		used = (double) data.f_blocks - data.f_bfree;

		server->disk_used_bytes = used_bytes(&data);
		server->disk_limit_bytes = server->disk_used_bytes + (int64) data.f_bavail * data.f_frsize;
		metrics[HC_M_DISK_FREE] = (double) data.f_bavail * data.f_frsize;
		if (used + data.f_bavail > 0)
			metrics[HC_M_DISK_USED] = used / (used + data.f_bavail);
	}

	server->wal_disk_free_bytes = server->wal_disk_total_bytes = -1;
	if (statvfs(XLOGDIR, &wal) == 0)
	{
		server->wal_disk_free_bytes = (int64) wal.f_bavail * wal.f_frsize;
		server->wal_disk_total_bytes = (int64) wal.f_blocks * wal.f_frsize;
		metrics[HC_M_WAL_DISK_FREE] = (double) server->wal_disk_free_bytes;
		if (wal_has_own_disk())
		{
			server->wal_disk_used_bytes = used_bytes(&wal);
			server->wal_disk_limit_bytes = server->wal_disk_used_bytes + server->wal_disk_free_bytes;
		}
	}
}

/* ---- what is going on ---- */

/*
 * Is this a backup? The server counts backups where nobody else can read it.
 * BASE_BACKUP shows as progress of a walsender; one taken by a tool with
 * pg_backup_start() as the session that called it and has to stay.
 */
static bool
runs_backup(const PgBackendStatus *entry)
{
	if (entry->st_backendType == B_WAL_SENDER)
		return entry->st_progress_command == PROGRESS_COMMAND_BASEBACKUP;
	if (entry->st_backendType != B_BACKEND)
		return false;
	return strncmp(entry->st_appname, "pgBackRest [backup]", strlen("pgBackRest [backup]")) == 0 ||
		strstr(entry->st_activity_raw, "pg_backup_start(") != NULL;
}

static uint32
activity_flags(double *metrics)
{
	uint32		flags = 0;
	int			workers = 0;
	int			n = pgstat_fetch_stat_numbackends();

	for (int i = 1; i <= n; i++)
	{
		const LocalPgBackendStatus *local = fetch_local_entry(i);
		const PgBackendStatus *entry = &local->backendStatus;

		if (local == NULL || entry->st_procpid <= 0)
			continue;
		if (entry->st_backendType == B_AUTOVAC_WORKER)
			workers++;
		if (runs_backup(entry))
			flags |= HC_SERVER_BASE_BACKUP;
		if (entry->st_backendType == B_BACKEND && strcmp(entry->st_appname, MIGRATION_APPLICATION) == 0)
			flags |= HC_SERVER_MIGRATION;
	}
	metrics[HC_M_AUTOVACUUM_WORKERS] = workers;
	return flags;
}

/*
 * Standby, read-only by configuration (whatever this session has set for
 * itself), or out of transaction ids.
 */
static bool
is_read_only(void)
{
	const char *by_default = GetConfigOptionResetString("default_transaction_read_only");
	TransactionId stop = XID_STOP_LIMIT;

	if (RecoveryInProgress() || (by_default != NULL && strcmp(by_default, "on") == 0))
		return true;
	return TransactionIdIsNormal(stop) &&
		TransactionIdFollowsOrEquals(XidFromFullTransactionId(ReadNextFullTransactionId()), stop);
}

/* Would a value in postgresql.auto.conf stay without effect? */
static bool
max_wal_size_is_fixed(void)
{
	static struct config_generic *option = NULL;

	if (option == NULL)
	{
#if PG_VERSION_NUM >= 160000
		option = find_option("max_wal_size", false, true, DEBUG5);
#else
		struct config_generic **options = get_guc_variables();
		int			n = GetNumConfigOptions();

		for (int i = 0; i < n && option == NULL; i++)
			if (strcmp(options[i]->name, "max_wal_size") == 0)
				option = options[i];
#endif
	}
	return option != NULL && option->reset_source > PGC_S_FILE;
}

static void
collect_start(hc_server *server)
{
	server->started_at = PgStartTime;
	if (heal_shared == NULL)
		return;
	LWLockAcquire(heal_shared->lock, LW_SHARED);
	server->started_at = Max(server->started_at, heal_shared->server_started_at);
	if (heal_shared->crash_recovered)
		server->flags |= HC_SERVER_CRASH_RECOVERED;
	if (heal_shared->crashes_in_row >= HEAL_CRASHES_OBSERVE)
		server->flags |= HC_SERVER_HEALER_CRASHED;
	LWLockRelease(heal_shared->lock);
}

void
collect_server(hc_observation *obs, hc_server *server, double *metrics)
{
	/* Before the statistics, whose snapshot takes that of the backends along. */
	server->flags = activity_flags(metrics);
	collect_start(server);
	if (is_read_only())
		server->flags |= HC_SERVER_READ_ONLY;
	server->max_connections = Max(MaxConnections - RESERVED_SLOTS, 1);
	server->autovacuum_max_workers = autovacuum_max_workers;
	server->max_wal_size_mb = max_wal_size_mb;
	server->min_wal_size_mb = min_wal_size_mb;
	server->checkpoint_timeout_s = CheckPointTimeout;
	server->max_wal_size_file = max_wal_size_is_fixed() ? 1 : 0;
	server->max_slot_wal_keep_bytes = (int64) max_slot_wal_keep_size_mb * 1024 * 1024;
	server->freeze_max_age = autovacuum_freeze_max_age;
	server->multixact_freeze_max_age = autovacuum_multixact_freeze_max_age;
	server->multixact_members = multixact_members();
	server->temp_bytes = temporary_bytes();
	server->disk_used_bytes = server->disk_limit_bytes = 0;
	server->wal_disk_used_bytes = server->wal_disk_limit_bytes = 0;
	collect_disk(server, metrics);

	pgstat_clear_snapshot();
	collect_checkpointer(metrics);
	collect_wal(metrics);
	refresh_databases();
	collect_databases(obs, metrics);
	collect_ages(metrics);
}
