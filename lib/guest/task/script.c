/*
 * Owns writing a batch script to the path that the host's slurmd used, so that $0 and messages look the same.
 * Must never replace a file that is not the user's, follow a link of the user's, or write into a folder of the system:
 * the path comes from the user, and this runs as root.
 */
#include "script.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file there could be read or run by root. */
static const char *const system_folders[] = {"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/root", "/run", "/sbin", "/sys", "/usr",
	"/var/lib", "/var/spool/at", "/var/spool/cron", NULL};
/* Where slurmd's own spool often lies (SlurmdSpoolDir) although its parent is in the list above. */
static const char *const spool_folders[] = {"/var/lib/slurm", "/var/lib/slurmd", "/var/lib/slurm-llnl", NULL};

static bool is_below(const char *path, const char *const *folders)
{
	for (; *folders != NULL; folders++) {
		size_t length = strlen(*folders);
		if (strncmp(path, *folders, length) == 0 && (path[length] == '/' || path[length] == '\0'))
			return true;
	}
	return false;
}

/* Whether the user may have something of this name there; what counts is where the folder really is, links resolved. */
static bool is_allowed(int folder, const char *name, size_t name_length)
{
	char link[64], path[4096 + 256];
	snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
	ssize_t length = readlink(link, path, 4096);
	if (length <= 0 || length >= 4096 || name_length >= 255)
		return false;
	if (length == 1)
		length = 0;
	path[length] = '/';
	memcpy(path + length + 1, name, name_length);
	path[(size_t)length + 1 + name_length] = '\0';
	return is_below(path, spool_folders) || !is_below(path, system_folders);
}

struct script_owner {
	uid_t uid;
	gid_t gid;
};

static int make_folder(int folder, const char *name)
{
	if (!is_allowed(folder, name, strlen(name))) {
		errno = EPERM;
		return -1;
	}
	if (mkdirat(folder, name, 0755) != 0 && errno != EEXIST)
		return -1;
	return openat(folder, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Opens the folder of the path, making what is missing; each step is relative to an open folder, so nobody can swap one. */
static int open_folder(const char *path, const char **name)
{
	char part[256];
	int folder = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const char *at = path;
	while (folder >= 0) {
		at += strspn(at, "/");
		size_t length = strcspn(at, "/");
		if (at[length] == '\0')
			break;
		int next = -1;
		if (length < sizeof part) {
			memcpy(part, at, length);
			part[length] = '\0';
			next = openat(folder, part, O_PATH | O_DIRECTORY | O_CLOEXEC);
			if (next < 0 && errno == ENOENT)
				next = make_folder(folder, part);
		}
		close(folder);
		folder = next;
		at += length;
	}
	*name = at;
	return folder;
}

/* Whether a new file may take this name: nothing is there, or an older one of the user's own. */
static int check_place(int folder, const char *name, uid_t uid)
{
	struct stat old;
	if (fstatat(folder, name, &old, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : errno;
	return S_ISREG(old.st_mode) && old.st_uid == uid ? 0 : EEXIST;
}

static bool has_same_bytes(int fd, const struct spec *spec)
{
	uint8_t chunk[65536];
	size_t at = 0;
	ssize_t count;
	while ((count = read(fd, chunk, sizeof chunk)) > 0) {
		if ((size_t)count > spec->script_bytes - at || memcmp(chunk, spec->script + at, (size_t)count) != 0)
			return false;
		at += (size_t)count;
	}
	return count == 0 && at == spec->script_bytes;
}

/* Another task has written it, or it lies in a folder that the host shares: then others may be running it. */
static bool is_there(int folder, const char *name, const struct spec *spec)
{
	struct stat status;
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool is_same = fd >= 0 && fstat(fd, &status) == 0 && (status.st_mode & S_IXUSR) != 0 && has_same_bytes(fd, spec);
	if (fd >= 0)
		close(fd);
	return is_same;
}

static int write_file(int fd, const struct spec *spec, uid_t uid, gid_t gid)
{
	const uint8_t *at = spec->script;
	size_t left = spec->script_bytes;
	while (left > 0) {
		ssize_t count = write(fd, at, left);
		if (count < 0 && errno != EINTR)
			return errno;
		if (count > 0) {
			at += count;
			left -= (size_t)count;
		}
	}
	return fchown(fd, uid, gid) == 0 && fchmod(fd, 0700) == 0 ? 0 : errno;
}

/* Under another name first: tasks that start together have the same program, and each must find a whole one. */
static int place_file(int folder, const char *name, const struct spec *spec, const struct script_owner *owner)
{
	char temporary[64];
	snprintf(temporary, sizeof temporary, ".vmrm-script-%d", (int)getpid());
	unlinkat(folder, temporary, 0);
	int file = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0700);
	if (file < 0)
		return errno;
	int error = write_file(file, spec, owner->uid, owner->gid);
	if (close(file) != 0 && error == 0)
		error = errno;
	if (error == 0 && renameat(folder, temporary, folder, name) != 0)
		error = errno;
	if (error != 0)
		unlinkat(folder, temporary, 0);
	return error;
}

int script_write(const struct spec *spec, uid_t uid, gid_t gid)
{
	const char *name;
	umask(022);
	int folder = open_folder(spec->script_path, &name);
	int error = folder < 0 ? errno : 0;
	if (error == 0 && !is_allowed(folder, name, strlen(name)))
		error = EPERM;
	if (error == 0)
		error = check_place(folder, name, uid);
	if (error == 0 && !is_there(folder, name, spec))
		error = place_file(folder, name, spec, &(struct script_owner){uid, gid});
	if (folder >= 0)
		close(folder);
	return error;
}
