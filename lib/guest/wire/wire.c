/* Owns the life of a wire and its sockets. Must never close a socket while either direction goes on. */
#include "wire.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void wire_init(struct wire *wire)
{
	memset(wire, 0, sizeof *wire);
	wire->listen_fd = -1;
	for (int i = 0; i < WIRE_ENDS_MAX; i++)
		wire->ends[i].fd = -1;
	vmrm_sender_init(&wire->out);
	vmrm_receiver_init(&wire->in);
}

static void close_if(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void wire_close(struct wire *wire)
{
	close_if(&wire->listen_fd);
	for (int i = 0; i < WIRE_ENDS_MAX; i++)
		close_if(&wire->ends[i].fd);
	wire->target = NULL;
	wire->is_blocked = false;
}

void wire_free(struct wire *wire)
{
	wire_close(wire);
	vmrm_sender_free(&wire->out);
	vmrm_receiver_free(&wire->in);
}

struct wire_end *wire_add(struct wire *wire, int fd, uint32_t number)
{
	for (int i = 0; i < WIRE_ENDS_MAX; i++) {
		struct wire_end *end = &wire->ends[i];
		if (end->fd >= 0)
			continue;
		*end = (struct wire_end){.fd = fd, .number = number};
		return end;
	}
	return NULL;
}

void wire_close_if_over(struct wire *wire, struct wire_end *end)
{
	if (!end->is_read_over || !end->is_write_over)
		return;
	close_if(&end->fd);
	if (wire->target == end)
		wire->target = NULL;
}

void wire_inherit(struct wire *wire, int fd)
{
	wire->is_used = true;
	wire_add(wire, fd, 0);
}

void wire_listen(struct wire *wire, int listen_fd)
{
	wire->is_used = true;
	wire->listen_fd = listen_fd;
}

void wire_serve_from(struct wire *wire, const struct sockaddr_in *server)
{
	wire->is_used = true;
	wire->server = *server;
}

void wire_watch(const struct wire *wire, struct pollfd places[WIRE_FDS])
{
	bool has_room = wire_has_room(wire);
	for (int i = 0; i < WIRE_ENDS_MAX; i++) {
		const struct wire_end *end = &wire->ends[i];
		short events = 0;
		if (!end->is_read_over && has_room)
			events |= POLLIN;
		if (wire->is_blocked && wire->target == end)
			events |= POLLOUT;
		/* A socket that has hung up wakes every poll: it is not watched where nothing could be done about it. */
		places[i] = (struct pollfd){.fd = events != 0 ? end->fd : -1, .events = events};
	}
	places[WIRE_ENDS_MAX] = (struct pollfd){.fd = wire->listen_fd, .events = POLLIN};
}

/* One too many is closed at once: left waiting, its owner would wait for minutes. */
static void take_connection(struct wire *wire)
{
	int fd = accept4(wire->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	struct wire_end *end = wire_add(wire, fd, wire->newest + 1);
	if (end == NULL) {
		close(fd);
	} else if (wire_say(wire, end->number, WIRE_NEW)) {
		wire->newest++;
	} else {
		close_if(&end->fd);
	}
}

void wire_turn(struct wire *wire, const struct pollfd places[WIRE_FDS])
{
	for (int i = 0; i < WIRE_ENDS_MAX; i++) {
		struct wire_end *end = &wire->ends[i];
		/* The fd may have been closed meanwhile, and its number be another's. */
		if (places[i].revents == 0 || places[i].fd < 0 || places[i].fd != end->fd)
			continue;
		if (wire->is_blocked && wire->target == end)
			wire_write(wire);
		if (end->fd >= 0 && !end->is_read_over)
			wire_read(wire, end);
	}
	if (places[WIRE_ENDS_MAX].revents != 0 && places[WIRE_ENDS_MAX].fd == wire->listen_fd)
		take_connection(wire);
}

bool wire_drain(struct wire *wire, bool is_late)
{
	bool is_over = true;
	if (!wire->is_used || wire->out.ended)
		return true;
	close_if(&wire->listen_fd);
	for (int i = 0; i < WIRE_ENDS_MAX; i++) {
		struct wire_end *end = &wire->ends[i];
		while (end->fd >= 0 && !end->is_read_over && wire_read(wire, end))
			;
		is_over = is_over && (end->fd < 0 || end->is_read_over);
	}
	if (!is_over && !is_late)
		return false;
	vmrm_sender_end(&wire->out);
	wire_close(wire);
	return true;
}

void wire_trim(struct wire *wire)
{
	vmrm_sender_trim(&wire->out);
	vmrm_receiver_trim(&wire->in);
}
