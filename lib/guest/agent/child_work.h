/*
 * Owns one piece of work that may block, done by a child process of the agent, and what that child answers.
 * Must never have two children at work in one place, nor wait for one without a bound.
 */
#ifndef VMRM_AGENT_CHILD_WORK_H
#define VMRM_AGENT_CHILD_WORK_H

#include "complaint.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What the child answers; it fits a pipe's atomic write. */
struct work_answer {
	struct complaint complaint; /* empty: it went well */
	char phases[256];           /* `name=ms name=ms …` */
};

struct child_work {
	const char *title; /* for complaints: what the child does */
	pid_t child;       /* 0: none */
	int answer_fd;
	int64_t deadline_ms;
	int wait_ms;
};

typedef void (*work_fn)(const void *subject, struct work_answer *answer);

/* Starts `work` in a child, which is killed after `wait_ms`. False: a complaint says why not. */
bool child_work_start(struct child_work *work, work_fn fn, const void *subject, struct complaint *complaint);
/* A child has ended. True: it was this one, and its answer is there. */
bool child_work_on_child(struct child_work *work, pid_t pid, int wait_status, struct work_answer *answer);
void child_work_tick(struct child_work *work);
/* Kills the child, if there is one; its end is nobody's business any more. */
void child_work_drop(struct child_work *work);

#endif
