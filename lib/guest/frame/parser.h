/*
 * Owns the way from a byte stream with holes to whole frames: a buffer that grows by reads and resynchronises after garbage.
 * Must never do I/O or allocate; the caller gives the buffer.
 *
 *   struct vmrm_parser p; vmrm_parser_init(&p, buffer, sizeof buffer);
 *   uint8_t *at; size_t room = vmrm_parser_space(&p, &at);
 *   ssize_t n = read(fd, at, room); if (n > 0) vmrm_parser_commit(&p, n);
 *   while (vmrm_parser_next(&p, &frame)) handle(&frame);     frame.payload is good until the next call of space or reset
 */
#ifndef VMRM_PARSER_H
#define VMRM_PARSER_H

#include "frame.h"

#include <stdbool.h>

struct vmrm_parser {
	uint8_t *buffer;
	size_t capacity;
	size_t start; /* first byte not yet looked at */
	size_t end;
	uint64_t skipped_bytes; /* garbage passed over since init, for logs and tests */
};

/* `capacity` must be at least VMRM_FRAME_MAX_BYTES; twice that saves moves of bytes. */
void vmrm_parser_init(struct vmrm_parser *parser, uint8_t *buffer, size_t capacity);

/* Where to read to, and how many bytes; never 0 once vmrm_parser_next has returned false. Moves what is left to the front if it must. */
size_t vmrm_parser_space(struct vmrm_parser *parser, uint8_t **at);

/* `count` bytes have been put at the place that vmrm_parser_space named. */
void vmrm_parser_commit(struct vmrm_parser *parser, size_t count);

/* The next good frame, or false: more bytes are needed. */
bool vmrm_parser_next(struct vmrm_parser *parser, struct vmrm_frame *frame);

/* Forgets all bytes, e.g. when the other end is known to have gone: the rest of a half frame will never come. */
void vmrm_parser_reset(struct vmrm_parser *parser);

/*
 * For a receiver that may have missed a disconnect: a header whose payload was lost makes it wait for bytes that never come, and the
 * greeting behind it would count as that payload. Call it when a half frame has seen no byte for a while. If the bytes end with a
 * good frame of type `type`, everything in front of that is skipped and true is returned; vmrm_parser_next gives the frame then.
 */
bool vmrm_parser_rescue(struct vmrm_parser *parser, uint8_t type);

/* Whether the start of a frame waits for its rest. */
static inline bool vmrm_parser_is_partial(const struct vmrm_parser *parser)
{
	return parser->end > parser->start;
}

#endif
