// srun --multi-prog: told from srun to vmrm-run, since slurmstepd (22.05) gives a plug-in no way to know.
#ifndef VMRM_MULTI_PROG_H
#define VMRM_MULTI_PROG_H

// In every task's environment, whatever --export says, as all of SLURM_*. The task's arguments are then the name of the
// configuration and its whole text.
#define MULTI_PROG_VARIABLE "SLURM_SPANK_VMRM_MULTI_PROG"

// In srun, after its options: sets the variable if they include --multi-prog.
void multi_prog_announce(void);

#endif
