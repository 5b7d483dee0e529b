/*
 * Owns the guest's own name and the names of the job's other VMs.
 * Must never touch a line of /etc/hosts outside its own marked block.
 */
#include "identity.h"
#include "marked_block.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static bool write_hosts(const struct identity *identity, struct complaint *complaint)
{
	struct text lines = {0};
	for (size_t i = 0; i < identity->host_count; i++)
		text_addf(&lines, "%s\n", identity->hosts[i]);
	bool done = marked_block_put("/etc/hosts", "the job's hosts", &lines, BLOCK_LAST);
	int error = errno;
	text_free(&lines);
	return done || complain(complaint, error, "cannot write /etc/hosts");
}

bool identity_apply_hostname(const struct identity *identity, struct complaint *complaint)
{
	if (identity->hostname != NULL) {
		struct text name = {0};
		text_addf(&name, "%s\n", identity->hostname);
		bool done = sethostname(identity->hostname, strlen(identity->hostname)) == 0 && text_replace("/etc/hostname", &name, 0644);
		int error = errno;
		text_free(&name);
		if (!done)
			return complain(complaint, error, "cannot set the host name %s", identity->hostname);
	}
	return identity->host_count == 0 || write_hosts(identity, complaint);
}
