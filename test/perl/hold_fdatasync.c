/*
 * Preloaded into a server under test: while the file named by HOLD_JOURNAL
 * exists, pg_heal waits before the start of a recovery attempt is durable in
 * its journal, that is, between a decision and its action. A second file,
 * HOLD_JOURNAL.reached, appears when it waits.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define JOURNAL "/pg_heal/journal"
#define ATTEMPT_STARTED "\"state\":\"started\""

static int	attempt_started = 0;

static int
is_journal(int fd)
{
	char		link[64];
	char		path[PATH_MAX];
	ssize_t		n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < (ssize_t) strlen(JOURNAL))
		return 0;
	path[n] = '\0';
	return strcmp(path + n - strlen(JOURNAL), JOURNAL) == 0;
}

static void
hold(const char *file)
{
	char		reached[PATH_MAX];

	if (access(file, F_OK) != 0)
		return;
	snprintf(reached, sizeof(reached), "%s.reached", file);
	close(open(reached, O_CREAT | O_WRONLY, 0600));
	while (access(file, F_OK) == 0)
		usleep(1000);
}

ssize_t
pwrite(int fd, const void *buffer, size_t size, off_t offset)
{
	if (memmem(buffer, size, ATTEMPT_STARTED, strlen(ATTEMPT_STARTED)) != NULL && is_journal(fd))
		attempt_started = 1;
	return syscall(SYS_pwrite64, fd, buffer, size, offset);
}

ssize_t
pwrite64(int fd, const void *buffer, size_t size, off64_t offset)
{
	return pwrite(fd, buffer, size, offset);
}

int
fdatasync(int fd)
{
	const char *file = getenv("HOLD_JOURNAL");

	if (file != NULL && attempt_started && is_journal(fd))
	{
		attempt_started = 0;
		hold(file);
	}
	return (int) syscall(SYS_fdatasync, fd);
}
