/* Decodes every frame on stdin with the C codec and encodes it again to stdout. Exits 1 at bytes that are no good frame. */
#include "frame.h"

#include <stdio.h>
#include <string.h>

static uint8_t in[1 << 22];
static uint8_t out[VMRM_FRAME_MAX_BYTES];

int main(void)
{
	size_t count = fread(in, 1, sizeof in, stdin);
	struct vmrm_frame frame;
	for (size_t at = 0; at < count; at += VMRM_HEADER_BYTES + frame.length) {
		if (vmrm_frame_decode(in + at, count - at, &frame) != VMRM_DECODED_FRAME)
			return 1;
		size_t length = vmrm_frame_encode(out, sizeof out, &frame);
		if (fwrite(out, 1, length, stdout) != length)
			return 2;
	}
	return 0;
}
