/*
 * Owns getting a guest ready to be copied: what has begun has ended, what is to be on the disk is there, and memory is worth its place.
 * Must never run in the agent's own process, since it waits (child_work.h).
 */
#ifndef VMRM_AGENT_TEMPLATE_H
#define VMRM_AGENT_TEMPLATE_H

#include "child_work.h"

/* After this the child is killed. */
#define TEMPLATE_WAIT_MS 300000

/* `subject` is a uint32_t: for how many milliseconds to wait for rest. A guest that is busy longer is a template all the same. */
void template_prepare(const void *subject, struct work_answer *answer);

#endif
