/* Owns finding the session that a process belongs to. Must never believe the process itself: the kernel's files say it. */
#include "call_origin.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How far up from a process its first ancestor in a session is looked for. */
#define ANCESTORS_MAX 64

static bool read_file(pid_t pid, const char *name, char *text, size_t room)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t count = fd >= 0 ? read(fd, text, room - 1) : -1;
	if (fd >= 0)
		close(fd);
	text[count > 0 ? count : 0] = '\0';
	return count > 0;
}

/* Whether a line of /proc/PID/cgroup has this group as a part of its path. */
static bool is_in_group(const char *groups, const char *name)
{
	size_t length = strlen(name);
	for (const char *at = strstr(groups, name); at != NULL && length > 0; at = strstr(at + 1, name))
		if (at > groups && at[-1] == '/' && (at[length] == '\n' || at[length] == '/' || at[length] == '\0'))
			return true;
	return false;
}

static struct task *find_by_group(struct task *const *tasks, size_t count, pid_t pid)
{
	char groups[4096];
	if (!read_file(pid, "cgroup", groups, sizeof groups))
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (tasks[i]->state == TASK_RUNNING && tasks[i]->group.directory_fd >= 0 && is_in_group(groups, tasks[i]->group.name))
			return tasks[i];
	return NULL;
}

/* Without cgroups: by process group, session and parents. */
static struct task *find_by_family(struct task *const *tasks, size_t count, pid_t pid)
{
	char text[1024];
	for (int step = 0; step < ANCESTORS_MAX && pid > 1 && read_file(pid, "stat", text, sizeof text); step++) {
		int parent, process_group, session;
		const char *behind = strrchr(text, ')');
		if (behind == NULL || sscanf(behind + 1, " %*c %d %d %d", &parent, &process_group, &session) != 3)
			return NULL;
		for (size_t i = 0; i < count; i++) {
			pid_t leader = tasks[i]->leader;
			if (tasks[i]->state == TASK_RUNNING && leader > 0 && (pid == leader || process_group == leader || session == leader))
				return tasks[i];
		}
		pid = parent;
	}
	return NULL;
}

uint64_t call_origin(struct task *const *tasks, size_t count, pid_t pid)
{
	struct task *found = find_by_group(tasks, count, pid);
	if (found == NULL)
		found = find_by_family(tasks, count, pid);
	for (size_t i = 0; i < count && found == NULL; i++)
		if (tasks[i]->state == TASK_RUNNING)
			found = tasks[i];
	return found != NULL ? found->id : 0;
}
