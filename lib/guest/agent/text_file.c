/*
 * Owns small text files: read whole, replaced whole.
 * Must never block on anything but a local file system.
 */
#include "text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void text_add(struct text *text, const char *bytes, size_t length)
{
	char *grown = realloc(text->bytes, text->length + length + 1);
	if (grown == NULL) {
		text->failed = true;
		return;
	}
	memcpy(grown + text->length, bytes, length);
	grown[text->length + length] = '\0';
	text->bytes = grown;
	text->length += length;
}

void text_addf(struct text *text, const char *format, ...)
{
	char *line = NULL;
	va_list values;
	va_start(values, format);
	int length = vasprintf(&line, format, values);
	va_end(values);
	if (length < 0) {
		text->failed = true;
		return;
	}
	text_add(text, line, (size_t)length);
	free(line);
}

void text_free(struct text *text)
{
	free(text->bytes);
	*text = (struct text){0};
}

bool text_read(struct text *text, const char *path)
{
	char bytes[4096];
	ssize_t count;
	text_add(text, "", 0);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT;
	while ((count = read(fd, bytes, sizeof bytes)) > 0)
		text_add(text, bytes, (size_t)count);
	close(fd);
	return count == 0 && !text->failed;
}

bool write_all(int fd, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t count = write(fd, bytes, length);
		if (count < 0 && errno != EINTR)
			return false;
		if (count > 0) {
			bytes += count;
			length -= (size_t)count;
		}
	}
	return true;
}

/* The way for a file that cannot be renamed over (itself a mount, or a read-only folder). */
static bool overwrite(const char *path, const struct text *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	bool done = fd >= 0 && write_all(fd, text->bytes, text->length);
	if (fd >= 0)
		close(fd);
	return done;
}

static bool is_same(const char *path, const struct text *text)
{
	struct text old = {0};
	bool same = text_read(&old, path) && old.length == text->length && memcmp(old.bytes, text->bytes, text->length) == 0;
	text_free(&old);
	return same;
}

/*
 * In one step for whoever reads it. Of a file that takes another's place by a plain rename ext4 writes the bytes to the disk at
 * once; two that change places it leaves in memory, and no VM's disk outlives a crash.
 */
static bool put_in_place(const char *temporary, const char *path, bool existed)
{
	if (existed && renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_EXCHANGE) == 0)
		return unlink(temporary) == 0;
	return rename(temporary, path) == 0;
}

bool text_replace(const char *path, const struct text *text, mode_t mode)
{
	char temporary[256];
	struct stat old;
	bool existed = stat(path, &old) == 0;
	if (text->failed) {
		errno = ENOMEM;
		return false;
	}
	/* Reading costs less than a new file, and one that stays keeps whoever watches it asleep. */
	if (existed && is_same(path, text))
		return true;
	snprintf(temporary, sizeof temporary, "%s.vmrm", path);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool done = fd >= 0 && write_all(fd, text->bytes, text->length) && fchmod(fd, existed ? old.st_mode & 07777 : mode) == 0;
	if (done && existed)
		done = fchown(fd, old.st_uid, old.st_gid) == 0;
	if (fd >= 0)
		close(fd);
	if (done && put_in_place(temporary, path, existed))
		return true;
	unlink(temporary);
	return existed && overwrite(path, text);
}
