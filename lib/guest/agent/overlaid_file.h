/*
 * Owns files of the kernel's (below /sys and /proc) that say what was true at the boot: another file is laid over each.
 * Must never lay two over one place.
 */
#ifndef VMRM_AGENT_OVERLAID_FILE_H
#define VMRM_AGENT_OVERLAID_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* From here on the file has these bytes, for all who look. `name` is its copy's. Nothing is done where there is no such file. False: errno. */
bool overlaid_put(const char *path, const char *name, const void *bytes, size_t length, mode_t mode);
/* Lays a copy over the file as it is, so that a later change needs no mount. Nothing is done where that cannot be. */
void overlaid_prepare(const char *path, const char *name, mode_t mode);

#endif
