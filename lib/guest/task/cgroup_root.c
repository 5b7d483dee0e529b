/*
 * Owns finding the place for the sessions' cgroups: the agent's own group in the cgroup2 hierarchy.
 * Must never mount over anything, nor use a version 1 hierarchy.
 */
#include "cgroup_root.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOUNT_POINT "/sys/fs/cgroup"

/* The first cgroup2 mount; fills root (the part of the hierarchy it shows) and point. `is_taken`: something lies on MOUNT_POINT. */
static bool find_mount(char root[256], char point[256], bool *is_taken)
{
	bool found = false;
	char line[1024];
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	*is_taken = mounts == NULL;
	while (mounts != NULL && fgets(line, sizeof line, mounts) != NULL) {
		char this_root[256], this_point[256];
		const char *type = strstr(line, " - ");
		if (type == NULL || sscanf(line, "%*s %*s %*s %255s %255s", this_root, this_point) != 2)
			continue;
		if (strcmp(this_point, MOUNT_POINT) == 0)
			*is_taken = true;
		if (!found && strncmp(type, " - cgroup2 ", 11) == 0) {
			found = true;
			strcpy(root, this_root);
			strcpy(point, this_point);
		}
	}
	if (mounts != NULL)
		fclose(mounts);
	return found;
}

/* The agent's own group, as `/proc/self/cgroup` gives it for version 2. */
static bool find_own(char path[512])
{
	bool found = false;
	char line[600];
	FILE *groups = fopen("/proc/self/cgroup", "re");
	while (groups != NULL && !found && fgets(line, sizeof line, groups) != NULL)
		found = sscanf(line, "0::%511[^\n]", path) == 1;
	if (groups != NULL)
		fclose(groups);
	return found;
}

static bool is_service_of_init(void)
{
	return getppid() <= 1;
}

int cgroup_root_open(void)
{
	char root[256], point[256], own[512], path[1024];
	bool is_taken;
	if (!find_mount(root, point, &is_taken)) {
		if (is_taken || !is_service_of_init() || mount("cgroup2", MOUNT_POINT, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
			return -1;
		strcpy(root, "/");
		strcpy(point, MOUNT_POINT);
	}
	if (!find_own(own))
		return -1;
	/* A mount of a part of the hierarchy shows its groups without that part's path. */
	const char *below = own;
	size_t prefix = strcmp(root, "/") == 0 ? 0 : strlen(root);
	if (strncmp(own, root, prefix) == 0)
		below += prefix;
	snprintf(path, sizeof path, "%s%s", point, below);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && faccessat(fd, "cgroup.procs", W_OK, 0) != 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}
