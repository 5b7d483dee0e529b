/* Owns the bytes of a spec stream while they are put together: what is to run. Must never interpret what it is given. */
#ifndef VMRM_CLIENT_SPEC_BYTES_H
#define VMRM_CLIENT_SPEC_BYTES_H

#include "terminal.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bound of the side that runs it. Slurm's own for a script is 4 MB, the kernel's for arguments and environment 2 MB. */
#define SPEC_BYTES_MAX (16u << 20)

struct spec_bytes {
	uint8_t *bytes; /* mapped, so that a process that waits can give all of it back */
	size_t length;
	size_t room;
};

/* Adds a field. False: it does not fit. */
bool spec_bytes_put(struct spec_bytes *spec, uint16_t tag, const void *value, size_t length);
bool spec_bytes_put_text(struct spec_bytes *spec, uint16_t tag, const char *text);
/* Adds a field of `head` and then all that can be read from the file. Returns 0 or an errno; E2BIG: it does not fit. */
int spec_bytes_put_file(struct spec_bytes *spec, uint16_t tag, const void *head, size_t head_length, int fd);
bool spec_bytes_put_umask(struct spec_bytes *spec, unsigned mask);
bool spec_bytes_put_terminal(struct spec_bytes *spec, const struct terminal_size *size);
void spec_bytes_free(struct spec_bytes *spec);

#endif
