/* Owns what a task is to run, as the bytes of the spec stream. Must never interpret the command, and never send a variable that only a host has. */
#ifndef RUN_TASK_SPEC_H
#define RUN_TASK_SPEC_H

#include "job.h"
#include "mpi.h"
#include "spec_bytes.h"

struct task_request {
	const struct job *job;
	const struct mpi *mpi;
	const char *cpus; /* the VM's own numbers, such as 0,2-3; NULL: not bound */
	const struct terminal_size *terminal; /* NULL: none */
	bool has_stdin;
};

/* Returns 0, or the exit code after it said on stderr what is wrong. */
int task_spec_build(struct spec_bytes *spec, const struct task_request *request);

/* What the task runs, as slurmstepd would name it. */
const char *task_spec_command(const struct job *job);

#endif
