/*
 * Owns the agent's few lines on stderr (the guest's console), for the person who looks at a VM that will not start.
 * Must never write what a task says, nor block.
 */
#ifndef VMRM_TASK_LOG_H
#define VMRM_TASK_LOG_H

#include <stdio.h>

#define agent_log(...) ((void)dprintf(2, "vmrm-agent: " __VA_ARGS__))

#endif
