/*
 * Owns what a call becomes on the host: program, arguments, files, environment and folder.
 * Must never let the guest choose the program, nor what acts on it before its own code runs.
 * The texts it makes are never freed: the process ends with the call.
 */
#ifndef RUN_SERVED_COMMAND_H
#define RUN_SERVED_COMMAND_H

#include "spec.h"

#include <stdbool.h>
#include <stdint.h>

#define SERVED_ARGUMENTS_MAX 16

struct served_command {
	const char *name; /* as the guest called it: srun */
	char program[4096]; /* what vmrmd says that is */
	char *arguments[SERVED_ARGUMENTS_MAX]; /* to put in front of the caller's */
	size_t argument_count;
	char folder[4096]; /* this call's own, below vmrmd's; made when there is something to put into it */
	bool holds; /* an salloc whose command runs in the guest */
	char hold_socket[4200];
	char **environment; /* of an salloc that holds: what it was given */
};

/* Changes the spec of a caller into what runs. NULL: done; else the sentence why not. For task->prepare. */
const char *served_command_prepare(void *command, struct spec *spec);
/* Removes the folder and what is in it. */
void served_command_clean(const struct served_command *command);

#endif
