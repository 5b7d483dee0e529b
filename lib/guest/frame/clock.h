/*
 * Owns the agent's notion of elapsed time: milliseconds that stand still while the VM does.
 * Must never be confused with the time of day, which IDENTITY and CLOCK set.
 */
#ifndef VMRM_CLOCK_H
#define VMRM_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline void pause_ms(long ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	nanosleep(&t, NULL);
}

#endif
