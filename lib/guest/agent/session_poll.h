/*
 * Owns the sessions' part of the agent's poll.
 * Must never wait.
 */
#ifndef VMRM_AGENT_SESSION_POLL_H
#define VMRM_AGENT_SESSION_POLL_H

#include "agent.h"
#include "task_poll.h"

/* So many places sessions_watch may fill. */
#define SESSIONS_FDS_MAX (SESSIONS_MAX * 2 * (TASK_FDS + WIRE_FDS))

/* Fills the places to be polled. Returns how many there are. */
size_t sessions_watch(const struct agent *agent, struct pollfd *places);
/* What poll found there, of the first `sessions`: as many as there were when they were watched. */
void sessions_serve(const struct agent *agent, const struct pollfd *places, size_t sessions);

#endif
