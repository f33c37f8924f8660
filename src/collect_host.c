/*-------------------------------------------------------------------------
 *
 * collect_host.c
 *	  The machine under the server: CPU, memory, disk, and the backends' share.
 *
 * Read from /proc and /sys. Inside a container the limits of its control group
 * count, for it is there that the server will be killed. What this system does
 * not have stays NaN; that is looked up once and not tried in every tick.
 *
 * Memory of backends is that which a process has to itself (resident less
 * shared). Reading it costs a few microseconds for each, so that a few backends
 * are read at a time, in turn, and the largest of a whole round is shown.
 *
 *-------------------------------------------------------------------------
 */
#include "pg_heal.h"

#include <ctype.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/proc.h"

#define READ_BYTES 8192
#define SECTOR_BYTES 512
#define BACKENDS_AT_A_TIME 16

/* A reading costs about half a millisecond of CPU. */
#define READING_INTERVAL_US (10 * INT64CONST(1000000) - 500000)

/* The control group that limits this process, where there is version 2 of them. */
#define CGROUP "/sys/fs/cgroup"

/*---- Reading ----*/

/* A short file as a whole; false when it cannot be read. */
static bool
read_file(const char *path, char *text, size_t size)
{
	int			fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t		n;

	if (fd < 0)
		return false;
	n = read(fd, text, size - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	return true;
}

/* The number behind a label at the start of a line; NAN when it is not there. */
static double
labelled(const char *text, const char *label)
{
	const size_t len = strlen(label);

	for (const char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n'))
	{
		if (*line == '\n')
			line++;
		if (strncmp(line, label, len) == 0)
			return strtod(line + len, NULL);
	}
	return NAN;
}

/*---- CPU ----*/

typedef struct CpuTimes
{
	unsigned long long user,
				nice,
				system,
				idle,
				iowait,
				irq,
				softirq,
				steal;
} CpuTimes;

/* Shares since the previous call. */
static void
collect_cpu(double *metrics)
{
	static CpuTimes before;
	static bool has_before = false;
	CpuTimes	now;
	char		text[READ_BYTES];
	double		total;

	if (!read_file("/proc/stat", text, sizeof(text)) ||
		sscanf(text, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &now.user, &now.nice, &now.system,
			   &now.idle, &now.iowait, &now.irq, &now.softirq, &now.steal) != 8)
		return;

	total = (double) (now.user + now.nice + now.system + now.idle + now.iowait + now.irq + now.softirq + now.steal) -
		(double) (before.user + before.nice + before.system + before.idle + before.iowait + before.irq + before.softirq + before.steal);
	/* The kernel lets idle and iowait fall a little now and then. */
	if (has_before && total > 0 && now.idle >= before.idle && now.iowait >= before.iowait)
	{
		metrics[HC_M_HOST_CPU_IOWAIT] = (now.iowait - before.iowait) / total;
		metrics[HC_M_HOST_CPU_USED] = 1 - (now.idle - before.idle + now.iowait - before.iowait) / total;
	}
	before = now;
	has_before = true;
}

/*---- Memory ----*/

/* Bytes of memory and how many of them are free, within the control group's limit. */
static void
limit_by_cgroup(double *total, double *available)
{
	char		text[READ_BYTES];
	double		limit;
	double		used;

	if (!read_file(CGROUP "/memory.max", text, sizeof(text)) || !isdigit((unsigned char) text[0]))
		return;
	limit = strtod(text, NULL);
	if (!read_file(CGROUP "/memory.current", text, sizeof(text)))
		return;
	used = strtod(text, NULL);
	/* Cached files that nobody used lately are given up first. */
	if (read_file(CGROUP "/memory.stat", text, sizeof(text)))
	{
		double		inactive = labelled(text, "inactive_file ");

		if (!isnan(inactive))
			used -= inactive;
	}
	*total = Min(*total, limit);
	*available = Min(*available, Max(limit - used, 0));
}

static void
collect_memory(double *metrics)
{
	char		text[READ_BYTES];
	double		total;
	double		available;

	if (!read_file("/proc/meminfo", text, sizeof(text)))
		return;
	total = labelled(text, "MemTotal:") * 1024;
	available = labelled(text, "MemAvailable:") * 1024;
	if (isnan(total) || isnan(available) || total <= 0)
		return;
	limit_by_cgroup(&total, &available);
	metrics[HC_M_HOST_MEMORY_AVAILABLE] = available;
	metrics[HC_M_HOST_MEMORY_USED] = 1 - available / total;
	metrics[HC_M_HOST_SWAP_USED] = (labelled(text, "SwapTotal:") - labelled(text, "SwapFree:")) * 1024;
}

/* Time somebody could not go on for want of memory. */
static void
collect_pressure(double *metrics)
{
	char		text[256];
	const char *total;

	if (read_file("/proc/pressure/memory", text, sizeof(text)) && (total = strstr(text, "total=")) != NULL)
		metrics[HC_M_HOST_MEMORY_STALL] = strtod(total + strlen("total="), NULL) / 1000;
}

/*---- Disk ----*/

/* The statistics of the device under the data directory; "" where it has none. */
static const char *
device_statistics(void)
{
	static char path[64];
	static bool looked_up = false;
	struct stat st;

	if (!looked_up && stat(DataDir, &st) == 0)
	{
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/stat", major(st.st_dev), minor(st.st_dev));
		if (access(path, R_OK) != 0)
			path[0] = '\0';
		looked_up = true;
	}
	return path;
}

static void
collect_disk(double *metrics)
{
	const char *path = device_statistics();
	char		text[512];
	unsigned long long sectors_read,
				sectors_written,
				busy_ms;

	if (path[0] == '\0' || !read_file(path, text, sizeof(text)) ||
		sscanf(text, "%*u %*u %llu %*u %*u %*u %llu %*u %*u %llu", &sectors_read, &sectors_written, &busy_ms) != 3)
		return;
	metrics[HC_M_DISK_READ] = (double) sectors_read * SECTOR_BYTES;
	metrics[HC_M_DISK_WRITTEN] = (double) sectors_written * SECTOR_BYTES;
	metrics[HC_M_DISK_BUSY] = (double) busy_ms;
}

/*---- Backends ----*/

/* Bytes a process has to itself; 0 when it has gone, or there is no /proc. */
double
host_own_memory(int pid)
{
	char		path[32];
	char		text[128];
	unsigned long long resident,
				shared;

	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	if (!read_file(path, text, sizeof(text)) ||
		sscanf(text, "%*u %llu %llu", &resident, &shared) != 2 || shared > resident)
		return 0;
	return (double) (resident - shared) * sysconf(_SC_PAGESIZE);
}

/* The next few of all processes that run statements; shows what a round found. */
static void
collect_backends(double *metrics)
{
	static uint32 next = 0;
	static double largest = 0;	/* of the round under way */
	static double total = 0;
	static double shown_largest = NAN;
	static double shown_total = NAN;
	int			read = 0;

	for (uint32 seen = 0; seen < (uint32) MaxBackends && read < BACKENDS_AT_A_TIME; seen++)
	{
		/* Without the lock: a wrong pid at worst reads another process's size. */
		int			pid = *((volatile int *) &ProcGlobal->allProcs[next].pid);

		if (pid != 0)
		{
			double		bytes = host_own_memory(pid);

			largest = Max(largest, bytes);
			total += bytes;
			read++;
		}
		if (++next < (uint32) MaxBackends)
			continue;
		shown_largest = largest;
		shown_total = total;
		largest = total = 0;
		next = 0;
	}
	metrics[HC_M_BACKEND_MEMORY_LARGEST] = shown_largest;
	metrics[HC_M_BACKEND_MEMORY] = shown_total;
}

/*
 * Shares and rounds belong to whole intervals: full ticks only. Between two
 * readings gauges stay as they are; counters are not known, which their rates
 * can bear, while an old one would look like standstill.
 */
void
collect_host(double *metrics)
{
	static const hc_metric_id gauges[] = {
		HC_M_HOST_CPU_USED, HC_M_HOST_CPU_IOWAIT, HC_M_HOST_MEMORY_USED, HC_M_HOST_MEMORY_AVAILABLE,
		HC_M_HOST_SWAP_USED, HC_M_BACKEND_MEMORY, HC_M_BACKEND_MEMORY_LARGEST,
	};
	static double kept[lengthof(gauges)];
	static TimestampTz next_reading = 0;
	TimestampTz now = GetCurrentTimestamp();

	/* The second condition: the clock was set back. */
	if (now < next_reading && next_reading - now <= READING_INTERVAL_US)
	{
		for (int i = 0; i < lengthof(gauges); i++)
			metrics[gauges[i]] = kept[i];
		return;
	}
	next_reading = now + READING_INTERVAL_US;

	collect_cpu(metrics);
	collect_memory(metrics);
	collect_pressure(metrics);
	collect_disk(metrics);
	collect_backends(metrics);
	for (int i = 0; i < lengthof(gauges); i++)
		kept[i] = metrics[gauges[i]];
}
