/*
 * Owns starting a session's first process as the user.
 */
#ifndef VMRM_TASK_SPAWN_H
#define VMRM_TASK_SPAWN_H

#include "account.h"
#include "group.h"
#include "spec.h"

/* Where the child failed, as it tells its parent. */
enum spawn_stage { SPAWN_SETUP = 1, SPAWN_SCRIPT, SPAWN_USER, SPAWN_EXEC };

struct spawn_failure {
	int32_t stage;
	int32_t error;
};

struct spawn_request {
	const struct spec *spec;
	const struct account *account;
	int wire_fd; /* the task's end of its wire, for spec->wire_number; -1: none */
};

/* The parent's ends, non-blocking; -1: there is none. With a terminal `in` and `out` are two fds of its master side. */
struct spawned {
	pid_t pid;
	int in, out, err;
	int status; /* a struct spawn_failure, or end of file when exec has succeeded */
};

/* Starts the process in the group (its leader is filled in). False: errno. Never blocks on the child. */
bool spawn(const struct spawn_request *request, struct task_group *group, struct spawned *spawned);

#endif
