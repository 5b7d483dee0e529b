/* Owns the way from the sockets into the stream. Must never put half a record into it: there is room for all of one, or it is not begun. */
#include "wire.h"

#include <errno.h>
#include <sys/socket.h>

#define CHUNK_BYTES 16384u

/* Free bytes of the stream, for a record's header and at least one byte. */
static size_t reserve(struct wire *wire, size_t want)
{
	uint8_t *at = NULL;
	if (vmrm_sender_space(&wire->out, want, &at) == 0)
		return 0;
	return wire->out.ring.capacity - wire->out.ring.count;
}

bool wire_has_room(const struct wire *wire)
{
	return !wire->out.ended && VMRM_WINDOW_BYTES - wire->out.ring.count > WIRE_HEADER_BYTES;
}

static void put_header(uint8_t header[WIRE_HEADER_BYTES], uint32_t number, uint32_t length)
{
	vmrm_put_u32(header, number);
	vmrm_put_u32(header + 4, length);
}

bool wire_say(struct wire *wire, uint32_t number, uint32_t length)
{
	uint8_t header[WIRE_HEADER_BYTES];
	put_header(header, number, length);
	return reserve(wire, sizeof header) >= sizeof header && vmrm_sender_append(&wire->out, header, sizeof header) == sizeof header;
}

bool wire_read(struct wire *wire, struct wire_end *end)
{
	uint8_t record[WIRE_HEADER_BYTES + CHUNK_BYTES];
	size_t room = wire_has_room(wire) ? reserve(wire, sizeof record) : 0;
	if (room <= WIRE_HEADER_BYTES)
		return false;
	size_t most = room - WIRE_HEADER_BYTES < CHUNK_BYTES ? room - WIRE_HEADER_BYTES : CHUNK_BYTES;
	ssize_t count = recv(end->fd, record + WIRE_HEADER_BYTES, most, MSG_DONTWAIT);
	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (count > 0) {
		put_header(record, end->number, (uint32_t)count);
		vmrm_sender_append(&wire->out, record, WIRE_HEADER_BYTES + (size_t)count);
		return true;
	}
	wire_say(wire, end->number, 0);
	end->is_read_over = true;
	wire_close_if_over(wire, end);
	return false;
}
