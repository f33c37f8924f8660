/*-------------------------------------------------------------------------
 *
 * ticks.c
 *	  Whether the time stamp counter can be trusted, and its rate.
 *
 * The rate is measured against the monotonic clock once, when shared memory is
 * set up. A virtual machine may move to a host where it is another: the healer
 * compares now and then, and when the two no longer agree all backends go back
 * to the clock (see hooks.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "ticks.h"

#define CLOCKSOURCE "/sys/devices/system/clocksource/clocksource0/current_clocksource"

/* Long enough for a rate good to some 50 parts per million. */
#define CALIBRATION_NS 2000000

/* Disagreement that matters, and the least time it can be measured over. */
#define ASTRAY_SHARE 0.005
#define ASTRAY_LEAST_NS UINT64CONST(10000000000)

static TickRate tsc_rate = 0;	/* inherited by fork, as are these */
static uint64 first_tsc = 0;
static uint64 first_ns = 0;

#ifdef HEAL_HAVE_TSC

/* What the kernel trusts. */
static bool
kernel_uses_tsc(void)
{
	char		name[4];
	int			fd = open(CLOCKSOURCE, O_RDONLY | O_CLOEXEC);
	ssize_t		n;

	if (fd < 0)
		return false;
	n = read(fd, name, sizeof(name));
	close(fd);
	return n == sizeof(name) && memcmp(name, "tsc\n", sizeof(name)) == 0;
}

/* One moment in both times; the best of some tries, for one may be interrupted. */
static void
read_both(uint64 *tsc, uint64 *ns)
{
	uint64		least = PG_UINT64_MAX;

	for (int i = 0; i < 5; i++)
	{
		uint64		before = ticks_now(1);
		uint64		clock = ticks_now(0);
		uint64		after = ticks_now(1);

		if (after - before >= least)
			continue;
		least = after - before;
		*tsc = before + least / 2;
		*ns = clock;
	}
}

TickRate
ticks_calibrate(void)
{
	uint64		tsc;
	uint64		ns;

	tsc_rate = 0;
	if (!kernel_uses_tsc())
		return tsc_rate;
	read_both(&first_tsc, &first_ns);
	do
		read_both(&tsc, &ns);
	while (ns - first_ns < CALIBRATION_NS);
	if (tsc > first_tsc)
		tsc_rate = ((ns - first_ns) << 32) / (tsc - first_tsc);
	return tsc_rate;
}

bool
ticks_astray(void)
{
	uint64		tsc;
	uint64		ns;
	double		share;

	if (tsc_rate == 0)
		return false;
	if (!kernel_uses_tsc())
		return true;
	read_both(&tsc, &ns);
	if (ns - first_ns < ASTRAY_LEAST_NS)
		return false;
	share = (double) ticks_ns(tsc_rate, first_tsc, tsc) / (double) (ns - first_ns);
	return share < 1 - ASTRAY_SHARE || share > 1 + ASTRAY_SHARE;
}

#else

TickRate
ticks_calibrate(void)
{
	return 0;
}

bool
ticks_astray(void)
{
	return false;
}

#endif
