/*
 * Owns finding the place for the sessions' cgroups.
 */
#ifndef VMRM_TASK_CGROUP_ROOT_H
#define VMRM_TASK_CGROUP_ROOT_H

/* A directory fd of the agent's own cgroup (version 2), or -1. */
int cgroup_root_open(void);

#endif
