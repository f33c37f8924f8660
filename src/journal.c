/*-------------------------------------------------------------------------
 *
 * journal.c
 *	  What the healer must not forget, in a file that needs no free disk space.
 *
 * $PGDATA/pg_heal/journal has a fixed size and is written with zeros once; from
 * then on a full disk cannot keep the healer from writing down what it is about
 * to do. A header block says which server it belongs to: system identifier,
 * timeline, and device and inode of the data directory. A file that says
 * otherwise came with a copy; it is moved aside and never resumed.
 *
 * Behind the header is a ring of records. A record's place follows from its
 * logical position, which only grows; one that would cross the end of the ring
 * starts at its beginning instead. Records of one append form a batch: it
 * counts as a whole or not at all, and is on disk before journal_append
 * returns. So only the last batch can be torn, and no command of a torn batch
 * was ever carried out.
 *
 * What is not yet in the tables is "live" and never overwritten. When live
 * records fill half of the ring, the newest image of every row is written anew
 * as one batch marked REBASE, and all before it is dead. Rows that are only ever
 * added have no older images to leave out; when nothing else helps, the oldest
 * anomalies go, then predictions, then transitions, and the log says so.
 *
 * Integers are in the byte order of the machine: the file never leaves it.
 *
 *-------------------------------------------------------------------------
 */
#include "pg_heal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "common/file_perm.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"
#include "utils/memutils.h"

#define JOURNAL_DIRECTORY	"pg_heal"
#define JOURNAL_FILE		JOURNAL_DIRECTORY "/journal"
#define JOURNAL_NEW			JOURNAL_DIRECTORY "/journal.new"
#define JOURNAL_FOREIGN		JOURNAL_DIRECTORY "/journal.foreign"

#define JOURNAL_MAGIC		0x4C414548	/* HEAL */
#define JOURNAL_VERSION		1

/* Bytes that no text in any server encoding is likely to hold in this order. */
#define RECORD_MAGIC		0xFFFEC0F5

#define JOURNAL_BYTES		(16 * 1024 * 1024)
#define HEADER_BYTES		8192
#define RING_BYTES			((uint64) (JOURNAL_BYTES - HEADER_BYTES))
#define LIVE_LIMIT			(RING_BYTES / 2)
#define REBASE_SLACK		(RING_BYTES / 16)
#define RECORD_LIMIT		(RING_BYTES / 16)
#define RECORD_ALIGN(len)	TYPEALIGN64(8, (len))

/* journal_read_after stops after this much; the caller comes again. */
#define READ_BYTES			(1024 * 1024)

#define CHUNK_BYTES			(128 * 1024)

typedef struct JournalHeader
{
	uint32		magic;
	uint32		version;
	uint64		system_identifier;
	uint64		device;
	uint64		inode;
	uint32		timeline;
	uint32		bytes;			/* of the file */
	uint32		padding;
	pg_crc32c	crc;			/* of all before */
} JournalHeader;

/* Flags of a record. */
#define RECORD_LAST		(1 << 0)	/* ends its batch */
#define RECORD_REBASE	(1 << 1)	/* all before this batch is dead */

typedef struct RecordHeader
{
	uint32		magic;
	pg_crc32c	crc;			/* of the rest of the header and the text */
	uint64		seq;
	uint64		position;		/* logical: modulo the ring's size the place */
	int64		id;
	uint32		length;			/* of the text that follows */
	uint32		batch_index;	/* within its batch, from 0 */
	uint16		table;
	uint16		flags;
	uint32		padding;
} RecordHeader;

/* A record in the ring. */
typedef struct Entry
{
	uint64		seq;
	uint64		position;
	int64		id;
	uint32		length;
	uint32		batch_index;
	uint16		table;
	uint16		flags;
	bool		keep;			/* scratch of a rebase */
} Entry;

static int	journal_fd = -1;
static uint64 last_seq = 0;
static uint64 head = 0;			/* logical position of the next record */

/* Live records by seq, in journal_cxt. */
static MemoryContext journal_cxt = NULL;
static Entry *entries = NULL;
static uint32 n_entries = 0;
static uint32 max_entries = 0;

static bool drop_said = false;
static uint64 dropped = 0;

static uint64
record_size(uint32 length)
{
	return RECORD_ALIGN(sizeof(RecordHeader) + (uint64) length);
}

static off_t
place_of(uint64 position)
{
	return HEADER_BYTES + (off_t) (position % RING_BYTES);
}

/* Where a record of that size goes when the head is at position. */
static uint64
place_record(uint64 position, uint64 size)
{
	uint64		offset = position % RING_BYTES;

	return offset + size > RING_BYTES ? position + (RING_BYTES - offset) : position;
}

static pg_crc32c
record_crc(const RecordHeader *header, const char *text)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, (const char *) header + offsetof(RecordHeader, seq),
				sizeof(RecordHeader) - offsetof(RecordHeader, seq));
	COMP_CRC32C(crc, text, header->length);
	FIN_CRC32C(crc);
	return crc;
}

/*---- Identity ----*/

static void
fill_identity(JournalHeader *header)
{
	struct stat st;

	if (stat(".", &st) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not stat directory \"%s\": %m", DataDir)));

	memset(header, 0, sizeof(*header));
	header->magic = JOURNAL_MAGIC;
	header->version = JOURNAL_VERSION;
	header->system_identifier = GetSystemIdentifier();
	header->device = st.st_dev;
	header->inode = st.st_ino;
	header->timeline = GetWALInsertionTimeLine();
	header->bytes = JOURNAL_BYTES;
	INIT_CRC32C(header->crc);
	COMP_CRC32C(header->crc, header, offsetof(JournalHeader, crc));
	FIN_CRC32C(header->crc);
}

/* Which server this is, as heal.journal_state keeps it. */
const char *
journal_server_identity(void)
{
	static char identity[128];
	JournalHeader header;

	fill_identity(&header);
	snprintf(identity, sizeof(identity), UINT64_FORMAT "/%u/" UINT64_FORMAT "/" UINT64_FORMAT,
			 header.system_identifier, header.timeline, header.device, header.inode);
	return identity;
}

/*---- Reading and writing bytes ----*/

static bool
read_at(int fd, char *buffer, Size size, off_t offset)
{
	while (size > 0)
	{
		ssize_t		n = pg_pread(fd, buffer, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
		{
			if (n == 0)
				errno = EIO;	/* the file has been cut short */
			return false;
		}
		buffer += n;
		offset += n;
		size -= n;
	}
	return true;
}

static bool
write_at(int fd, const char *buffer, Size size, off_t offset)
{
	while (size > 0)
	{
		ssize_t		n = pg_pwrite(fd, buffer, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
		{
			if (n == 0)
				errno = ENOSPC;
			return false;
		}
		buffer += n;
		offset += n;
		size -= n;
	}
	return true;
}

static char *
describe_failure(const char *what)
{
	return psprintf("could not %s file \"%s\": %m", what, JOURNAL_FILE);
}

/*---- Creation ----*/

/*
 * Allocate and write every block, so that none has to be found later. The zeros
 * matter: a hole, or an extent never written, could still need space.
 */
static bool
fill_file(int fd)
{
	char	   *zeros = palloc0(CHUNK_BYTES);
	JournalHeader header;
	bool		ok = true;

#ifdef HAVE_POSIX_FALLOCATE
	int			failure = posix_fallocate(fd, 0, JOURNAL_BYTES);

	/* Not every file system has it; the writes below then do it all. */
	if (failure != 0 && failure != EINVAL && failure != EOPNOTSUPP && failure != EINTR)
	{
		errno = failure;
		ok = false;
	}
#endif

	for (off_t offset = 0; ok && offset < JOURNAL_BYTES; offset += CHUNK_BYTES)
		ok = write_at(fd, zeros, CHUNK_BYTES, offset);

	fill_identity(&header);
	return ok &&
		write_at(fd, (const char *) &header, sizeof(header), 0) &&
		pg_fsync(fd) == 0;
}

static bool
create_file(char **why_not)
{
	int			fd;
	bool		ok;

	fd = BasicOpenFile(JOURNAL_NEW, O_RDWR | O_CREAT | O_TRUNC | PG_BINARY);
	if (fd < 0)
	{
		*why_not = describe_failure("create");
		return false;
	}

	ok = fill_file(fd);
	if (!ok)
		*why_not = describe_failure("allocate");
	if (close(fd) != 0 && ok)
	{
		*why_not = describe_failure("close");
		ok = false;
	}
	if (ok && durable_rename(JOURNAL_NEW, JOURNAL_FILE, LOG) != 0)
	{
		*why_not = describe_failure("rename");
		ok = false;
	}
	/* Give a full disk back what it could not spare. */
	if (!ok)
		(void) unlink(JOURNAL_NEW);
	return ok;
}

/*---- Opening ----*/

static void
remember_entry(const RecordHeader *header)
{
	Entry	   *entry;

	if (n_entries == max_entries)
	{
		max_entries = max_entries == 0 ? 256 : max_entries * 2;
		entries = entries == NULL ?
			MemoryContextAllocHuge(journal_cxt, max_entries * sizeof(Entry)) :
			repalloc_huge(entries, max_entries * sizeof(Entry));
	}
	entry = &entries[n_entries++];
	entry->seq = header->seq;
	entry->position = header->position;
	entry->id = header->id;
	entry->length = header->length;
	entry->batch_index = header->batch_index;
	entry->table = header->table;
	entry->flags = header->flags;
	entry->keep = false;
}

static void
forget_first(uint32 n)
{
	n_entries -= n;
	memmove(entries, entries + n, n_entries * sizeof(Entry));

	/* A long outage leaves a large array behind: the memory budget is small. */
	if (n_entries == 0 && max_entries > 4096)
	{
		pfree(entries);
		entries = NULL;
		max_entries = 0;
	}
}

static bool
header_plausible(const RecordHeader *header, uint64 offset)
{
	return header->magic == RECORD_MAGIC &&
		header->position % RING_BYTES == offset &&
		header->length <= RECORD_LIMIT &&
		header->table < HC_T_COUNT &&
		header->seq > 0 &&
		offset + record_size(header->length) <= RING_BYTES;
}

/*
 * Find all whole records, in the order of their places. The window is read
 * forward; a candidate's text is read on its own.
 */
static bool
scan_ring(int fd)
{
	char	   *window = palloc(CHUNK_BYTES);
	StringInfoData text;
	uint64		offset = 0;
	uint64		window_start = 0;
	uint64		window_end = 0;

	initStringInfo(&text);
	while (offset + sizeof(RecordHeader) <= RING_BYTES)
	{
		RecordHeader header;

		if (offset + sizeof(RecordHeader) > window_end)
		{
			window_start = offset;
			window_end = Min(offset + CHUNK_BYTES, RING_BYTES);
			if (!read_at(fd, window, window_end - window_start, HEADER_BYTES + window_start))
				return false;
		}
		memcpy(&header, window + (offset - window_start), sizeof(header));
		if (!header_plausible(&header, offset))
		{
			offset += 8;
			continue;
		}

		resetStringInfo(&text);
		enlargeStringInfo(&text, header.length);
		if (!read_at(fd, text.data, header.length, HEADER_BYTES + offset + sizeof(header)))
			return false;
		if (record_crc(&header, text.data) != header.crc)
		{
			offset += 8;
			continue;
		}
		remember_entry(&header);
		offset += record_size(header.length);
	}
	pfree(window);
	pfree(text.data);
	return true;
}

static int
compare_seq(const void *a, const void *b)
{
	uint64		left = ((const Entry *) a)->seq;
	uint64		right = ((const Entry *) b)->seq;

	return left < right ? -1 : left > right;
}

/* Index of the first record of the batch that ends the list. */
static uint32
first_of_last_batch(void)
{
	uint64		first_seq = entries[n_entries - 1].seq - entries[n_entries - 1].batch_index;
	uint32		i = n_entries - 1;

	while (i > 0 && entries[i - 1].seq >= first_seq)
		i--;
	return i;
}

static bool
last_batch_complete(uint32 first)
{
	const Entry *last = &entries[n_entries - 1];

	return (last->flags & RECORD_LAST) && last->batch_index + 1 == n_entries - first;
}

/*
 * The last batch is torn when the server stopped while it was written. Its
 * whole records are wiped, lest they be taken for part of a later batch.
 */
static bool
wipe_torn_batch(int fd)
{
	static const char zeros[sizeof(RecordHeader)] = {0};
	uint32		first;

	if (n_entries == 0)
		return true;
	first = first_of_last_batch();
	if (last_batch_complete(first))
		return true;

	ereport(LOG,
			(errmsg("file \"%s\" ends with an incomplete batch of records, which is left out", JOURNAL_FILE)));
	for (uint32 i = first; i < n_entries; i++)
		if (!write_at(fd, zeros, sizeof(zeros), place_of(entries[i].position)))
			return false;
	n_entries = first;
	return pg_fdatasync(fd) == 0;
}

/* Keep the unbroken run at the end, from the last rebase on. */
static void
find_live(void)
{
	uint32		first = n_entries;

	while (first > 0)
	{
		const Entry *entry = &entries[first - 1];

		if (first < n_entries && entry->seq + 1 != entries[first].seq)
			break;
		first--;
		if ((entry->flags & RECORD_REBASE) && entry->batch_index == 0)
			break;
	}
	forget_first(first);
	if (n_entries > 0)
	{
		const Entry *last = &entries[n_entries - 1];

		last_seq = last->seq;
		head = last->position + record_size(last->length);
	}
}

static bool
same_server(const JournalHeader *header)
{
	JournalHeader mine;

	fill_identity(&mine);
	return memcmp(header, &mine, sizeof(mine)) == 0;
}

/* Put a file that is not ours out of the way; one such file is kept. */
static bool
set_aside(bool damaged, char **why_not)
{
	ereport(LOG,
			(damaged ? errmsg("file \"%s\" is damaged and is kept as \"%s\"", JOURNAL_FILE, JOURNAL_FOREIGN)
			 : errmsg("file \"%s\" belongs to another server or timeline and is kept as \"%s\"", JOURNAL_FILE, JOURNAL_FOREIGN),
			 errdetail("What it says is not resumed.")));
	if (durable_rename(JOURNAL_FILE, JOURNAL_FOREIGN, LOG) == 0)
		return true;
	*why_not = describe_failure("rename");
	return false;
}

/* Open the file if it is ours; *fd stays -1 when there is none (any more). */
static bool
open_existing(int *fd, bool *foreign, char **why_not)
{
	JournalHeader header;
	struct stat st;
	bool		damaged;

	*fd = BasicOpenFile(JOURNAL_FILE, O_RDWR | PG_BINARY);
	if (*fd < 0)
	{
		if (errno == ENOENT)
			return true;
		*why_not = describe_failure("open");
		return false;
	}

	memset(&header, 0, sizeof(header));
	if (fstat(*fd, &st) != 0 ||
		(st.st_size >= (off_t) sizeof(header) && !read_at(*fd, (char *) &header, sizeof(header), 0)))
	{
		*why_not = describe_failure("read");
		close(*fd);
		*fd = -1;
		return false;
	}
	if (st.st_size == JOURNAL_BYTES && same_server(&header))
		return true;

	close(*fd);
	*fd = -1;
	damaged = st.st_size != JOURNAL_BYTES || header.magic != JOURNAL_MAGIC;
	*foreign = !damaged;
	return set_aside(damaged, why_not);
}

static void
reset_state(void)
{
	if (journal_cxt == NULL)
		journal_cxt = AllocSetContextCreate(TopMemoryContext, "pg_heal journal", ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(journal_cxt);
	entries = NULL;
	n_entries = max_entries = 0;
	last_seq = head = 0;
}

/*
 * Open the journal, or make one. False, with the reason, when there is none to
 * write to: then nothing may be done that would have to be written down first.
 */
bool
journal_open(bool *foreign, char **why_not)
{
	int			fd;
	MemoryContext work;
	MemoryContext old;
	bool		ok;

	*foreign = false;
	*why_not = NULL;
	journal_close();

	if (MakePGDirectory(JOURNAL_DIRECTORY) < 0 && errno != EEXIST)
	{
		*why_not = psprintf("could not create directory \"%s\": %s", JOURNAL_DIRECTORY, strerror(errno));
		return false;
	}
	if (!open_existing(&fd, foreign, why_not))
		return false;
	if (fd < 0)
	{
		if (!create_file(why_not))
			return false;
		fd = BasicOpenFile(JOURNAL_FILE, O_RDWR | PG_BINARY);
		if (fd < 0)
		{
			*why_not = describe_failure("open");
			return false;
		}
	}
	/* From here on an error closes it with the journal. */
	journal_fd = fd;
	ReserveExternalFD();

	reset_state();
	work = AllocSetContextCreate(CurrentMemoryContext, "pg_heal journal scan", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(work);
	ok = scan_ring(fd);
	if (ok)
	{
		qsort(entries, n_entries, sizeof(Entry), compare_seq);
		ok = wipe_torn_batch(fd);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);

	if (!ok)
	{
		*why_not = describe_failure("read");
		journal_close();
		return false;
	}
	find_live();
	return true;
}

void
journal_close(void)
{
	if (journal_fd < 0)
		return;
	(void) close(journal_fd);
	journal_fd = -1;
	ReleaseExternalFD();
}

int64
journal_bytes(void)
{
	return journal_fd >= 0 ? JOURNAL_BYTES : 0;
}

/*---- Appending ----*/

/* Bytes from the oldest live record to position. */
static uint64
live_span(uint64 position)
{
	return n_entries == 0 ? 0 : position - entries[0].position;
}

/* A batch being put together: records with their places, text one after another. */
typedef struct Batch
{
	Entry	   *entries;
	const char **texts;
	uint32		n;
	uint64		end;			/* logical position behind it */
} Batch;

static void
batch_start(Batch *batch, uint32 max)
{
	batch->entries = palloc0(sizeof(Entry) * Max(max, 1));
	batch->texts = palloc0(sizeof(char *) * Max(max, 1));
	batch->n = 0;
	batch->end = head;
}

static void
batch_add(Batch *batch, uint16 table, int64 id, const char *text, uint32 length, uint16 flags)
{
	Entry	   *entry = &batch->entries[batch->n];

	entry->seq = last_seq + 1 + batch->n;
	entry->position = place_record(batch->end, record_size(length));
	entry->id = id;
	entry->length = length;
	entry->batch_index = batch->n;
	entry->table = table;
	entry->flags = flags;
	batch->texts[batch->n] = text;
	batch->end = entry->position + record_size(length);
	batch->n++;
}

/* The record as it stands in the file. */
static void
put_record(StringInfo out, const Entry *entry, const char *text)
{
	static const char zeros[8] = {0};
	RecordHeader header = {0};

	header.magic = RECORD_MAGIC;
	header.seq = entry->seq;
	header.position = entry->position;
	header.id = entry->id;
	header.length = entry->length;
	header.batch_index = entry->batch_index;
	header.table = entry->table;
	header.flags = entry->flags;
	header.crc = record_crc(&header, text);
	appendBinaryStringInfo(out, (const char *) &header, sizeof(header));
	appendBinaryStringInfo(out, text, entry->length);
	appendBinaryStringInfo(out, zeros,
						   record_size(entry->length) - sizeof(header) - entry->length);
}

/* Write the batch, in one write for each unbroken stretch, and sync it. */
static bool
batch_write(Batch *batch)
{
	StringInfoData out;
	uint64		start = 0;
	bool		ok = true;

	if (batch->n == 0)
		return true;
	batch->entries[batch->n - 1].flags |= RECORD_LAST;

	initStringInfo(&out);
	for (uint32 i = 0; i < batch->n && ok; i++)
	{
		const Entry *entry = &batch->entries[i];

		if (out.len > 0 && (place_of(entry->position) != place_of(start) + out.len || out.len > CHUNK_BYTES))
		{
			ok = write_at(journal_fd, out.data, out.len, place_of(start));
			resetStringInfo(&out);
		}
		if (out.len == 0)
			start = entry->position;
		put_record(&out, entry, batch->texts[i]);
	}
	ok = ok && write_at(journal_fd, out.data, out.len, place_of(start));
	pfree(out.data);

	if (ok)
	{
		pgstat_report_wait_start(PG_WAIT_EXTENSION);
		ok = pg_fdatasync(journal_fd) == 0;
		pgstat_report_wait_end();
	}
	return ok;
}

/* The batch is on disk: its records are live. */
static void
batch_accept(const Batch *batch)
{
	for (uint32 i = 0; i < batch->n; i++)
	{
		RecordHeader header = {0};
		const Entry *entry = &batch->entries[i];

		header.seq = entry->seq;
		header.position = entry->position;
		header.id = entry->id;
		header.length = entry->length;
		header.batch_index = entry->batch_index;
		header.table = entry->table;
		header.flags = entry->flags;
		remember_entry(&header);
	}
	last_seq += batch->n;
	head = batch->end;
}

/* Text of a live record, palloc'd and NUL-terminated; NULL when it cannot be read. */
static char *
read_text(const Entry *entry)
{
	char	   *text = palloc(entry->length + 1);

	if (!read_at(journal_fd, text, entry->length, place_of(entry->position) + sizeof(RecordHeader)))
		return NULL;
	text[entry->length] = '\0';
	return text;
}

/*---- Making room ----*/

static int
compare_row(const void *a, const void *b)
{
	const Entry *left = *(const Entry *const *) a;
	const Entry *right = *(const Entry *const *) b;

	if (left->table != right->table)
		return left->table < right->table ? -1 : 1;
	if (left->id != right->id)
		return left->id < right->id ? -1 : 1;
	return left->seq < right->seq ? -1 : 1;
}

/* Mark the newest image of every row; returns their bytes. */
static uint64
mark_newest(void)
{
	Entry	  **rows = palloc_extended(sizeof(Entry *) * Max(n_entries, 1), MCXT_ALLOC_HUGE);
	uint64		bytes = 0;

	for (uint32 i = 0; i < n_entries; i++)
		rows[i] = &entries[i];
	qsort(rows, n_entries, sizeof(Entry *), compare_row);
	for (uint32 i = 0; i < n_entries; i++)
	{
		Entry	   *entry = rows[i];

		/* Audit ids may be given anew by the table: each row stands for itself. */
		entry->keep = entry->table == HC_T_AUDIT || i + 1 == n_entries ||
			rows[i + 1]->table != entry->table || rows[i + 1]->id != entry->id;
		if (entry->keep)
			bytes += record_size(entry->length);
	}
	pfree(rows);
	return bytes;
}

/* Leave out the oldest rows of a table until no more than allowed is kept. */
static uint64
drop_oldest(hc_table_kind table, uint64 bytes, uint64 allowed)
{
	for (uint32 i = 0; i < n_entries && bytes > allowed; i++)
	{
		if (!entries[i].keep || entries[i].table != table)
			continue;
		entries[i].keep = false;
		bytes -= record_size(entries[i].length);
		dropped++;
	}
	return bytes;
}

/* Write what is marked anew; everything older is dead then. */
static bool
rewrite_marked(void)
{
	Batch		batch;
	uint32		old_entries = n_entries;

	batch_start(&batch, n_entries);
	for (uint32 i = 0; i < n_entries; i++)
	{
		char	   *text;

		if (!entries[i].keep)
			continue;
		text = read_text(&entries[i]);
		if (text == NULL)
			return false;
		batch_add(&batch, entries[i].table, entries[i].id, text, entries[i].length, RECORD_REBASE);
	}
	if (live_span(batch.end) > RING_BYTES)
	{
		errno = ENOSPC;
		return false;
	}
	if (!batch_write(&batch))
		return false;
	batch_accept(&batch);
	forget_first(old_entries);
	return true;
}

/* Make room for so many bytes. */
static bool
make_room(uint64 needed)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "pg_heal journal rebase", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(work);
	uint64		allowed;
	uint64		bytes;
	bool		ok;

	allowed = needed + REBASE_SLACK < LIVE_LIMIT ? LIVE_LIMIT - needed - REBASE_SLACK : 0;
	bytes = mark_newest();
	if (bytes > allowed)
	{
		bytes = drop_oldest(HC_T_ANOMALIES, bytes, allowed);
		bytes = drop_oldest(HC_T_PREDICTIONS, bytes, allowed);
		bytes = drop_oldest(HC_T_TRANSITIONS, bytes, allowed);
		if (!drop_said)
			ereport(WARNING,
					(errcode(ERRCODE_DISK_FULL),
					 errmsg("file \"%s\" is full, and the oldest anomalies, predictions and transitions in it are left out", JOURNAL_FILE),
					 errdetail("So far " UINT64_FORMAT " have not reached the tables of pg_heal.", dropped),
					 errhint("Find out why the tables in schema heal cannot be written; see the server log.")));
		drop_said = true;
	}
	if (bytes <= allowed)
		ok = rewrite_marked();
	else
	{
		errno = ENOSPC;
		ok = false;
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);
	return ok;
}

static bool
append_batch(const hc_record *records, uint32 n)
{
	Batch		batch;
	uint64		needed = 0;

	for (uint32 i = 0; i < n; i++)
	{
		Size		length = strlen(records[i].json);

		if (length > RECORD_LIMIT - sizeof(RecordHeader))
		{
			errno = EFBIG;
			return false;
		}
		needed += record_size(length);
	}
	if (live_span(head) + needed > LIVE_LIMIT && n_entries > 0 && !make_room(needed))
		return false;

	batch_start(&batch, n);
	for (uint32 i = 0; i < n; i++)
		batch_add(&batch, records[i].table, records[i].id, records[i].json, strlen(records[i].json), 0);

	/* Also true without any live record: a batch must not overtake itself. */
	if (batch.end - (n_entries > 0 ? entries[0].position : batch.entries[0].position) > RING_BYTES)
	{
		errno = ENOSPC;
		return false;
	}
	if (!batch_write(&batch))
		return false;
	batch_accept(&batch);
	pfree(batch.entries);
	pfree(batch.texts);
	return true;
}

/*
 * Make records durable, all or none. Returns the sequence number of the last
 * one, the others have those before it; 0 when they could not be written: then
 * the journal is closed and nothing may be done that relies on them. With n = 0
 * returns the newest sequence number there is.
 */
uint64
journal_append(const hc_record *records, uint32 n)
{
	if (n == 0)
		return last_seq;
	if (journal_fd < 0)
		return 0;

	if (!append_batch(records, n))
	{
		ereport(WARNING,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", JOURNAL_FILE),
				 errdetail("pg_heal only observes until it can write down what it does.")));
		journal_close();
		return 0;
	}
	return last_seq;
}

/*---- Reading back ----*/

/*
 * Live records after applied_seq, oldest first, about a megabyte at most: call
 * again with the last one's number until there are none. Texts are palloc'd.
 */
uint32
journal_read_after(uint64 applied_seq, HealJournalRecord **records)
{
	uint32		first = 0;
	uint32		n = 0;
	uint64		bytes = 0;

	*records = NULL;
	if (journal_fd < 0)
		return 0;

	while (first < n_entries && entries[first].seq <= applied_seq)
		first++;
	while (first + n < n_entries && (n == 0 || bytes < READ_BYTES))
		bytes += entries[first + n++].length;
	if (n == 0)
		return 0;

	*records = palloc(sizeof(HealJournalRecord) * n);
	for (uint32 i = 0; i < n; i++)
	{
		const Entry *entry = &entries[first + i];
		HealJournalRecord *record = &(*records)[i];

		record->seq = entry->seq;
		record->record.table = entry->table;
		record->record.id = entry->id;
		record->record.json = read_text(entry);
		if (record->record.json == NULL)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not read file \"%s\": %m", JOURNAL_FILE)));
	}
	return n;
}

/* Records up to seq are in the tables: their space may be used again. */
void
journal_mark_applied(uint64 seq)
{
	uint32		n = 0;

	while (n < n_entries && entries[n].seq <= seq)
		n++;
	if (n > 0)
		forget_first(n);

	/* The tables know more than a new file: go on counting after them. */
	last_seq = Max(last_seq, seq);
}
