/*
 * Owns finding good frames among lost and stray bytes.
 * Must never give out a frame whose check is wrong, and never get stuck: each call of next either gives a frame or needs bytes.
 */
#include "parser.h"

#include <string.h>

void vmrm_parser_init(struct vmrm_parser *parser, uint8_t *buffer, size_t capacity)
{
	*parser = (struct vmrm_parser){.buffer = buffer, .capacity = capacity};
}

size_t vmrm_parser_space(struct vmrm_parser *parser, uint8_t **at)
{
	size_t left = parser->end - parser->start;
	if (left == 0) {
		parser->start = parser->end = 0;
	} else if (parser->start > 0 && parser->capacity - parser->start < VMRM_FRAME_MAX_BYTES) {
		memmove(parser->buffer, parser->buffer + parser->start, left);
		parser->start = 0;
		parser->end = left;
	}
	*at = parser->buffer + parser->end;
	return parser->capacity - parser->end;
}

void vmrm_parser_commit(struct vmrm_parser *parser, size_t count)
{
	size_t room = parser->capacity - parser->end;
	parser->end += count < room ? count : room;
}

/* Moves on by at least one byte, to the next one that can start a frame. */
static void skip_garbage(struct vmrm_parser *parser)
{
	const uint8_t *from = parser->buffer + parser->start + 1;
	size_t left = parser->end - parser->start - 1;
	const uint8_t *next = left > 0 ? memchr(from, 'V', left) : NULL;
	size_t to = next != NULL ? (size_t)(next - parser->buffer) : parser->end;
	parser->skipped_bytes += to - parser->start;
	parser->start = to;
}

bool vmrm_parser_next(struct vmrm_parser *parser, struct vmrm_frame *frame)
{
	while (parser->end > parser->start) {
		const uint8_t *at = parser->buffer + parser->start;
		switch (vmrm_frame_decode(at, parser->end - parser->start, frame)) {
		case VMRM_DECODED_FRAME:
			parser->start += VMRM_HEADER_BYTES + frame->length;
			return true;
		case VMRM_DECODED_PARTIAL:
			return false;
		case VMRM_DECODED_GARBAGE:
			skip_garbage(parser);
		}
	}
	return false;
}

void vmrm_parser_reset(struct vmrm_parser *parser)
{
	parser->skipped_bytes += parser->end - parser->start;
	parser->start = parser->end = 0;
}

bool vmrm_parser_rescue(struct vmrm_parser *parser, uint8_t type)
{
	for (size_t at = parser->start; at + VMRM_HEADER_BYTES <= parser->end; at++) {
		size_t left = parser->end - at;
		struct vmrm_frame frame;
		const uint8_t *p = parser->buffer + at;
		/* The cheap tests first: a check over 64 KiB at every byte would take seconds. */
		if (p[0] != 'V' || p[8] != type || vmrm_get_u32(p + 12) != left - VMRM_HEADER_BYTES)
			continue;
		if (vmrm_frame_decode(p, left, &frame) != VMRM_DECODED_FRAME)
			continue;
		parser->skipped_bytes += at - parser->start;
		parser->start = at;
		return true;
	}
	return false;
}
