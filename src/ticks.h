/*-------------------------------------------------------------------------
 *
 * ticks.h
 *	  A stopwatch for every statement.
 *
 * clock_gettime() waits until the processor has finished all that was before
 * it, which costs a short statement more than everything else the executor
 * hooks do (0.15 us of 0.20). Where the kernel itself keeps time by the time
 * stamp counter, that is, where it vouches for a constant rate and for all CPUs
 * agreeing, the counter is read directly and without waiting (0.04 us). A
 * statement may so be measured some ten nanoseconds short or long.
 *
 * A tick is of the counter or, elsewhere, a nanosecond of the monotonic clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef HEAL_TICKS_H
#define HEAL_TICKS_H

#include "postgres.h"

#include <time.h>

#if defined(__x86_64__) && defined(__linux__)
#include <x86intrin.h>
#define HEAL_HAVE_TSC
#endif

/*
 * What a tick is: nanoseconds in units of 2^-32, or 0 for the clock. One
 * multiplication then makes nanoseconds of a time up to a century.
 */
typedef uint64 TickRate;

static inline uint64
ticks_now(TickRate rate)
{
	struct timespec t;

#ifdef HEAL_HAVE_TSC
	if (likely(rate != 0))
		return __rdtsc();
#endif
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64) t.tv_sec * UINT64CONST(1000000000) + t.tv_nsec;
}

/* Nanoseconds between two readings; 0 if the second is the earlier. */
static inline uint64
ticks_ns(TickRate rate, uint64 from, uint64 to)
{
	if (unlikely((int64) (to - from) <= 0))
		return 0;
#ifdef HEAL_HAVE_TSC
	if (likely(rate != 0))
		return (uint64) (((unsigned __int128) (to - from) * rate) >> 32);
#endif
	return to - from;
}

/* ticks.c */
extern TickRate ticks_calibrate(void);	/* in the postmaster, 2 ms */
extern bool ticks_astray(void);		/* the counter, against the clock */

#endif							/* HEAL_TICKS_H */
