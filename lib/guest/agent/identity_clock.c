/*
 * Owns the time of day and the random pool: a VM that was cloned or restored has those of its template.
 * Must never fail a VM over entropy: an old kernel without the call still has its own.
 */
#include "identity.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define ENTROPY_MAX_BYTES 512
/* Below that a step would disturb more than it mends. */
#define CLOCK_LAG_NS 500000000u

static bool set_clock(uint64_t time_ns)
{
	struct timespec time = {.tv_sec = (time_t)(time_ns / 1000000000u), .tv_nsec = (long)(time_ns % 1000000000u)};
	return clock_settime(CLOCK_REALTIME, &time) == 0;
}

void clock_catch_up(uint64_t host_ns)
{
	struct timespec own;
	if (clock_gettime(CLOCK_REALTIME, &own) != 0 || host_ns <= CLOCK_LAG_NS)
		return;
	if (host_ns - CLOCK_LAG_NS > (uint64_t)own.tv_sec * 1000000000u + (uint64_t)own.tv_nsec && !set_clock(host_ns))
		agent_log("cannot set the clock: %s\n", strerrordesc_np(errno));
}

static void add_entropy(const uint8_t *bytes, size_t count)
{
	struct {
		struct rand_pool_info info;
		uint8_t bytes[ENTROPY_MAX_BYTES];
	} pool;
	if (count > ENTROPY_MAX_BYTES)
		count = ENTROPY_MAX_BYTES;
	pool.info.entropy_count = (int)count * 8;
	pool.info.buf_size = (int)count;
	memcpy(pool.bytes, bytes, count);
	int fd = open("/dev/random", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, &pool) != 0)
		agent_log("cannot add entropy: %s\n", strerrordesc_np(errno));
	/* Without this the generators of a restored kernel go on with the template's state for up to a minute. */
	if (fd >= 0) {
		ioctl(fd, RNDRESEEDCRNG);
		close(fd);
	}
	explicit_bzero(&pool, sizeof pool);
}

bool identity_apply_clock(const struct identity *identity, struct complaint *complaint)
{
	if (identity->entropy_bytes > 0)
		add_entropy(identity->entropy, identity->entropy_bytes);
	if (identity->time_ns != 0 && !set_clock(identity->time_ns))
		return complain(complaint, errno, "cannot set the clock");
	return true;
}
