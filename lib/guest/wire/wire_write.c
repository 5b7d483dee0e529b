/* Owns the way from the stream to the sockets. Must never lose its place in the records, whatever a socket does. */
#include "wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct wire_end *find(struct wire *wire, uint32_t number)
{
	for (int i = 0; i < WIRE_ENDS_MAX; i++)
		if (wire->ends[i].fd >= 0 && wire->ends[i].number == number)
			return &wire->ends[i];
	return NULL;
}

/* Connects to the server for a connection of the other side; where that cannot be it is told so. */
static void connect_new(struct wire *wire, uint32_t number)
{
	struct wire_end *end = NULL;
	if (wire->server.sin_family != AF_INET || number <= wire->newest)
		return;
	wire->newest = number;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && (connect(fd, (struct sockaddr *)&wire->server, sizeof wire->server) == 0 || errno == EINPROGRESS))
		end = wire_add(wire, fd, number);
	if (end == NULL && fd >= 0)
		close(fd);
	if (end == NULL)
		wire_say(wire, number, 0);
}

static void end_writing(struct wire *wire, struct wire_end *end)
{
	if (!end->is_write_over)
		shutdown(end->fd, SHUT_WR);
	end->is_write_over = true;
	wire_close_if_over(wire, end);
}

/* Takes bytes of a header; returns how many. */
static size_t take_header(struct wire *wire, const uint8_t *at, size_t count)
{
	size_t missing = WIRE_HEADER_BYTES - wire->header_have;
	size_t used = count < missing ? count : missing;
	memcpy(wire->header + wire->header_have, at, used);
	wire->header_have += used;
	if (wire->header_have < WIRE_HEADER_BYTES)
		return used;
	uint32_t number = vmrm_get_u32(wire->header);
	wire->header_have = 0;
	wire->left = vmrm_get_u32(wire->header + 4);
	wire->target = find(wire, number);
	if (wire->left == WIRE_NEW) {
		wire->left = 0;
		connect_new(wire, number);
	} else if (wire->left == 0 && wire->target != NULL) {
		end_writing(wire, wire->target);
	}
	return used;
}

/* Gives bytes of a record to its socket; returns how many, 0 where it takes none now. */
static size_t give(struct wire *wire, const uint8_t *at, size_t count)
{
	struct wire_end *end = wire->target;
	if (count > wire->left)
		count = wire->left;
	if (end == NULL || end->is_write_over)
		return count;
	ssize_t sent = send(end->fd, at, count, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent >= 0)
		return (size_t)sent;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	end_writing(wire, end);
	return count;
}

void wire_write(struct wire *wire)
{
	const uint8_t *at = NULL;
	size_t count;
	wire->is_blocked = false;
	while ((count = vmrm_receiver_peek(&wire->in, &at)) > 0) {
		bool is_header = wire->left == 0;
		size_t used = is_header ? take_header(wire, at, count) : give(wire, at, count);
		wire->is_blocked = used == 0;
		if (used == 0)
			return;
		if (!is_header)
			wire->left -= (uint32_t)used;
		vmrm_receiver_handed(&wire->in, used);
	}
}

enum vmrm_accepted wire_take(struct wire *wire, const struct vmrm_frame *frame)
{
	enum vmrm_accepted accepted;
	if (!wire->is_used)
		return VMRM_BEYOND;
	accepted = vmrm_receiver_accept(&wire->in, frame);
	wire_write(wire);
	return accepted;
}

bool wire_is_waiting(const struct wire *wire)
{
	const uint8_t *at = NULL;
	return vmrm_receiver_peek(&wire->in, &at) > 0;
}
