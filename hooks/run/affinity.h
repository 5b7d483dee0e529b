/* The CPUs of the host that Slurm has bound this task to. */
#ifndef VMRM_AFFINITY_H
#define VMRM_AFFINITY_H

#include <stdbool.h>
#include <stddef.h>

#define AFFINITY_TEXT_MAX 4096

/* A list such as 0,2-3; false: it cannot be known or does not fit, and counts as no binding. */
bool affinity_read(char *text, size_t size);

#endif
