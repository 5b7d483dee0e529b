/*
 * Owns the guest's own name and the names of the job's other VMs.
 * Must never touch a line of /etc/hosts outside its own marked block.
 */
#include "identity.h"
#include "text_file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BEGIN "# vmrm: begin of the job's hosts\n"
#define BLOCK_END "# vmrm: end of the job's hosts\n"

/* Adds the file's text without an earlier block. */
static void add_without_block(struct text *new, const struct text *old)
{
	const char *begin = strstr(old->bytes, BLOCK_BEGIN);
	const char *end = begin != NULL ? strstr(begin, BLOCK_END) : NULL;
	size_t before = end != NULL ? (size_t)(begin - old->bytes) : old->length;
	text_add(new, old->bytes, before);
	if (end != NULL)
		text_add(new, end + strlen(BLOCK_END), old->length - (size_t)(end + strlen(BLOCK_END) - old->bytes));
	if (new->length > 0 && new->bytes[new->length - 1] != '\n')
		text_add(new, "\n", 1);
}

static bool write_hosts(const struct identity *identity, struct complaint *complaint)
{
	struct text old = {0}, new = {0};
	bool done = text_read(&old, "/etc/hosts");
	if (done) {
		add_without_block(&new, &old);
		text_addf(&new, "%s", BLOCK_BEGIN);
		for (size_t i = 0; i < identity->host_count; i++)
			text_addf(&new, "%s\n", identity->hosts[i]);
		text_addf(&new, "%s", BLOCK_END);
		done = text_replace("/etc/hosts", &new, 0644);
	}
	if (!done)
		complain(complaint, errno, "cannot write /etc/hosts");
	text_free(&old);
	text_free(&new);
	return done;
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
