/* Owns what vmrm-run says and hears as a task of a job: its place, what it runs, and why it may not. */
#ifndef RUN_TASK_ROLE_H
#define RUN_TASK_ROLE_H

#include "job.h"
#include "mpi.h"
#include "session.h"

/* The session's context. */
struct task_context {
	struct job job;
	struct mpi mpi;
};

extern const struct session_role task_role;

#endif
