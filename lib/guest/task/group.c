/*
 * Owns making, signalling and removing the sets of processes.
 * Must never follow a pid beyond the moment at which the kernel listed it.
 */
#include "group.h"

#include "cgroup_root.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PREFIX "vmrm-session-"

static int root_fd = -1;

static bool write_at(int directory, const char *name, const char *text)
{
	int fd = openat(directory, name, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return done;
}

void groups_start(void)
{
	root_fd = cgroup_root_open();
	int copy = root_fd >= 0 ? fcntl(root_fd, F_DUPFD_CLOEXEC, 3) : -1;
	DIR *directory = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;
	while (directory != NULL && (entry = readdir(directory)) != NULL) {
		if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0)
			continue;
		char file[300];
		snprintf(file, sizeof file, "%s/cgroup.kill", entry->d_name);
		write_at(root_fd, file, "1");
		unlinkat(root_fd, entry->d_name, AT_REMOVEDIR);
	}
	if (directory != NULL)
		closedir(directory);
	else if (copy >= 0)
		close(copy);
}

void group_make(struct task_group *group, uint64_t session)
{
	*group = (struct task_group){.directory_fd = -1};
	snprintf(group->name, sizeof group->name, PREFIX "%016llx", (unsigned long long)session);
	if (root_fd < 0)
		return;
	/* The name is taken while processes of a forgotten session with this number still die. */
	bool made = mkdirat(root_fd, group->name, 0755) == 0;
	for (int i = 0; i < 10 && !made; i++) {
		snprintf(group->name, sizeof group->name, PREFIX "%016llx-%d", (unsigned long long)session, i);
		made = mkdirat(root_fd, group->name, 0755) == 0;
	}
	if (made)
		group->directory_fd = openat(root_fd, group->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

pid_t group_fork(struct task_group *group)
{
	struct clone_args how = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)group->directory_fd};
	if (group->directory_fd >= 0) {
		/* Moving a process that runs makes the kernel wait until no CPU is in the midst of a fork: many times what all else here takes. */
		group->is_begun_in = true;
		pid_t pid = (pid_t)syscall(SYS_clone3, &how, sizeof how);
		if (pid >= 0 || errno == EAGAIN || errno == ENOMEM)
			return pid;
		/* It came with Linux 5.7, and a sandbox may refuse it. */
		group->is_begun_in = false;
	}
	return fork();
}

bool group_enter(const struct task_group *group)
{
	return group->directory_fd < 0 || group->is_begun_in || write_at(group->directory_fd, "cgroup.procs", "0");
}

/* Whether /proc says that this process belongs to the leader's session, process group or family. */
static bool is_of_leader(pid_t leader, const char *pid)
{
	char path[64], text[512];
	int parent, process_group, session;
	snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t count = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
	if (fd >= 0)
		close(fd);
	if (count <= 0)
		return false;
	text[count] = '\0';
	/* The command's name may hold anything, so look behind its last parenthesis. */
	const char *behind = strrchr(text, ')');
	char state;
	if (behind == NULL || sscanf(behind + 1, " %c %d %d %d", &state, &parent, &process_group, &session) != 4)
		return false;
	return state != 'Z' && (process_group == leader || session == leader || parent == leader);
}

/* Signals every member, without cgroups; returns how many there were. Signal 0 only counts. */
static int signal_by_leader(pid_t leader, int signal_number)
{
	int members = 0;
	struct dirent *entry;
	DIR *processes = leader > 1 ? opendir("/proc") : NULL;
	while (processes != NULL && (entry = readdir(processes)) != NULL) {
		pid_t pid = (pid_t)atoi(entry->d_name);
		if (pid <= 1 || pid == getpid() || !is_of_leader(leader, entry->d_name))
			continue;
		members++;
		kill(pid, signal_number);
	}
	if (processes != NULL)
		closedir(processes);
	return members;
}

static int signal_by_cgroup(int directory_fd, int signal_number)
{
	int members = 0, pid;
	int fd = openat(directory_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	FILE *list = fd >= 0 ? fdopen(fd, "r") : NULL;
	while (list != NULL && fscanf(list, "%d", &pid) == 1) {
		if (pid <= 0)
			continue;
		members++;
		kill(pid, signal_number);
	}
	if (list != NULL)
		fclose(list);
	else if (fd >= 0)
		close(fd);
	return members;
}

void group_signal(const struct task_group *group, int signal_number)
{
	if (group->directory_fd >= 0)
		signal_by_cgroup(group->directory_fd, signal_number);
	else
		signal_by_leader(group->leader, signal_number);
}

void group_kill(const struct task_group *group)
{
	/* cgroup.kill came with Linux 5.14; older kernels need the list, again and again. */
	if (group->directory_fd < 0 || !write_at(group->directory_fd, "cgroup.kill", "1"))
		group_signal(group, SIGKILL);
}

bool group_is_empty(const struct task_group *group)
{
	if (group->directory_fd < 0)
		return signal_by_leader(group->leader, 0) == 0;
	char text[256] = "";
	int fd = openat(group->directory_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	ssize_t count = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
	if (fd >= 0)
		close(fd);
	return count <= 0 || strstr(text, "populated 0") != NULL;
}

bool group_remove(struct task_group *group)
{
	if (group->directory_fd < 0)
		return true;
	if (unlinkat(root_fd, group->name, AT_REMOVEDIR) != 0)
		return false;
	close(group->directory_fd);
	group->directory_fd = -1;
	return true;
}
