/* Owns finding the session that a process belongs to. */
#ifndef VMRM_AGENT_CALL_ORIGIN_H
#define VMRM_AGENT_CALL_ORIGIN_H

#include "task.h"

/* The running task's session that the process is of; else the first that runs; 0: none does. */
uint64_t call_origin(struct task *const *tasks, size_t count, pid_t pid);

#endif
