/*
 * Owns the child's side of starting a task.
 */
#ifndef VMRM_TASK_CHILD_H
#define VMRM_TASK_CHILD_H

#include "spawn.h"

/* The task's own ends of its pipes, and the one on which a failure is told. */
struct task_ends {
	int in, out, err, status;
};

/* Remembers the limits, the priority and the scheduling policy that a task starts from; call it before the agent raises its own. */
void child_keep_limits(void);

/* Becomes the task; on failure writes a struct spawn_failure to ends->status and exits. */
_Noreturn void child_run(const struct spawn_request *request, const struct task_group *group, const struct task_ends *ends);

#endif
