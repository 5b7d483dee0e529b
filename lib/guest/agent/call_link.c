/* Owns one caller's connection. Must never block, and never pass on a frame that a caller may not send. */
#include "call_link.h"

#include "messages.h"
#include "stream.h"
#include "tlv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct call_link *call_link_new(int fd)
{
	struct call_link *link = calloc(1, sizeof *link);
	uint8_t *in = malloc(VMRM_FRAME_MAX_BYTES);
	if (link == NULL || in == NULL) {
		free(link);
		free(in);
		close(fd);
		return NULL;
	}
	link->fd = fd;
	link->in = in;
	vmrm_parser_init(&link->parser, in, VMRM_FRAME_MAX_BYTES);
	return link;
}

void call_link_free(struct call_link *link)
{
	if (link->fd >= 0)
		close(link->fd);
	free(link->in);
	free(link->out);
	free(link);
}

void call_link_lose(struct call_link *link)
{
	link->owes_close = link->state == CALL_LIVES && !link->owes_call;
	link->state = CALL_IS_OVER;
	link->has_frame = false;
	close(link->fd);
	link->fd = -1;
}

bool call_link_wants_bytes(const struct call_link *link)
{
	return link->fd >= 0 && !link->has_frame;
}

void call_link_read(struct call_link *link)
{
	uint8_t *at = NULL;
	size_t room = vmrm_parser_space(&link->parser, &at);
	ssize_t count = read(link->fd, at, room);
	if (count > 0) {
		vmrm_parser_commit(&link->parser, (size_t)count);
		link->has_frame = true;
	} else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
		call_link_lose(link);
	}
}

void call_link_write(struct call_link *link)
{
	struct vmrm_frame reset = {.type = VMRM_RESET, .session = link->number};
	while (link->fd >= 0 && link->out_start < link->out_end) {
		ssize_t count = send(link->fd, link->out + link->out_start, link->out_end - link->out_start, MSG_NOSIGNAL);
		if (count < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (count < 0) {
			call_link_lose(link);
			return;
		}
		link->out_start += (size_t)count;
	}
	link->out_start = link->out_end = 0;
	if (link->state == CALL_LEAVES) {
		link->state = CALL_IS_OVER;
	} else if (link->was_overrun) {
		link->was_overrun = false;
		call_link_put(link, &reset);
	}
}

/* Makes room for so many bytes more. False: there is none. */
static bool reserve(struct call_link *link, size_t size)
{
	if (link->out_start > 0) {
		memmove(link->out, link->out + link->out_start, link->out_end - link->out_start);
		link->out_end -= link->out_start;
		link->out_start = 0;
	}
	if (link->out_end + size <= link->out_room)
		return true;
	size_t room = (link->out_end + size) * 2 < CALL_OUT_BYTES ? (link->out_end + size) * 2 : CALL_OUT_BYTES;
	uint8_t *grown = link->out_end + size <= room ? realloc(link->out, room) : NULL;
	if (grown == NULL)
		return false;
	link->out = grown;
	link->out_room = room;
	return true;
}

void call_link_put(struct call_link *link, const struct vmrm_frame *frame)
{
	size_t size = VMRM_HEADER_BYTES + frame->length;
	if (link->fd < 0 || link->was_overrun)
		return;
	if (!reserve(link, size)) {
		link->was_overrun = true;
		return;
	}
	link->out_end += vmrm_frame_encode(link->out + link->out_end, link->out_room - link->out_end, frame);
	call_link_write(link);
}

void call_link_refuse(struct call_link *link, const char *code, const char *text)
{
	uint8_t payload[512];
	struct vmrm_tlv_writer fields;
	vmrm_tlv_write_to(&fields, payload, sizeof payload);
	vmrm_tlv_put_text(&fields, VMRM_ERROR_TEXT, text);
	vmrm_tlv_put_text(&fields, VMRM_ERROR_CODE, code);
	link->has_frame = false;
	link->state = CALL_LEAVES;
	struct vmrm_frame frame = {.type = VMRM_ERROR, .session = link->number, .payload = payload, .length = (uint32_t)fields.length};
	call_link_put(link, &frame);
}

static bool is_allowed(const struct call_link *link, const struct vmrm_frame *frame)
{
	if (frame->session != link->number)
		return false;
	switch (frame->type) {
	case VMRM_DATA:
		return frame->stream == VMRM_STDIN || frame->stream == VMRM_SPEC;
	case VMRM_ACK:
		return frame->stream == VMRM_STDOUT || frame->stream == VMRM_STDERR;
	case VMRM_OPEN:
	case VMRM_SIGNAL:
	case VMRM_CLOSE:
	case VMRM_RESUME:
	case VMRM_RESIZE:
	case VMRM_RELEASE:
		return true;
	default:
		return false;
	}
}

bool call_link_next(struct call_link *link, struct vmrm_frame *frame)
{
	if (!link->has_frame)
		return false;
	link->has_frame = vmrm_parser_next(&link->parser, frame);
	if (!link->has_frame || link->state == CALL_WAITS)
		return link->has_frame;
	if (link->state == CALL_LIVES && is_allowed(link, frame))
		return true;
	call_link_lose(link);
	return false;
}
