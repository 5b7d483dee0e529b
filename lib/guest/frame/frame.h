/*
 * Owns the shape of one frame: the 40-byte header, its check, and encoding and decoding of both.
 * Must never do I/O, allocate, or read a byte beyond the lengths it is given.
 */
#ifndef VMRM_FRAME_H
#define VMRM_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define VMRM_FRAME_MAGIC 0x4d524d56u
#define VMRM_HEADER_BYTES 40u
#define VMRM_PAYLOAD_MAX_BYTES 65536u
#define VMRM_FRAME_MAX_BYTES (VMRM_HEADER_BYTES + VMRM_PAYLOAD_MAX_BYTES)

/* A frame in host order. `payload` points at `length` bytes that somebody else owns. */
struct vmrm_frame {
	uint8_t type;
	uint8_t stream;
	uint16_t flags;
	uint32_t length;
	uint64_t session;
	uint64_t offset;
	uint64_t limit;
	const uint8_t *payload;
};

/* What vmrm_frame_decode found at the start of the bytes. */
enum vmrm_decoded { VMRM_DECODED_FRAME, VMRM_DECODED_PARTIAL, VMRM_DECODED_GARBAGE };

/* The check over a header's bytes 8..40 and the payload. */
uint32_t vmrm_frame_check(const uint8_t header[VMRM_HEADER_BYTES], const uint8_t *payload, size_t length);

/* Writes the header of `frame` (its payload is read for the check only; send it behind the header). length <= VMRM_PAYLOAD_MAX_BYTES. */
void vmrm_frame_header(uint8_t header[VMRM_HEADER_BYTES], const struct vmrm_frame *frame);

/* Writes header and payload to `out`. Returns the bytes written, or 0 if they do not fit in `room` or the payload is too long. */
size_t vmrm_frame_encode(uint8_t *out, size_t room, const struct vmrm_frame *frame);

/*
 * Looks at the start of `bytes`. FRAME: a good frame of VMRM_HEADER_BYTES + frame->length bytes, payload inside `bytes`.
 * PARTIAL: what is there may be the start of one. GARBAGE: no frame starts here; move on by one byte.
 */
enum vmrm_decoded vmrm_frame_decode(const uint8_t *bytes, size_t count, struct vmrm_frame *frame);

static inline uint32_t vmrm_get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t vmrm_get_u64(const uint8_t *p)
{
	return (uint64_t)vmrm_get_u32(p) | (uint64_t)vmrm_get_u32(p + 4) << 32;
}

static inline void vmrm_put_u32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static inline void vmrm_put_u64(uint8_t *p, uint64_t v)
{
	vmrm_put_u32(p, (uint32_t)v);
	vmrm_put_u32(p + 4, (uint32_t)(v >> 32));
}

#endif
