/*
 * Owns which processes are stopped. By signals: not each guest has a control group for each process.
 * Must never wait for a process.
 */
#include "freeze.h"

#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* No guest has as many when it has booted; whoever would is no template. */
#ifndef FROZEN_MAX
#define FROZEN_MAX 4096
#endif
/* A process may start another one while they are being stopped. */
#define ROUNDS 8
/* Of a task's flags, in the kernel's numbering. */
#define IS_KERNEL_THREAD 0x00200000ul

static pid_t frozen[FROZEN_MAX];
static size_t frozen_count;

static bool is_running(pid_t pid)
{
	char path[32], line[512], state = 'X';
	unsigned long flags = IS_KERNEL_THREAD;
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	FILE *file = fopen(path, "re");
	bool has_line = file != NULL && fgets(line, sizeof line, file) != NULL;
	if (file != NULL)
		fclose(file);
	/* Its name may have any character. */
	const char *rest = has_line ? strrchr(line, ')') : NULL;
	return rest != NULL && sscanf(rest, ") %c %*d %*d %*d %*d %*d %lu", &state, &flags) == 2 && (flags & IS_KERNEL_THREAD) == 0 &&
		strchr("TtZX", state) == NULL;
}

static bool is_frozen(pid_t pid)
{
	for (size_t i = 0; i < frozen_count; i++)
		if (frozen[i] == pid)
			return true;
	return false;
}

/* How many ran; those that there was room for are stopped. */
static size_t freeze_round(void)
{
	size_t found = 0;
	struct dirent *entry;
	DIR *folder = opendir("/proc");
	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		pid_t pid = atoi(entry->d_name);
		if (pid <= 1 || pid == getpid() || is_frozen(pid) || !is_running(pid))
			continue;
		found++;
		if (frozen_count < FROZEN_MAX && kill(pid, SIGSTOP) == 0)
			frozen[frozen_count++] = pid;
	}
	if (folder != NULL)
		closedir(folder);
	return found;
}

bool freeze_others(struct complaint *complaint)
{
	for (int round = 0; round < ROUNDS; round++)
		if (freeze_round() == 0)
			return true;
	bool is_full = frozen_count == FROZEN_MAX;
	thaw_others();
	if (is_full)
		return complain(complaint, 0, "the guest has more than %d processes, and each must stop before its clones draw random numbers", FROZEN_MAX);
	return complain(complaint, 0, "the guest starts processes faster than they can be stopped, and its clones must not draw the same random numbers");
}

void thaw_others(void)
{
	for (size_t i = 0; i < frozen_count; i++)
		kill(frozen[i], SIGCONT);
	forget_frozen();
}

void forget_frozen(void)
{
	frozen_count = 0;
}
