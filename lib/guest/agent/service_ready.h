/*
 * Owns telling systemd, where it runs the agent, that the VM is who it shall be: units ordered after the agent start then.
 * Must never wait, nor fail where there is no systemd.
 */
#ifndef VMRM_AGENT_SERVICE_READY_H
#define VMRM_AGENT_SERVICE_READY_H

/* Says it once; further calls do nothing. */
void service_ready(void);

#endif
