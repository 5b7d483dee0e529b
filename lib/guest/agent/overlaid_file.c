/*
 * Owns the copies and their bind mounts.
 * Must never rename a copy: what is mounted is its inode.
 */
#include "overlaid_file.h"

#include "identity.h"
#include "text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER IDENTITY_FOLDER "/over"

static bool write_copy(const char *copy, const void *bytes, size_t length, mode_t mode)
{
	int fd = open(copy, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool done = fd >= 0 && write_all(fd, bytes, length) && fchmod(fd, mode) == 0;
	if (fd >= 0)
		close(fd);
	return done;
}

bool overlaid_put(const char *path, const char *name, const void *bytes, size_t length, mode_t mode)
{
	char copy[256];
	struct stat there, here;
	if (stat(path, &there) != 0)
		return errno == ENOENT;
	snprintf(copy, sizeof copy, FOLDER "/%s", name);
	if (!make_folders(FOLDER) || !write_copy(copy, bytes, length, mode) || stat(copy, &here) != 0)
		return false;
	return (here.st_dev == there.st_dev && here.st_ino == there.st_ino) || mount(copy, path, NULL, MS_BIND, NULL) == 0;
}

void overlaid_prepare(const char *path, const char *name, mode_t mode)
{
	struct text bytes = {0};
	if (access(path, F_OK) == 0 && text_read(&bytes, path))
		overlaid_put(path, name, bytes.bytes, bytes.length, mode);
	text_free(&bytes);
}
