/*
 * Owns the encoding of frames; the layout is the table in docs/internals/guest-channel.md.
 * Must never trust a length before it has been compared with the bytes at hand.
 */
#include "frame.h"

#include <string.h>

struct sums {
	uint32_t a;
	uint32_t b;
};

static void add_words(struct sums *sums, const uint8_t *bytes, size_t count)
{
	uint32_t a = sums->a, b = sums->b;
	size_t whole = count & ~(size_t)3;
	for (size_t i = 0; i < whole; i += 4) {
		a += vmrm_get_u32(bytes + i);
		b += a;
	}
	if (whole < count) {
		uint8_t last[4] = {0};
		memcpy(last, bytes + whole, count - whole);
		a += vmrm_get_u32(last);
		b += a;
	}
	sums->a = a;
	sums->b = b;
}

uint32_t vmrm_frame_check(const uint8_t header[VMRM_HEADER_BYTES], const uint8_t *payload, size_t length)
{
	struct sums sums = {1, 0};
	add_words(&sums, header + 8, VMRM_HEADER_BYTES - 8);
	if (length > 0)
		add_words(&sums, payload, length);
	return sums.b ^ (sums.a << 16 | sums.a >> 16);
}

void vmrm_frame_header(uint8_t header[VMRM_HEADER_BYTES], const struct vmrm_frame *frame)
{
	vmrm_put_u32(header, VMRM_FRAME_MAGIC);
	header[8] = frame->type;
	header[9] = frame->stream;
	header[10] = (uint8_t)frame->flags;
	header[11] = (uint8_t)(frame->flags >> 8);
	vmrm_put_u32(header + 12, frame->length);
	vmrm_put_u64(header + 16, frame->session);
	vmrm_put_u64(header + 24, frame->offset);
	vmrm_put_u64(header + 32, frame->limit);
	vmrm_put_u32(header + 4, vmrm_frame_check(header, frame->payload, frame->length));
}

size_t vmrm_frame_encode(uint8_t *out, size_t room, const struct vmrm_frame *frame)
{
	if (frame->length > VMRM_PAYLOAD_MAX_BYTES || room < VMRM_HEADER_BYTES + (size_t)frame->length)
		return 0;
	if (frame->length > 0)
		memmove(out + VMRM_HEADER_BYTES, frame->payload, frame->length);
	vmrm_frame_header(out, &(struct vmrm_frame){
		.type = frame->type, .stream = frame->stream, .flags = frame->flags, .length = frame->length,
		.session = frame->session, .offset = frame->offset, .limit = frame->limit, .payload = out + VMRM_HEADER_BYTES});
	return VMRM_HEADER_BYTES + (size_t)frame->length;
}

enum vmrm_decoded vmrm_frame_decode(const uint8_t *bytes, size_t count, struct vmrm_frame *frame)
{
	static const uint8_t magic[4] = {'V', 'M', 'R', 'M'};
	if (memcmp(bytes, magic, count < 4 ? count : 4) != 0)
		return VMRM_DECODED_GARBAGE;
	if (count < 16)
		return VMRM_DECODED_PARTIAL;
	uint32_t length = vmrm_get_u32(bytes + 12);
	if (length > VMRM_PAYLOAD_MAX_BYTES)
		return VMRM_DECODED_GARBAGE;
	if (count < VMRM_HEADER_BYTES + (size_t)length)
		return VMRM_DECODED_PARTIAL;
	if (vmrm_get_u32(bytes + 4) != vmrm_frame_check(bytes, bytes + VMRM_HEADER_BYTES, length))
		return VMRM_DECODED_GARBAGE;
	*frame = (struct vmrm_frame){
		.type = bytes[8],
		.stream = bytes[9],
		.flags = (uint16_t)(bytes[10] | bytes[11] << 8),
		.length = length,
		.session = vmrm_get_u64(bytes + 16),
		.offset = vmrm_get_u64(bytes + 24),
		.limit = vmrm_get_u64(bytes + 32),
		.payload = bytes + VMRM_HEADER_BYTES,
	};
	return VMRM_DECODED_FRAME;
}
