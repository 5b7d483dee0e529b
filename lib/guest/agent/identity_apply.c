/*
 * Owns the order in which a VM takes its identity, and how long each step took.
 * Must never run in the agent's own process (see identity.h).
 */
#include "identity.h"

#include "clock.h"
#include "freeze.h"

#include <stdio.h>
#include <string.h>

/* Some of them have to answer what follows, such as systemd's bus. */
static bool let_others_go(const struct identity *identity, struct complaint *complaint)
{
	(void)identity;
	(void)complaint;
	thaw_others();
	return true;
}

/*
 * Time and random numbers first: what follows may already use them. The ssh server gives its old keys up before the VM can be
 * reached. Mounts need the network, the home the mounts.
 */
static const struct {
	const char *name;
	bool (*apply)(const struct identity *identity, struct complaint *complaint);
} steps[] = {
	{"clock", identity_apply_clock},
	{"thaw", let_others_go},
	{"uuid", identity_apply_uuid},
	{"hostname", identity_apply_hostname},
	{"users", identity_apply_users},
	{"ssh", identity_apply_ssh},
	{"network", identity_apply_network},
	{"mounts", identity_apply_mounts},
	{"home", identity_apply_home},
	{"commands", identity_apply_commands},
	{"hostfiles", identity_apply_hostfiles},
};

void identity_apply(const void *subject, struct work_answer *answer)
{
	size_t used = 0;
	bool done = true;
	for (size_t i = 0; done && i < sizeof steps / sizeof *steps; i++) {
		int64_t began_ms = now_ms();
		done = steps[i].apply(subject, &answer->complaint);
		int length = snprintf(answer->phases + used, sizeof answer->phases - used, "%s%s=%d", used > 0 ? " " : "", steps[i].name, (int)(now_ms() - began_ms));
		used += length > 0 ? (size_t)length : 0;
	}
}
