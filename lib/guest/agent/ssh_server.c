/*
 * Owns telling an sshd that its configuration has changed, whether it runs, starts or will start.
 * Must never signal a process that is no sshd, nor wait without a bound.
 */
#include "clock.h"
#include "identity_ssh.h"

#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COMMAND_WAIT_MS 10000
#define POLL_NS 5000000L

/* Runs systemctl with nothing to read or say. True: it ended with 0 in time. */
static bool systemctl(const char *const argv[])
{
	int wait_status = -1;
	pid_t child = fork();
	if (child == 0) {
		int null = open("/dev/null", O_RDWR);
		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
		setenv("PATH", "/usr/bin:/bin", 1);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	int64_t deadline_ms = now_ms() + COMMAND_WAIT_MS;
	while (child > 0 && waitpid(child, &wait_status, WNOHANG) == 0) {
		if (now_ms() >= deadline_ms) {
			kill(child, SIGKILL);
			waitpid(child, &wait_status, 0);
			return false;
		}
		nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
	}
	return child > 0 && WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0;
}

static bool read_line(const char *path, char *line, size_t room)
{
	FILE *file = fopen(path, "re");
	bool has_line = file != NULL && fgets(line, (int)room, file) != NULL;
	if (file != NULL)
		fclose(file);
	return has_line;
}

/* One that serves has its number in this file, and by this signal it reads its files anew, whoever started it. */
static bool renew_by_signal(void)
{
	char line[64], path[64];
	if (!read_line("/run/sshd.pid", line, sizeof line))
		return false;
	int pid = atoi(line);
	snprintf(path, sizeof path, "/proc/%d/comm", pid);
	return pid > 1 && read_line(path, line, sizeof line) && strcmp(line, "sshd\n") == 0 && kill(pid, SIGHUP) == 0;
}

/* Whether a process of that name runs, or is about to (systemd puts the name of what it will start in parentheses). */
static bool is_running(void)
{
	glob_t found;
	char name[32];
	bool runs = false;
	if (glob("/proc/[1-9]*/comm", GLOB_NOSORT, NULL, &found) != 0)
		return false;
	for (size_t i = 0; i < found.gl_pathc && !runs; i++)
		runs = read_line(found.gl_pathv[i], name, sizeof name) && (strcmp(name, "sshd\n") == 0 || strcmp(name, "(sshd)\n") == 0);
	globfree(&found);
	return runs;
}

/* Debian and Red Hat name it differently; each may have the other's name as an alias. */
#define UNITS "ssh.service", "sshd.service", NULL

/* One that could not start for want of any host key is started; nobody waits for that. */
static void start_if_failed(void)
{
	if (fork() != 0)
		return;
	setsid();
	/* It gives way to what the job does. */
	setpriority(PRIO_PROCESS, 0, 0);
	if (systemctl((const char *[]){"systemctl", "is-failed", "--quiet", UNITS}))
		systemctl((const char *[]){"systemctl", "start", "--no-block", UNITS});
	_exit(0);
}

void ssh_server_renew(void)
{
	if (renew_by_signal() || access("/run/systemd/system", F_OK) != 0)
		return;
	if (is_running())
		/* This ends no login. */
		systemctl((const char *[]){"systemctl", "try-restart", UNITS});
	else
		/* One that waits for its turn in the boot finds the new configuration then; asking systemd costs a slow guest seconds. */
		start_if_failed();
}
