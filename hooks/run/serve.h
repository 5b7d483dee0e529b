/*
 * Owns the server of one call: the process on the host that runs one of Slurm's commands for a process in the guest.
 * Must never run anything but the program that vmrmd names.
 */
#ifndef RUN_SERVE_H
#define RUN_SERVE_H

#include "job.h"

#include <stdint.h>
#include <sys/types.h>

#define SERVE_COMMAND_BYTES 64

struct serve_request {
	const struct job *job;
	uint64_t parent; /* the task's session */
	uint64_t call;
	char command[SERVE_COMMAND_BYTES];
};

/* Serves until the call is over; returns an exit code that nobody needs. `parent` is the vmrm-run that must live as long. */
int serve(const struct serve_request *request, pid_t parent);

#endif
