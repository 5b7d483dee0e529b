/* The resource limits of a task; see limits.c. */
#ifndef VMRM_RUN_LIMITS_H
#define VMRM_RUN_LIMITS_H

#include "task_spec.h"

#include <stdbool.h>

/* Notes the limits that slurmstepd left, then lets vmrm-run itself dump no core. Once, first of all. */
void limits_keep(void);

/* Whether a variable is Slurm's way to carry a limit: slurmstepd removes them just before its own execve. */
bool limits_is_variable(const char *entry);

bool limits_put(struct spec_bytes *spec);

#endif
