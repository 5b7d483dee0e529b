/*
 * Owns writing and reading of tagged values, every access bounds-checked.
 * Must never assume that a list is well formed, or that a value holds no NUL.
 */
#include "tlv.h"

#include "frame.h"

#include <string.h>

void vmrm_tlv_write_to(struct vmrm_tlv_writer *writer, uint8_t *bytes, size_t capacity)
{
	*writer = (struct vmrm_tlv_writer){.bytes = bytes, .capacity = capacity};
}

void vmrm_tlv_put(struct vmrm_tlv_writer *writer, uint16_t tag, const void *value, size_t length)
{
	size_t room = writer->capacity - writer->length;
	if (writer->overflow || length > UINT32_MAX || room < VMRM_TLV_HEADER_BYTES || room - VMRM_TLV_HEADER_BYTES < length) {
		writer->overflow = true;
		return;
	}
	uint8_t *at = writer->bytes + writer->length;
	vmrm_put_u32(at, tag);
	vmrm_put_u32(at + 4, (uint32_t)length);
	if (length > 0)
		memcpy(at + VMRM_TLV_HEADER_BYTES, value, length);
	writer->length += VMRM_TLV_HEADER_BYTES + length;
}

void vmrm_tlv_put_text(struct vmrm_tlv_writer *writer, uint16_t tag, const char *text)
{
	vmrm_tlv_put(writer, tag, text, strlen(text));
}

void vmrm_tlv_put_u32(struct vmrm_tlv_writer *writer, uint16_t tag, uint32_t value)
{
	uint8_t bytes[4];
	vmrm_put_u32(bytes, value);
	vmrm_tlv_put(writer, tag, bytes, sizeof bytes);
}

void vmrm_tlv_put_u64(struct vmrm_tlv_writer *writer, uint16_t tag, uint64_t value)
{
	uint8_t bytes[8];
	vmrm_put_u64(bytes, value);
	vmrm_tlv_put(writer, tag, bytes, sizeof bytes);
}

void vmrm_tlv_put_stream(struct vmrm_tlv_writer *writer, uint16_t tag, uint8_t stream, uint64_t offset)
{
	uint8_t bytes[16] = {stream};
	vmrm_put_u64(bytes + 8, offset);
	vmrm_tlv_put(writer, tag, bytes, sizeof bytes);
}

void vmrm_tlv_read_from(struct vmrm_tlv_reader *reader, const uint8_t *bytes, size_t length)
{
	*reader = (struct vmrm_tlv_reader){.bytes = bytes, .length = length};
}

enum vmrm_tlv_found vmrm_tlv_next(struct vmrm_tlv_reader *reader, struct vmrm_tlv *field)
{
	size_t left = reader->length - reader->at;
	if (left == 0)
		return VMRM_TLV_LIST_ENDS;
	if (left < VMRM_TLV_HEADER_BYTES)
		return VMRM_TLV_MALFORMED;
	const uint8_t *at = reader->bytes + reader->at;
	uint32_t length = vmrm_get_u32(at + 4);
	if (length > left - VMRM_TLV_HEADER_BYTES)
		return VMRM_TLV_MALFORMED;
	*field = (struct vmrm_tlv){.tag = (uint16_t)(at[0] | at[1] << 8), .length = length, .value = at + VMRM_TLV_HEADER_BYTES};
	reader->at += VMRM_TLV_HEADER_BYTES + (size_t)length;
	return VMRM_TLV_FIELD;
}

bool vmrm_tlv_find(const uint8_t *bytes, size_t length, uint16_t tag, struct vmrm_tlv *field)
{
	struct vmrm_tlv_reader reader;
	vmrm_tlv_read_from(&reader, bytes, length);
	while (vmrm_tlv_next(&reader, field) == VMRM_TLV_FIELD)
		if (field->tag == tag)
			return true;
	return false;
}

bool vmrm_tlv_u32(const struct vmrm_tlv *field, uint32_t *value)
{
	if (field->length != 4)
		return false;
	*value = vmrm_get_u32(field->value);
	return true;
}

bool vmrm_tlv_u64(const struct vmrm_tlv *field, uint64_t *value)
{
	if (field->length != 8)
		return false;
	*value = vmrm_get_u64(field->value);
	return true;
}

bool vmrm_tlv_stream(const struct vmrm_tlv *field, uint8_t *stream, uint64_t *offset)
{
	if (field->length != 16)
		return false;
	*stream = field->value[0];
	*offset = vmrm_get_u64(field->value + 8);
	return true;
}

bool vmrm_tlv_is(const struct vmrm_tlv *field, const char *text)
{
	return field->length == strlen(text) && memcmp(field->value, text, field->length) == 0;
}

bool vmrm_tlv_copy_text(const struct vmrm_tlv *field, char *out, size_t room)
{
	if (field->length >= room || memchr(field->value, 0, field->length) != NULL)
		return false;
	memcpy(out, field->value, field->length);
	out[field->length] = '\0';
	return true;
}
