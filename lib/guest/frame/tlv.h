/*
 * Owns lists of tagged values: u16 tag, u16 zero, u32 length, bytes; unknown tags are the reader's to skip.
 * Must never write beyond the buffer it was given or read beyond the bytes of the list.
 */
#ifndef VMRM_TLV_H
#define VMRM_TLV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VMRM_TLV_HEADER_BYTES 8u

struct vmrm_tlv_writer {
	uint8_t *bytes;
	size_t capacity;
	size_t length;
	bool overflow; /* something did not fit; what was written before is whole */
};

struct vmrm_tlv_reader {
	const uint8_t *bytes;
	size_t length;
	size_t at;
};

struct vmrm_tlv {
	uint16_t tag;
	uint32_t length;
	const uint8_t *value; /* inside the list; not NUL-terminated */
};

enum vmrm_tlv_found { VMRM_TLV_FIELD, VMRM_TLV_LIST_ENDS, VMRM_TLV_MALFORMED };

void vmrm_tlv_write_to(struct vmrm_tlv_writer *writer, uint8_t *bytes, size_t capacity);
void vmrm_tlv_put(struct vmrm_tlv_writer *writer, uint16_t tag, const void *value, size_t length);
void vmrm_tlv_put_text(struct vmrm_tlv_writer *writer, uint16_t tag, const char *text);
void vmrm_tlv_put_u32(struct vmrm_tlv_writer *writer, uint16_t tag, uint32_t value);
void vmrm_tlv_put_u64(struct vmrm_tlv_writer *writer, uint16_t tag, uint64_t value);
/* The 16-byte shape of RESUME: u8 stream, 7 zero bytes, u64 offset. */
void vmrm_tlv_put_stream(struct vmrm_tlv_writer *writer, uint16_t tag, uint8_t stream, uint64_t offset);

void vmrm_tlv_read_from(struct vmrm_tlv_reader *reader, const uint8_t *bytes, size_t length);
/* The next field; after LIST_ENDS or MALFORMED the same answer again. */
enum vmrm_tlv_found vmrm_tlv_next(struct vmrm_tlv_reader *reader, struct vmrm_tlv *field);
/* The first field with this tag in a list; false if there is none (or the list is malformed before it). */
bool vmrm_tlv_find(const uint8_t *bytes, size_t length, uint16_t tag, struct vmrm_tlv *field);
/* Values of a fixed shape: false if the length is another. */
bool vmrm_tlv_u32(const struct vmrm_tlv *field, uint32_t *value);
bool vmrm_tlv_u64(const struct vmrm_tlv *field, uint64_t *value);
bool vmrm_tlv_stream(const struct vmrm_tlv *field, uint8_t *stream, uint64_t *offset);
/* Whether the value is exactly this text. */
bool vmrm_tlv_is(const struct vmrm_tlv *field, const char *text);
/* Copies the value as a C string. False if it holds a NUL or does not fit in `room` with its end. */
bool vmrm_tlv_copy_text(const struct vmrm_tlv *field, char *out, size_t room);

#endif
