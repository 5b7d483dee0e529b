/*
 * Owns who a task is to run as, as numbers.
 */
#ifndef VMRM_TASK_ACCOUNT_H
#define VMRM_TASK_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define ACCOUNT_GROUPS_MAX 1025

struct account {
	bool is_own; /* the caller is this user already, with nothing to give up: on the host */
	uid_t uid;
	gid_t gid;
	gid_t groups[ACCOUNT_GROUPS_MAX];
	size_t group_count;
};

#endif
