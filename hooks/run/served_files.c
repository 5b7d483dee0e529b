/* Owns the files of a call on the host. Must never write outside the call's own folder, whatever name the guest gave. */
#include "served_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const cannot_write = "the host cannot keep the files of this call";

/* The last part of a name; NULL: it cannot be one of a file. */
static const char *last_part(const char *name)
{
	const char *slash = strrchr(name, '/');
	const char *last = slash != NULL ? slash + 1 : name;
	bool is_name = last[0] != '\0' && strcmp(last, ".") != 0 && strcmp(last, "..") != 0 && strlen(last) <= NAME_MAX;
	return is_name ? last : NULL;
}

static bool write_file(const char *path, const struct spec_file *file)
{
	size_t done = 0;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	while (fd >= 0 && done < file->length) {
		ssize_t count = write(fd, file->bytes + done, file->length - done);
		if (count < 0 && errno != EINTR)
			break;
		if (count > 0)
			done += (size_t)count;
	}
	return fd >= 0 && close(fd) == 0 && done == file->length;
}

/* A folder for each file, so that two of one name do no harm. */
static const char *place(const struct served_command *command, struct spec *spec, size_t number)
{
	const struct spec_file *file = &spec->files[number];
	char *word = file->argument > 0 && file->argument < spec->argc ? spec->argv[file->argument] : NULL;
	char folder[PATH_MAX + 32];
	char *path = NULL, *argument = NULL;
	if (word == NULL || file->offset > strlen(word) || last_part(word + file->offset) == NULL)
		return "the guest names a file that cannot be one";
	snprintf(folder, sizeof folder, "%s/%zu", command->folder, number);
	if (mkdir(folder, 0700) != 0 || asprintf(&path, "%s/%s", folder, last_part(word + file->offset)) < 0)
		return cannot_write;
	bool is_fine = write_file(path, file) && asprintf(&argument, "%.*s%s", (int)file->offset, word, path) >= 0;
	free(path);
	if (is_fine)
		spec->argv[file->argument] = argument;
	return is_fine ? NULL : cannot_write;
}

const char *served_files_place(struct served_command *command, struct spec *spec)
{
	const char *why = NULL;
	if (spec->file_count == 0 && !command->holds)
		return NULL;
	if (command->folder[0] == '\0' || mkdir(command->folder, 0700) != 0)
		return cannot_write;
	for (size_t i = 0; i < spec->file_count && why == NULL; i++)
		why = place(command, spec, i);
	if (command->holds)
		snprintf(command->hold_socket, sizeof command->hold_socket, "%s/hold", command->folder);
	return why;
}

static void remove_entries(int folder, int depth)
{
	DIR *entries = fdopendir(folder);
	struct dirent *entry;
	while (entries != NULL && (entry = readdir(entries)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || unlinkat(folder, entry->d_name, 0) == 0)
			continue;
		int below = depth > 0 ? openat(folder, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
		if (below >= 0)
			remove_entries(below, depth - 1);
		unlinkat(folder, entry->d_name, AT_REMOVEDIR);
	}
	if (entries != NULL)
		closedir(entries);
	else
		close(folder);
}

void served_command_clean(const struct served_command *command)
{
	int folder = command->folder[0] != '\0' ? open(command->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	if (folder < 0)
		return;
	remove_entries(folder, 1);
	rmdir(command->folder);
}
