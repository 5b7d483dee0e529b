/* Owns what is to run, as the bytes of the spec stream. Must never interpret the command, and never send a variable that only a host has. */
#ifndef RUN_SPEC_H
#define RUN_SPEC_H

#include "job.h"

#include <stddef.h>
#include <stdint.h>

struct spec {
	uint8_t *bytes; /* mapped, so that a waiting vmrm-run can give all of it back */
	size_t length;
	size_t room;
};

struct terminal_size {
	uint32_t rows;
	uint32_t columns;
};

struct spec_request {
	const struct job *job;
	const char *cpus; /* the VM's own numbers, such as 0,2-3; NULL: not bound */
	const struct terminal_size *terminal; /* NULL: none */
	bool has_stdin;
};

/* Returns 0, or the exit code after it said on stderr what is wrong. */
int spec_build(struct spec *spec, const struct spec_request *request);
void spec_free(struct spec *spec);

#endif
