// Options of srun and sbatch themselves that vmrm-run must know, told through the environment: slurmstepd (22.05) gives a plug-in no way to.
#ifndef VMRM_STEP_OPTIONS_H
#define VMRM_STEP_OPTIONS_H

// In every task's environment, whatever --export says, as all of SLURM_*.
// --multi-prog: 1. The task's arguments are then the name of the configuration and its whole text.
#define MULTI_PROG_VARIABLE "SLURM_SPANK_VMRM_MULTI_PROG"
// --bcast: 1. Slurm has put the program onto the node's disk, where the first argument says.
#define BCAST_VARIABLE "SLURM_SPANK_VMRM_BCAST"
// --task-prolog and --task-epilog: the program.
#define TASK_PROLOG_VARIABLE "SLURM_SPANK_VMRM_TASK_PROLOG"
#define TASK_EPILOG_VARIABLE "SLURM_SPANK_VMRM_TASK_EPILOG"
// --chdir, or the folder of a guest in which the command was called: an absolute path.
#define FOLDER_VARIABLE "SLURM_SPANK_VMRM_FOLDER"

// Set by a call's server where the host does not have the caller's folder; see docs/internals/guest-channel.md.
#define CALLER_FOLDER_VARIABLE "VMRM_GUEST_CWD"

// Before the options are read: forgets what this process inherited from a step or job it runs in.
void step_options_forget(void);
// After them, in srun (is_step) or sbatch: sets the variables.
void step_options_announce(int is_step);

#endif
