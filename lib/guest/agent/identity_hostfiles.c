/*
 * Owns the files that MPI's launchers read: each VM of the job with the number of tasks that Slurm placed there.
 * Must never name a VM without a task: launchers would start one there.
 */
#include "identity.h"
#include "text_file.h"

#include <errno.h>
#include <string.h>

/* The name in a line of /etc/hosts: its second word. */
static const char *host_name(const char *line, int *length)
{
	const char *name = strchr(line, ' ') + 1;
	*length = (int)strcspn(name, " ");
	return name;
}

/* `between` separates name and number. */
static bool write_file(const struct identity *identity, const char *path, const char *between, struct complaint *complaint)
{
	struct text lines = {0};
	text_add(&lines, "", 0);
	for (size_t i = 0; i < identity->host_count; i++) {
		int length;
		const char *name = host_name(identity->hosts[i], &length);
		if (identity->slots[i] > 0)
			text_addf(&lines, "%.*s%s%u\n", length, name, between, identity->slots[i]);
	}
	bool done = text_replace(path, &lines, 0644);
	int error = errno;
	text_free(&lines);
	return done || complain(complaint, error, "cannot write %s", path);
}

bool identity_apply_hostfiles(const struct identity *identity, struct complaint *complaint)
{
	if (identity->slot_count == 0)
		return true;
	if (!make_folders(IDENTITY_FOLDER))
		return complain(complaint, errno, "cannot make the folder %s", IDENTITY_FOLDER);
	return write_file(identity, IDENTITY_FOLDER "/hostfile", " slots=", complaint) &&
		write_file(identity, IDENTITY_FOLDER "/machinefile", ":", complaint);
}
