/*
 * Owns the processes of a session as a set: a cgroup (v2) below the agent's own, or else a process group and session.
 * Must never signal a process that is not the session's.
 */
#ifndef VMRM_TASK_GROUP_H
#define VMRM_TASK_GROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct task_group {
	int directory_fd; /* the cgroup, or -1 */
	pid_t leader;     /* session and process group of the first process; 0 before there is one */
	bool is_begun_in; /* the first process was made in the cgroup */
	char name[48];
};

/* Finds (as an init-started service also mounts) cgroup2, and kills what an earlier agent left. Without cgroup2 process groups serve. */
void groups_start(void);
/* Makes the session's group; never fails: without a cgroup the process group has to do. */
void group_make(struct task_group *group, uint64_t session);
/* fork, with the child in the group from its beginning where the kernel can. -1: errno. */
pid_t group_fork(struct task_group *group);
/* In the child: moves the caller in, if it is not. False (errno): it could not. */
bool group_enter(const struct task_group *group);
/* Sends a signal to every process of the group. */
void group_signal(const struct task_group *group, int signal_number);
/* SIGKILL to all. Call it again until group_is_empty. */
void group_kill(const struct task_group *group);
bool group_is_empty(const struct task_group *group);
/* Removes an empty group. False: the kernel still says busy. */
bool group_remove(struct task_group *group);

#endif
