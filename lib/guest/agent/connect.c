/*
 * Owns the bytes between two pipes and a connection on the loopback.
 * Must never stop one direction for the other's sake, nor lose what was read before an end.
 */
#include "connect.h"
#include "clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FLOW_BYTES 65536
/* A server of a VM that has just booted may still be starting, on a slow host for long. */
#define SERVER_WAIT_MS 120000
#define AGAIN_MS 200

struct flow {
	int from, to;
	size_t start, end;
	bool has_ended;
	uint8_t bytes[FLOW_BYTES];
};

static bool is_empty(const struct flow *flow)
{
	return flow->start == flow->end;
}

static void fill(struct flow *flow)
{
	ssize_t count = read(flow->from, flow->bytes, sizeof flow->bytes);
	if (count < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	flow->start = 0;
	flow->end = count > 0 ? (size_t)count : 0;
	flow->has_ended = count <= 0;
}

/* A pipe that poll calls writable takes PIPE_BUF bytes without waiting. */
static bool drain(struct flow *flow)
{
	size_t left = flow->end - flow->start;
	ssize_t count = write(flow->to, flow->bytes + flow->start, left < PIPE_BUF ? left : PIPE_BUF);
	if (count > 0)
		flow->start += (size_t)count;
	return count >= 0 || errno == EINTR || errno == EAGAIN;
}

static struct pollfd watch_source(const struct flow *flow)
{
	return (struct pollfd){.fd = is_empty(flow) && !flow->has_ended ? flow->from : -1, .events = POLLIN};
}

static struct pollfd watch_target(const struct flow *flow)
{
	return (struct pollfd){.fd = is_empty(flow) ? -1 : flow->to, .events = POLLOUT};
}

static int copy_both_ways(int server)
{
	static struct flow in, out;
	bool is_shut = false;
	in.from = STDIN_FILENO;
	in.to = out.from = server;
	out.to = STDOUT_FILENO;
	while (!out.has_ended || !is_empty(&out)) {
		struct pollfd fds[] = {watch_source(&in), watch_target(&in), watch_source(&out), watch_target(&out)};
		if (poll(fds, 4, -1) < 0 && errno != EINTR)
			return 1;
		if (fds[0].revents != 0)
			fill(&in);
		/* What the server has said before it went is still to be read. */
		if (fds[1].revents != 0 && !drain(&in)) {
			in.start = in.end = 0;
			in.has_ended = true;
		}
		if (fds[2].revents != 0)
			fill(&out);
		if (fds[3].revents != 0 && !drain(&out))
			return 1;
		if (in.has_ended && is_empty(&in) && !is_shut) {
			shutdown(server, SHUT_WR);
			is_shut = true;
		}
	}
	return 0;
}

/* Waits a moment. False: whoever wanted the connection has gone. */
static bool pause_while_wanted(void)
{
	struct pollfd caller = {.fd = STDIN_FILENO, .events = POLLRDHUP};
	poll(&caller, 1, AGAIN_MS);
	return (caller.revents & (POLLHUP | POLLRDHUP | POLLERR)) == 0;
}

/* -1 with errno: there is no connection. */
static int connect_to(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int64_t deadline_ms = now_ms() + SERVER_WAIT_MS;
	for (;;) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
			return fd;
		int error = errno;
		if (fd >= 0)
			close(fd);
		if (error != ECONNREFUSED || now_ms() >= deadline_ms || !pause_while_wanted()) {
			errno = error;
			return -1;
		}
	}
}

int connect_main(int argc, char **argv)
{
	char *end = NULL;
	long port = argc == 2 ? strtol(argv[1], &end, 10) : 0;
	if (port < 1 || port > UINT16_MAX || *end != '\0') {
		dprintf(STDERR_FILENO, "usage: " CONNECT_NAME " PORT\n");
		return 64;
	}
	/* A server or caller that has gone is told by write. */
	signal(SIGPIPE, SIG_IGN);
	int server = connect_to((uint16_t)port);
	if (server < 0) {
		dprintf(STDERR_FILENO, "vmrm: no connection to port %ld in the VM: %s\n", port, strerrordesc_np(errno));
		return 1;
	}
	fcntl(server, F_SETFL, O_NONBLOCK);
	return copy_both_ways(server);
}
