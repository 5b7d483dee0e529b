/*
 * Owns the folder that TMPDIR names.
 * Must never run as another than the task's user.
 */
#include "temporary_folder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define NAME "TMPDIR="

static bool is_there(const char *path)
{
	struct stat status;
	if (mkdir(path, 0700) == 0)
		return true;
	int error = errno;
	if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
		return true;
	if (error == EEXIST)
		dprintf(2, "slurmstepd: error: TMPDIR [%s] is not a directory\n", path);
	else
		dprintf(2, "slurmstepd: error: Unable to create TMPDIR [%s]: %s\n", path, strerror(error));
	return false;
}

void temporary_folder_make(const struct spec *spec)
{
	static char fallback[] = NAME "/tmp";
	for (char **entry = spec->envp; *entry != NULL; entry++) {
		if (strncmp(*entry, NAME, sizeof NAME - 1) != 0 || is_there(*entry + sizeof NAME - 1))
			continue;
		dprintf(2, "slurmstepd: error: Setting TMPDIR to /tmp\n");
		*entry = fallback;
	}
}
