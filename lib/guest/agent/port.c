/*
 * Owns opening, reading and writing the port.
 * Must never take a lost connection for an error: the host's daemon comes back.
 */
#include "port.h"

#include "clock.h"
#include "messages.h"
#include "port_find.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RETRY_FIRST_MS 5
#define RETRY_LAST_MS 100
/* A half frame that saw no byte for so long may be one whose rest was lost. */
#define RESCUE_MS 100

void port_init(struct port *port, const char *path)
{
	port->path = path;
	port->fd = -1;
	port->is_host_away = false;
	port->retry_at_ms = 0;
	port->retry_wait_ms = RETRY_FIRST_MS;
	port->out_start = port->out_end = 0;
	vmrm_parser_init(&port->parser, port->in, sizeof port->in);
}

static void back_off(struct port *port)
{
	port->retry_at_ms = now_ms() + port->retry_wait_ms;
	port->retry_wait_ms = port->retry_wait_ms * 2 < RETRY_LAST_MS ? port->retry_wait_ms * 2 : RETRY_LAST_MS;
}

static int connect_socket(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof address.sun_path)
		return -1;
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

void port_retry(struct port *port)
{
	struct stat kind;
	char device[256];
	if (now_ms() < port->retry_at_ms)
		return;
	if (port->is_host_away) {
		/* port_read tells whether it is still away. */
		port->is_host_away = false;
		return;
	}
	if (port->fd >= 0)
		return;
	if (port_find(port->path, device, sizeof device) && stat(device, &kind) == 0)
		port->fd = S_ISSOCK(kind.st_mode) ? connect_socket(device) : open(device, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (port->fd < 0)
		back_off(port);
}

bool port_is_usable(const struct port *port)
{
	return port->fd >= 0 && !port->is_host_away;
}

int port_wait_ms(const struct port *port)
{
	int64_t at;
	if (!port_is_usable(port))
		at = port->retry_at_ms;
	else if (vmrm_parser_is_partial(&port->parser))
		at = port->heard_at_ms + RESCUE_MS;
	else
		return -1;
	int64_t left = at - now_ms();
	/* One rescue a period, not one a turn of the loop. */
	return left > 0 ? (int)left : port_is_usable(port) ? RESCUE_MS : 0;
}

/* The host's end has closed. A socket must be connected anew; a port stays open. */
static void on_host_away(struct port *port)
{
	struct stat kind;
	vmrm_parser_reset(&port->parser);
	if (fstat(port->fd, &kind) == 0 && S_ISCHR(kind.st_mode)) {
		port->is_host_away = true;
	} else {
		close(port->fd);
		port->fd = -1;
	}
	back_off(port);
}

bool port_read(struct port *port)
{
	uint8_t *at = NULL;
	size_t room = vmrm_parser_space(&port->parser, &at);
	ssize_t count = read(port->fd, at, room);
	if (count > 0) {
		vmrm_parser_commit(&port->parser, (size_t)count);
		port->heard_at_ms = now_ms();
		port->retry_wait_ms = RETRY_FIRST_MS;
		return true;
	}
	if (count == 0 || (errno != EAGAIN && errno != EINTR))
		on_host_away(port);
	else if (vmrm_parser_is_partial(&port->parser) && now_ms() - port->heard_at_ms >= RESCUE_MS)
		return vmrm_parser_rescue(&port->parser, VMRM_HELLO);
	return false;
}

uint8_t *port_out_space(struct port *port, size_t *room)
{
	if (port->out_start == port->out_end)
		port->out_start = port->out_end = 0;
	if (sizeof port->out - port->out_end < VMRM_FRAME_MAX_BYTES && port->out_start >= VMRM_FRAME_MAX_BYTES) {
		memmove(port->out, port->out + port->out_start, port->out_end - port->out_start);
		port->out_end -= port->out_start;
		port->out_start = 0;
	}
	*room = sizeof port->out - port->out_end;
	return *room >= VMRM_FRAME_MAX_BYTES ? port->out + port->out_end : NULL;
}

void port_out_commit(struct port *port, size_t count)
{
	port->out_end += count;
}

bool port_write(struct port *port)
{
	while (port->out_start < port->out_end) {
		ssize_t count = write(port->fd, port->out + port->out_start, port->out_end - port->out_start);
		if (count < 0 && errno == EINTR)
			continue;
		/* A broken connection shows when reading. */
		if (count <= 0)
			return false;
		port->out_start += (size_t)count;
	}
	return true;
}
