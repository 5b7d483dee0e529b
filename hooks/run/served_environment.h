/* Owns the environment of a call's command on the host. Must never let one of the guest's through that variables.h names, nor its PATH or SLURM_CONF. */
#ifndef RUN_SERVED_ENVIRONMENT_H
#define RUN_SERVED_ENVIRONMENT_H

#include "served_command.h"

/* Replaces the spec's environment. `guest_folder`: what vmrm-run shall make a task's folder; NULL: nothing. NULL: done; else the sentence why not. */
const char *served_environment_set(struct served_command *command, struct spec *spec, const char *guest_folder);

#endif
