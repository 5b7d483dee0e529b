/*
 * Owns the order in which a VM takes its identity.
 * Must never run in the agent's own process (see identity.h).
 */
#include "identity.h"

bool identity_apply(const struct identity *identity, struct complaint *complaint)
{
	/* Time and random numbers first: what follows may already use them. Mounts need the network, the home the mounts. */
	return identity_apply_clock(identity, complaint) && identity_apply_hostname(identity, complaint) && identity_apply_network(identity, complaint) &&
		identity_apply_users(identity, complaint) && identity_apply_mounts(identity, complaint) && identity_apply_home(identity, complaint) &&
		identity_apply_commands(identity, complaint) && identity_apply_hostfiles(identity, complaint) && identity_apply_ssh(identity, complaint);
}
