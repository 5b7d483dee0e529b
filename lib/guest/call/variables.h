/*
 * Owns which variables of a guest must not act on a program of the host, and under which names they travel.
 * Must never let one through that it knows to change what a program does before its own code runs, or to name a file or program for srun itself:
 * those are the guest's. It knows the loader's, the C library's, Lua's, OpenSSL's and Bun's; what a plug-in of the site reads is the site's to judge.
 */
#ifndef VMRM_CALL_VARIABLES_H
#define VMRM_CALL_VARIABLES_H

#include <stdbool.h>

#define GUEST_PREFIX "VMRM_GUEST_"
#define GUEST_PREFIX_LENGTH (sizeof GUEST_PREFIX - 1)
/* The folder in the guest where srun or sbatch was called, if the host does not have it. */
#define GUEST_CWD "VMRM_GUEST_CWD"
/* PATH of every command that a guest calls. */
#define CALL_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Whether the variable of this entry (NAME=value) travels with GUEST_PREFIX in front of its name. */
bool variable_is_guest_only(const char *entry);
/* Whether two entries are of one variable. */
bool variable_is_same(const char *entry, const char *other);

#endif
