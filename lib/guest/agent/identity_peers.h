/*
 * Owns the VMs of the run as an identity names them: in ranges, which become lines of /etc/hosts, and the tasks of each.
 * Must never take more of them than IDENTITY_HOSTS_MAX.
 */
#ifndef VMRM_AGENT_IDENTITY_PEERS_H
#define VMRM_AGENT_IDENTITY_PEERS_H

#include "identity_fields.h"

/* Addresses, names, nodes, and how many VMs each node has: the first VM of a node has the node's name, too. */
bool identity_take_hosts(struct identity *identity, const struct fields *fields);
/* `4*16,2`: of each host, in their order. */
bool identity_take_slots(struct identity *identity, const char *text);

#endif
