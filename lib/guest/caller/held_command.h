/*
 * Owns the command of an salloc, which runs here in the guest while the host holds the allocation.
 * Must never start before the host has said that the allocation is there.
 */
#ifndef VMRM_CALLER_HELD_COMMAND_H
#define VMRM_CALLER_HELD_COMMAND_H

#include "ending.h"
#include "frame.h"
#include "plan.h"

#include <sys/types.h>

struct held_command {
	pid_t pid; /* 0: it does not run */
	bool was_started;
};

/* HELD came: starts the command with what the frame adds to the environment. Again: nothing. False: it could not be started, and said why. */
bool held_command_start(struct held_command *held, const struct plan *plan, const struct vmrm_frame *frame);
/* salloc has sent it a signal. */
void held_command_signal(const struct held_command *held, int number);
/* Whether it has ended, and how: salloc is to see its command end so. */
bool held_command_ended(struct held_command *held, struct ending *ending);

#endif
