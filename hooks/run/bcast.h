/* Owns the place of a program that `srun --bcast` has put onto the node's disk. Must never copy it: the spec does. */
#ifndef RUN_BCAST_H
#define RUN_BCAST_H

#include "job.h"

/* Its path, in memory that is never freed; NULL: this task's program was not copied, or no memory is left. */
char *bcast_program(const struct job *job);

#endif
