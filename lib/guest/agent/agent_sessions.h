/*
 * Owns the agent's sessions as a set.
 * Must never act on a frame of session 0, nor on one of a call's.
 */
#ifndef VMRM_AGENT_SESSIONS_H
#define VMRM_AGENT_SESSIONS_H

#include "agent.h"

/* A frame of a session came, of one that is there or not. */
void sessions_on_frame(struct agent *agent, const struct vmrm_frame *frame);
/* The next frame that a session has for its client; each has its turn. False: none. */
bool sessions_next_frame(struct agent *agent, struct vmrm_frame *frame);
/* Time has passed: those that are over and clean go. */
void sessions_tick(struct agent *agent);
/* Whether sessions_tick is wanted soon. */
bool sessions_want_tick(const struct agent *agent);

#endif
