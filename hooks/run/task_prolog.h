/* What is run before a task and says what its environment is. slurmstepd would, after the place where vmrm-run takes over. */
#ifndef VMRM_TASK_PROLOG_H
#define VMRM_TASK_PROLOG_H

#include "job.h"

/* What slurmstepd (22.05) says after the reason. */
#define TASK_PROLOG_NOT_RUN "slurmstepd: error: user task_prolog did not exit normally. reason: Run command failed - configuration error\n"

/*
 * Both wait for the program's end, as slurmstepd does, and do what its output asks for: export, unset, print. They return 0, or the exit code
 * that the task ends with after they said so.
 */

/* The site's TaskProlog (slurm.conf), on the host, as the user that we are. */
int task_prolog_run(const char *path);
/* The user's own (srun --task-prolog), in the task's VM, by another vmrm-run. */
int task_prolog_run_in_guest(const struct job *job);

#endif
