/*
 * Owns when the kernel loads modules for NFS: before a mount needs them, and not during one that needs no more.
 * Must never leave a guest that cannot load modules.
 */
#ifndef VMRM_AGENT_NFS_MODULES_H
#define VMRM_AGENT_NFS_MODULES_H

#include <stdbool.h>

/* Loads the client for NFS 4, if it is not there yet. Waits for it; whether it worked is seen when mounting. */
void nfs_load_modules(void);

struct held_loading {
	char program[256]; /* what the kernel starts to load a module; empty: it was not held */
};

/*
 * From here on the kernel loads no module by itself. Its client asks for Kerberos at each first mount, three times, and in a guest
 * whose code is emulated the program that then finds none, or loads what nobody needs, takes longer than all the rest of the mount.
 */
void module_loading_hold(struct held_loading *held);
void module_loading_release(const struct held_loading *held);

#endif
