/* Owns the folder that TMPDIR names. */
#ifndef VMRM_TASK_TEMPORARY_FOLDER_H
#define VMRM_TASK_TEMPORARY_FOLDER_H

#include "spec.h"

/*
 * Makes the folder that the task's TMPDIR names, where there is none, with the rights of the caller; where that fails, TMPDIR becomes /tmp
 * and two lines on stderr say so. Slurm's users know both, words included, from slurmstepd (22.05).
 */
void temporary_folder_make(const struct spec *spec);

#endif
