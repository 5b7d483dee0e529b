// The node's side, in slurmstepd: does this task belong into a VM, and if so, into it.
#ifndef VMRM_TASK_H
#define VMRM_TASK_H

#include "slurm.h"

// Notes the image that a step's own option names, as slurmstepd reports it; never fails.
void task_note_option(const char *image);

// In the task's process, as the user, just before its program. Returns if the task runs on the host;
// else becomes vmrm-run, or ends the process with exit code 1 after a sentence on its stderr.
void task_enter_vm(spank_t spank);

#endif
