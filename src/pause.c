/*-------------------------------------------------------------------------
 *
 * pause.c
 *	  heal_pause() and heal_resume() survive a restart.
 *
 * A small file in the data directory says whether the healer is paused. It is
 * written in place, so that pausing works when tables cannot be written; a
 * damaged one counts as a pause, because observing is what harms nobody.
 *
 *-------------------------------------------------------------------------
 */
#include "pg_heal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "mb/pg_wchar.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"

#define PAUSE_DIRECTORY "pg_heal"
#define PAUSE_FILE PAUSE_DIRECTORY "/paused"
#define PAUSE_MAGIC 0x50414548

typedef struct PauseFile
{
	uint32		magic;
	uint32		paused;
	char		reason[HEAL_TEXT];
	pg_crc32c	crc;			/* of all before */
} PauseFile;

/* Only this process changes it. */
bool
pause_is_on(void)
{
	return heal_shared->paused;
}

static pg_crc32c
pause_crc(const PauseFile *file)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, file, offsetof(PauseFile, crc));
	FIN_CRC32C(crc);
	return crc;
}

/* One write of less than a sector: it is there as a whole or not at all. */
static bool
pause_write(bool on, const char *reason)
{
	PauseFile	file;
	int			fd;
	bool		ok;

	memset(&file, 0, sizeof(file));
	file.magic = PAUSE_MAGIC;
	file.paused = on;
	strlcpy(file.reason, reason, sizeof(file.reason));
	file.crc = pause_crc(&file);

	if (MakePGDirectory(PAUSE_DIRECTORY) < 0 && errno != EEXIST)
		return false;
	fd = BasicOpenFile(PAUSE_FILE, O_RDWR | O_CREAT | PG_BINARY);
	if (fd < 0)
		return false;
	ok = pg_pwrite(fd, (const char *) &file, sizeof(file), 0) == sizeof(file) && pg_fsync(fd) == 0;
	if (close(fd) != 0)
		ok = false;
	return ok;
}

static void
publish_pause(bool on, const char *reason)
{
	LWLockAcquire(heal_shared->lock, LW_EXCLUSIVE);
	heal_shared->paused = on;
	strlcpy(heal_shared->pause_reason, reason, HEAL_TEXT);
	LWLockRelease(heal_shared->lock);
}

/* A pause survives a restart; a file that cannot be understood counts as one. */
void
pause_load(void)
{
	PauseFile	file;
	int			fd = BasicOpenFile(PAUSE_FILE, O_RDONLY | PG_BINARY);
	ssize_t		n;

	if (fd < 0 && errno == ENOENT)
	{
		/* Take the space now, while there is some. */
		if (!pause_write(false, ""))
			ereport(WARNING,
					(errcode_for_file_access(),
					 errmsg("could not write file \"%s\": %m", PAUSE_FILE)));
		publish_pause(false, "");
		return;
	}

	memset(&file, 0, sizeof(file));
	n = fd < 0 ? -1 : pg_pread(fd, (char *) &file, sizeof(file), 0);
	if (fd >= 0)
		close(fd);
	if (n == sizeof(file) && file.magic == PAUSE_MAGIC && file.crc == pause_crc(&file))
	{
		publish_pause(file.paused != 0, file.reason);
		return;
	}
	ereport(WARNING,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("could not read file \"%s\", and pg_heal is paused", PAUSE_FILE),
			 errhint("Run heal_resume() to let pg_heal act again.")));
	publish_pause(true, "the file that keeps the pause is damaged");
}

/* What heal_pause() or heal_resume() left behind; before it is answered. */
void
pause_follow(bool on, const hc_observation *obs)
{
	const char *reason = "";
	char		cut[HEAL_TEXT];

	if (on == pause_is_on())
		return;
	for (uint32 i = 0; on && i < obs->n_requests; i++)
		if (obs->requests[i].kind == HC_REQ_PAUSE)
			reason = obs->requests[i].text;
	strlcpy(cut, reason, pg_mbcliplen(reason, strlen(reason), sizeof(cut) - 1) + 1);

	publish_pause(on, cut);
	if (!pause_write(on, cut))
		ereport(WARNING,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", PAUSE_FILE),
				 errdetail("After a restart pg_heal will %s.", on ? "not be paused any more" : "be paused again")));
}
