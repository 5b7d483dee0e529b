/*
 * Owns the steps of that, and how long one waits for a guest to come to rest.
 * Must never fail over a guest that is merely busy: its clones are then no worse than it is.
 */
#include "template.h"

#include "clock.h"
#include "identity_uuid.h"
#include "log.h"
#include "nfs_modules.h"

#include <stdio.h>
#include <unistd.h>

/* So long a guest does next to nothing before its boot counts as over; services start each other within less. */
#define REST_MS 1500
#define LOOK_MS 250
/* Of all CPUs' time; the rest is what a guest does that waits for work. */
#define IDLE_PERCENT 90

struct cpu_time {
	unsigned long long idle, all;
};

static bool read_cpu_time(struct cpu_time *time)
{
	unsigned long long part[8] = {0};
	FILE *file = fopen("/proc/stat", "re");
	bool done = file != NULL && fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &part[0], &part[1], &part[2], &part[3], &part[4],
		&part[5], &part[6], &part[7]) >= 4;
	if (file != NULL)
		fclose(file);
	/* The fourth is idle; the fifth waits for a disk and is at work. */
	*time = (struct cpu_time){.idle = part[3]};
	for (int i = 0; i < 8; i++)
		time->all += part[i];
	return done;
}

/* Until what the boot has started is done. The agent answers early in it. */
static void await_rest(uint32_t wait_ms)
{
	struct cpu_time before, now;
	int64_t deadline = now_ms() + wait_ms, rests_since = now_ms();
	if (!read_cpu_time(&before))
		return;
	while (now_ms() < deadline && now_ms() - rests_since < REST_MS) {
		pause_ms(LOOK_MS);
		if (!read_cpu_time(&now))
			return;
		if ((now.idle - before.idle) * 100 < (now.all - before.all) * IDLE_PERCENT)
			rests_since = now_ms();
		before = now;
	}
	if (now_ms() >= deadline)
		agent_log("the guest has not come to rest within %u ms; it is a template all the same\n", wait_ms);
}

void template_prepare(const void *subject, struct work_answer *answer)
{
	int64_t began_ms = now_ms();
	/* Most jobs mount their home, and no clone should load that for itself. */
	nfs_load_modules();
	await_rest(*(const uint32_t *)subject);
	uuid_prepare();
	int64_t rests_ms = now_ms();
	/* Else each clone would write the same. */
	sync();
	snprintf(answer->phases, sizeof answer->phases, "rest=%d sync=%d", (int)(rests_ms - began_ms), (int)(now_ms() - rests_ms));
}
