/*
 * Owns one of the two ways out, stdout or stderr.
 * Must never block where the reader is slow: one loop serves both streams and the signals. O_NONBLOCK belongs to the open file, which others
 * may share; so it is set on pipes only, whose write end is ours alone under slurmstepd or is opened anew, and set back at the end.
 */
#include "outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static enum outlet_kind kind_of(int fd)
{
	struct stat status;
	if (fstat(fd, &status) != 0)
		return OUTLET_OTHER;
	if (S_ISFIFO(status.st_mode))
		return OUTLET_PIPE;
	if (S_ISSOCK(status.st_mode))
		return OUTLET_SOCKET;
	return S_ISREG(status.st_mode) ? OUTLET_FILE : OUTLET_OTHER;
}

/* Makes the fd an open file of our own, on which O_NONBLOCK disturbs nobody. */
static bool reopen_pipe(int fd)
{
	char path[32];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	int own = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (own < 0)
		return false;
	bool is_done = dup2(own, fd) == fd;
	close(own);
	return is_done;
}

void outlet_init(struct outlet *outlet, int fd, enum output_owner owner)
{
	outlet->fd = fd;
	outlet->kind = kind_of(fd);
	outlet->old_flags = -1;
	outlet->is_broken = outlet->is_told = false;
	vmrm_receiver_init(&outlet->receiver);
	if (outlet->kind != OUTLET_PIPE)
		return;
	if (owner != OUTPUT_OWN) {
		if (owner == OUTPUT_SHARED || !reopen_pipe(fd))
			outlet->kind = OUTLET_OTHER;
		return;
	}
	int flags = fcntl(fd, F_GETFL);
	if (flags >= 0 && (flags & O_NONBLOCK) == 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0)
		outlet->old_flags = flags;
}

static ssize_t put(const struct outlet *outlet, const uint8_t *bytes, size_t count)
{
	struct pollfd ready = {.fd = outlet->fd, .events = POLLOUT};
	if (outlet->kind == OUTLET_SOCKET)
		return send(outlet->fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (outlet->kind == OUTLET_OTHER) {
		/* A terminal or a device: as much as it takes without a wait once poll says so. */
		if (poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT) == 0) {
			errno = EAGAIN;
			return -1;
		}
		if (count > PIPE_BUF)
			count = PIPE_BUF;
	}
	return write(outlet->fd, bytes, count);
}

/* How much was written; a broken outlet takes everything and writes nothing. */
static size_t hand_on(struct outlet *outlet, const uint8_t *bytes, size_t count)
{
	size_t done = 0;
	while (done < count && !outlet->is_broken) {
		ssize_t n = put(outlet, bytes + done, count - done);
		if (n >= 0) {
			done += (size_t)n;
		} else if (errno == EAGAIN) {
			break;
		} else if (errno != EINTR) {
			/* EPIPE, or a disk that is full: the task cannot be told which, so its writes fail as on a closed pipe. */
			outlet->is_broken = true;
		}
	}
	vmrm_receiver_handed(&outlet->receiver, done);
	if (outlet->is_broken)
		vmrm_receiver_discard(&outlet->receiver);
	return done;
}

enum vmrm_accepted outlet_take(struct outlet *outlet, const struct vmrm_frame *frame)
{
	const uint8_t *at = NULL;
	size_t count = vmrm_receiver_fresh(&outlet->receiver, frame, &at);
	if (count > 0)
		hand_on(outlet, at, count);
	return vmrm_receiver_accept(&outlet->receiver, frame);
}

void outlet_write(struct outlet *outlet)
{
	const uint8_t *at = NULL;
	size_t count = 0;
	while ((count = vmrm_receiver_peek(&outlet->receiver, &at)) > 0)
		if (hand_on(outlet, at, count) < count)
			break;
	vmrm_receiver_trim(&outlet->receiver);
}

bool outlet_is_waiting(const struct outlet *outlet)
{
	const uint8_t *at = NULL;
	return vmrm_receiver_peek(&outlet->receiver, &at) > 0;
}

void outlet_restore(struct outlet *outlet)
{
	if (outlet->old_flags >= 0)
		fcntl(outlet->fd, F_SETFL, outlet->old_flags);
	vmrm_receiver_free(&outlet->receiver);
}
