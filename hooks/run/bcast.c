/* Owns the place of a program that `srun --bcast` has put onto the node's disk. Must never copy it: the spec does. */
#include "bcast.h"

#include "multi_prog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *bcast_program(const struct job *job)
{
	char *path = NULL;
	const char *name = job->argv[0];
	const char *step = getenv("SLURM_STEP_ID");
	const char *node = getenv("SLURMD_NODENAME");
	size_t length = strlen(name);
	if (!job->is_bcast || step == NULL || multi_prog_is(job->argc) || name[0] != '/')
		return NULL;
	if (name[length - 1] != '/')
		return strdup(name);
	/* slurmd and slurmstepd (22.05) complete the name of a folder so, the latter only just before its own execve. */
	return asprintf(&path, "%sslurm_bcast_%s.%s_%s", name, job->id, step, node != NULL ? node : "") < 0 ? NULL : path;
}
