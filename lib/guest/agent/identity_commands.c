/*
 * Owns the places at which Slurm's commands are found in the guest: each leads to the agent's own binary.
 * Must never write to anything but the VM's own disk: a folder may be a share of the site.
 */
#include "identity.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where the binary is copied if it lies on something that may go, such as a seed. */
#define COPY_FOLDER "/usr/lib/vmrm"
#define COPY COPY_FOLDER "/vmrm-agent"

static bool is_same_file(const struct stat *one, const struct stat *other)
{
	return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

static bool copy_binary(const struct stat *binary)
{
	bool is_whole = false;
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int to = make_folders(COPY_FOLDER) ? open(COPY ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0755) : -1;
	off_t left = binary->st_size;
	while (from >= 0 && to >= 0 && left > 0) {
		ssize_t count = sendfile(to, from, NULL, (size_t)left);
		if (count <= 0)
			break;
		left -= count;
	}
	if (to >= 0) {
		is_whole = left == 0 && fchmod(to, 0755) == 0;
		close(to);
	}
	if (from >= 0)
		close(from);
	return is_whole && rename(COPY ".new", COPY) == 0;
}

/* The path of the binary on the VM's own disk. False: there is none and none could be made. */
static bool find_binary(char path[4096], dev_t disk)
{
	struct stat running, named;
	ssize_t length = readlink("/proc/self/exe", path, 4095);
	if (length <= 0 || stat("/proc/self/exe", &running) != 0)
		return false;
	path[length] = '\0';
	if (stat(path, &named) == 0 && is_same_file(&running, &named) && named.st_dev == disk)
		return true;
	strcpy(path, COPY);
	return copy_binary(&running);
}

static bool make_link(const char *path, const char *binary)
{
	char temporary[300];
	snprintf(temporary, sizeof temporary, "%s.vmrm", path);
	unlink(temporary);
	if (symlink(binary, temporary) != 0)
		return false;
	if (rename(temporary, path) == 0)
		return true;
	int error = errno;
	unlink(temporary);
	errno = error;
	return false;
}

/* A share has the command: the agent is laid over that file, which stays as it is. */
static bool lay_over(const char *path, const char *binary)
{
	struct stat here, there;
	if (stat(path, &there) != 0 || stat(binary, &here) != 0)
		return false;
	return is_same_file(&here, &there) || mount(binary, path, NULL, MS_BIND, NULL) == 0;
}

static bool place(const char *path, const char *binary, dev_t disk)
{
	char folder[256];
	struct stat status;
	snprintf(folder, sizeof folder, "%s", path);
	*strrchr(folder, '/') = '\0';
	if (!make_folders(folder[0] != '\0' ? folder : "/") || stat(folder[0] != '\0' ? folder : "/", &status) != 0)
		return false;
	return status.st_dev == disk ? make_link(path, binary) : lay_over(path, binary);
}

bool identity_apply_commands(const struct identity *identity, struct complaint *complaint)
{
	char binary[4096];
	struct stat root;
	(void)complaint;
	if (identity->command_count == 0)
		return true;
	if (stat("/", &root) != 0 || !find_binary(binary, root.st_dev)) {
		agent_log("no command can be called: the agent's binary cannot be copied: %s\n", strerrordesc_np(errno));
		return true;
	}
	/* A VM without one of the commands is of use all the same. */
	for (size_t i = 0; i < identity->command_count; i++)
		if (!place(identity->commands[i], binary, root.st_dev))
			agent_log("%s cannot be called: %s\n", identity->commands[i], strerrordesc_np(errno));
	return true;
}
