/*
 * Owns a task's part of a poll.
 * Must never wait.
 */
#ifndef VMRM_TASK_TASK_POLL_H
#define VMRM_TASK_TASK_POLL_H

#include "task.h"

#include <poll.h>

enum { TASK_IN, TASK_OUT, TASK_ERR, TASK_STATUS, TASK_FDS };

/* Fills TASK_FDS places. The task's stdin is watched even with nothing to write: its reader may go. */
void task_watch(const struct task *task, struct pollfd *places);
/* What poll found there. */
void task_serve(struct task *task, const struct pollfd *places);

#endif
