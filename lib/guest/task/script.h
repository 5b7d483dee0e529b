/*
 * Owns the file that holds a batch script in the guest.
 */
#ifndef VMRM_TASK_SCRIPT_H
#define VMRM_TASK_SCRIPT_H

#include "spec.h"

#include <sys/types.h>

/* Writes the spec's script for the user. Returns 0 or an errno. Runs as root, in the child. */
int script_write(const struct spec *spec, uid_t uid, gid_t gid);

#endif
