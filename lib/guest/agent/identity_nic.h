/*
 * Owns finding the network device that is to have an identity's MAC.
 * Must never touch a device without hardware (a bridge, a tunnel): such ones are the guest's own.
 */
#ifndef VMRM_AGENT_IDENTITY_NIC_H
#define VMRM_AGENT_IDENTITY_NIC_H

#include "identity.h"

#include <net/if.h>

/* A clone's device has its template's MAC and is given the planned one. Waits for a driver that is still loading, with a bound. */
bool nic_take(int fd, const struct identity *identity, const struct identity_nic *nic, char name[IFNAMSIZ], struct complaint *complaint);

#endif
