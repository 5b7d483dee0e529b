/*
 * Owns what the agent's process has and no task's.
 * Must never fail: an agent without it is better than none.
 */
#ifndef VMRM_AGENT_PROTECTION_H
#define VMRM_AGENT_PROTECTION_H

void protect(void);

#endif
