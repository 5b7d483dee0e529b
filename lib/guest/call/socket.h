/* Owns where in a guest the agent takes calls. */
#ifndef VMRM_CALL_SOCKET_H
#define VMRM_CALL_SOCKET_H

#define CALL_SOCKET "/run/vmrm/call.sock"

#endif
