/* Owns the connection to vmrmd. Must never block and never queue. */
#include "link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define BACK_OFF_FIRST_MS 5u
#define BACK_OFF_MAX_MS 500u

/* Static: pages that were never used cost a waiting vmrm-run nothing. */
static uint8_t in_buffer[2 * VMRM_FRAME_MAX_BYTES];
static uint8_t out_buffer[VMRM_FRAME_MAX_BYTES];

void link_init(struct link *link, const char *path, int64_t now)
{
	memset(link, 0, sizeof *link);
	link->fd = -1;
	link->path = path;
	link->retry_at_ms = now;
	link->back_off_ms = BACK_OFF_FIRST_MS;
	vmrm_parser_init(&link->parser, in_buffer, sizeof in_buffer);
}

bool link_try(struct link *link, int64_t now)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = -1;
	if (link->fd >= 0 || now < link->retry_at_ms)
		return false;
	/* A try counts as failed until it has worked. */
	link->retry_at_ms = now + link->back_off_ms;
	link->back_off_ms = link->back_off_ms * 2 > BACK_OFF_MAX_MS ? BACK_OFF_MAX_MS : link->back_off_ms * 2;
	if (strlen(link->path) >= sizeof address.sun_path) {
		link->last_errno = ENAMETOOLONG;
		goto failed;
	}
	strcpy(address.sun_path, link->path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* A full backlog answers EAGAIN on a socket that does not block. */
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
		link->last_errno = errno;
		goto failed;
	}
	link->fd = fd;
	return true;
failed:
	if (fd >= 0)
		close(fd);
	return false;
}

void link_drop(struct link *link, int64_t now)
{
	if (link->fd < 0)
		return;
	close(link->fd);
	link->fd = -1;
	link->last_errno = ECONNRESET;
	link->retry_at_ms = now + link->back_off_ms;
	link->out_at = link->out_end = 0;
	vmrm_parser_reset(&link->parser);
}

void link_is_useful(struct link *link)
{
	link->back_off_ms = BACK_OFF_FIRST_MS;
}

bool link_read(struct link *link)
{
	uint8_t *at = NULL;
	size_t room = vmrm_parser_space(&link->parser, &at);
	ssize_t n = read(link->fd, at, room);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	vmrm_parser_commit(&link->parser, (size_t)n);
	return true;
}

bool link_next(struct link *link, struct vmrm_frame *frame)
{
	return link->fd >= 0 && vmrm_parser_next(&link->parser, frame);
}

bool link_can_send(const struct link *link)
{
	return link->fd >= 0 && link->out_at == link->out_end;
}

bool link_send(struct link *link, const struct vmrm_frame *frame)
{
	uint8_t header[VMRM_HEADER_BYTES];
	vmrm_frame_header(header, frame);
	struct iovec parts[2] = {{header, sizeof header}, {(void *)(uintptr_t)frame->payload, frame->length}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = frame->length > 0 ? 2 : 1};
	size_t total = sizeof header + frame->length;
	ssize_t n = sendmsg(link->fd, &message, MSG_NOSIGNAL);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return false;
		n = 0;
	}
	size_t sent = (size_t)n;
	link->out_at = 0;
	link->out_end = total - sent;
	if (sent < sizeof header) {
		memcpy(out_buffer, header + sent, sizeof header - sent);
		if (frame->length > 0)
			memcpy(out_buffer + sizeof header - sent, frame->payload, frame->length);
	} else if (sent < total) {
		memcpy(out_buffer, frame->payload + (sent - sizeof header), total - sent);
	}
	return true;
}

bool link_flush(struct link *link)
{
	while (link->fd >= 0 && link->out_at < link->out_end) {
		ssize_t n = send(link->fd, out_buffer + link->out_at, link->out_end - link->out_at, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		link->out_at += (size_t)n;
	}
	return true;
}
