/* The site's TaskProlog (slurm.conf), which slurmstepd runs after the place where vmrm-run takes over. */
#ifndef VMRM_TASK_PROLOG_H
#define VMRM_TASK_PROLOG_H

/*
 * Runs the program on the host, as the user that we are, and does what its output asks for: export, unset, print. Waits for its end, as slurmstepd does.
 * Returns 0, or the exit code that the task ends with after it said so.
 */
int task_prolog_run(const char *path);

#endif
