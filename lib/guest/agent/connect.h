/*
 * Owns `vmrm-connect PORT`, a name of the agent's own binary: its stdin and stdout become a connection to a port of the
 * guest's loopback. `vmrm ssh` reaches sshd so, whatever network the VM has.
 * Must never connect to another host, nor wait without a bound for a server that does not start.
 */
#ifndef VMRM_AGENT_CONNECT_H
#define VMRM_AGENT_CONNECT_H

#define CONNECT_NAME "vmrm-connect"

/* Returns the exit code. */
int connect_main(int argc, char **argv);

#endif
