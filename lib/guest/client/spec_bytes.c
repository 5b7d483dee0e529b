/* Owns the bytes of a spec stream while they are put together. Must never interpret what it is given. */
#include "spec_bytes.h"
#include "frame.h"
#include "messages.h"
#include "tlv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool reserve(struct spec_bytes *spec, size_t more)
{
	if (more > SPEC_BYTES_MAX - spec->length)
		return false;
	if (spec->bytes == NULL) {
		/* Pages that are never touched cost nothing. */
		void *bytes = mmap(NULL, SPEC_BYTES_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (bytes == MAP_FAILED)
			return false;
		spec->bytes = bytes;
		spec->room = SPEC_BYTES_MAX;
	}
	return true;
}

bool spec_bytes_put(struct spec_bytes *spec, uint16_t tag, const void *value, size_t length)
{
	struct vmrm_tlv_writer writer;
	if (!reserve(spec, length + VMRM_TLV_HEADER_BYTES))
		return false;
	vmrm_tlv_write_to(&writer, spec->bytes + spec->length, spec->room - spec->length);
	vmrm_tlv_put(&writer, tag, value, length);
	spec->length += writer.length;
	return !writer.overflow;
}

bool spec_bytes_put_text(struct spec_bytes *spec, uint16_t tag, const char *text)
{
	return spec_bytes_put(spec, tag, text, strlen(text));
}

int spec_bytes_put_file(struct spec_bytes *spec, uint16_t tag, const void *head, size_t head_length, int fd)
{
	if (!reserve(spec, head_length + VMRM_TLV_HEADER_BYTES))
		return E2BIG;
	uint8_t *header = spec->bytes + spec->length;
	uint8_t *at = header + VMRM_TLV_HEADER_BYTES;
	size_t room = spec->room - spec->length - VMRM_TLV_HEADER_BYTES;
	size_t count = head_length;
	if (head_length > 0)
		memcpy(at, head, head_length);
	for (;;) {
		char more;
		ssize_t n = count < room ? read(fd, at + count, room - count) : read(fd, &more, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (n == 0)
			break;
		if (count == room)
			return E2BIG;
		count += (size_t)n;
	}
	memset(header, 0, VMRM_TLV_HEADER_BYTES);
	header[0] = (uint8_t)tag;
	header[1] = (uint8_t)(tag >> 8);
	vmrm_put_u32(header + 4, (uint32_t)count);
	spec->length += VMRM_TLV_HEADER_BYTES + count;
	return 0;
}

bool spec_bytes_put_umask(struct spec_bytes *spec, unsigned mask)
{
	uint8_t bytes[4];
	vmrm_put_u32(bytes, mask);
	return spec_bytes_put(spec, VMRM_SPEC_UMASK, bytes, sizeof bytes);
}

bool spec_bytes_put_terminal(struct spec_bytes *spec, const struct terminal_size *size)
{
	char value[128];
	const char *term = getenv("TERM");
	int n = snprintf(value, sizeof value, "%.64s%c%u%c%u", term == NULL ? "dumb" : term, '\0', size->rows, '\0', size->columns);
	return spec_bytes_put(spec, VMRM_SPEC_TERMINAL, value, (size_t)n);
}

void spec_bytes_free(struct spec_bytes *spec)
{
	if (spec->bytes != NULL)
		munmap(spec->bytes, spec->room);
	*spec = (struct spec_bytes){0};
}
