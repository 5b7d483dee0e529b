// The submitting side, in sbatch, salloc and srun: from a request to the job-control environment, or to a refusal.
#ifndef VMRM_SUBMIT_H
#define VMRM_SUBMIT_H

#include <stdbool.h>

#include "slurm.h"

// This process is an srun that adds a step to the allocation it runs in.
bool is_step_in_allocation(void);

// Forgets what this process inherited from a job it runs in, so that a nested submission does not become a VM job by accident.
void forget_outer_job(void);

// After the options of one job, or of one component of a heterogeneous job. False: refused with a message.
bool submit(spank_t spank);

#endif
