/*
 * Owns the daemon's own business with the agent: greeting, identity, template, time.
 * Must never touch a session but to pause it while the channel is renewed.
 */
#ifndef VMRM_AGENT_DAEMON_H
#define VMRM_AGENT_DAEMON_H

#include "agent.h"

/* A frame came that belongs to no session. */
void daemon_on_frame(struct agent *agent, const struct vmrm_frame *frame);
/* What is owed to the daemon and to sessions that are not there. False: nothing. */
bool daemon_next_frame(struct agent *agent, struct vmrm_frame *frame);

#endif
