/*
 * Owns what the fuzzing drivers of the guest's C parts share: a repeatable source of random numbers.
 */
#ifndef VMRM_GUEST_FUZZ_H
#define VMRM_GUEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct random {
	uint64_t state;
};

static inline uint64_t random_next(struct random *random)
{
	/* xorshift64* */
	random->state ^= random->state >> 12;
	random->state ^= random->state << 25;
	random->state ^= random->state >> 27;
	return random->state * 0x2545f4914f6cdd1dull;
}

static inline size_t random_below(struct random *random, size_t bound)
{
	return bound == 0 ? 0 : (size_t)(random_next(random) >> 16) % bound;
}

/* Ends the program with the seed when a promise is broken. */
#define PROMISE(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "broken at %s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

/* Arguments: SEED MILLISECONDS */
struct run {
	uint64_t seed;
	int64_t until_ms;
	unsigned long rounds;
};

static inline int64_t run_now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline struct run run_start(int argc, char **argv)
{
	struct run run = {.seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1};
	run.until_ms = run_now_ms() + (argc > 2 ? atoi(argv[2]) : 1000);
	return run;
}

/* A source for the next round, its own seed told if the round fails; false: time is up (after one round at least). */
static inline int run_next(struct run *run, struct random *random)
{
	if (run->rounds > 0 && run_now_ms() >= run->until_ms)
		return 0;
	random->state = (run->seed + run->rounds++) * 0x9e3779b97f4a7c15ull + 1;
	return 1;
}

#endif
