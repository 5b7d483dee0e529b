/* Owns what vmrm-run says and hears as a task of a job: its place, what it runs, and why it may not. */
#ifndef RUN_TASK_ROLE_H
#define RUN_TASK_ROLE_H

#include "session.h"

/* The session's context is its struct job. */
extern const struct session_role task_role;

#endif
