/*
 * Owns what a client asks to run: the parsed spec stream.
 * Must never be trusted further than its types: it comes from a user.
 */
#ifndef VMRM_TASK_SPEC_H
#define VMRM_TASK_SPEC_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

/* The whole spec; Slurm's own bound for a script is 4 MB, the kernel's for arguments and environment 2 MB. */
#define SPEC_MAX_BYTES (16u << 20)
/* Numbers that an inherited socket may have: above the streams, and where no limit of a task's is in the way. */
#define SPEC_WIRE_FIRST 4
#define SPEC_WIRE_LAST 255

struct spec_limit {
	int resource;
	struct rlimit value;
};

/* A file that comes with a call, and the argument that names it. */
struct spec_file {
	uint32_t argument;
	uint32_t offset; /* bytes of that argument in front of the name */
	const uint8_t *bytes; /* inside the bytes that were parsed */
	size_t length;
};

#define SPEC_FILES_MAX 4

struct spec {
	char *texts; /* the texts below lie here */
	char **argv; /* ends with NULL, at least one */
	const char *program; /* what is executed; NULL: argv[0]. A spec's bytes cannot name it */
	char **envp; /* ends with NULL */
	const char *cwd; /* NULL: not given */
	const char *cwd_else; /* where to go without a word if that cannot be entered; NULL: /tmp, with one */
	unsigned umask;
	const char *script_path; /* NULL: no script */
	const uint8_t *script; /* inside the bytes that were parsed */
	size_t script_bytes;
	struct spec_file files[SPEC_FILES_MAX];
	size_t file_count;
	size_t argc;
	struct spec_limit limits[RLIM_NLIMITS];
	size_t limit_count;
	bool has_cpus;
	cpu_set_t cpus;
	bool has_terminal, has_no_stdin;
	unsigned rows, columns;
	int wire_number; /* the inherited fd's; -1: none */
	const char *wire_prefix, *wire_address; /* of the variables that name a server, and its address in them; NULL: none */
	char *renamed; /* variables with the address of here */
};

/* NULL if it makes no sense; `why` then points at a sentence. `bytes` must live as long as the spec. */
struct spec *spec_parse(const uint8_t *bytes, size_t length, const char **why);
void spec_free(struct spec *spec);
/* The value of a variable in the spec's environment, or NULL. */
const char *spec_getenv(const struct spec *spec, const char *name);

#endif
