/*
 * Owns which processes are stopped. By signals: not each guest has a control group for each process.
 * Must never wait for a process.
 */
#include "freeze.h"

#include "log.h"

#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FROZEN_MAX 4096
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

/* How many were stopped that ran. */
static size_t freeze_round(void)
{
	size_t before = frozen_count;
	struct dirent *entry;
	DIR *folder = opendir("/proc");
	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		pid_t pid = atoi(entry->d_name);
		if (pid <= 1 || pid == getpid() || frozen_count == FROZEN_MAX || is_frozen(pid) || !is_running(pid))
			continue;
		if (kill(pid, SIGSTOP) == 0)
			frozen[frozen_count++] = pid;
	}
	if (folder != NULL)
		closedir(folder);
	return frozen_count - before;
}

void freeze_others(void)
{
	int rounds = 0;
	while (rounds < ROUNDS && freeze_round() > 0)
		rounds++;
	if (rounds == ROUNDS)
		agent_log("processes start faster than they can be stopped: clones may draw the same random numbers\n");
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
