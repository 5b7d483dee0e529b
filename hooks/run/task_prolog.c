/*
 * Owns the run of the site's TaskProlog: its environment, its output, its end. What it exports becomes this process' own environment, which is the task's.
 * Must never run another program than the one that vmrmd names, and never read its output by a shell's rules.
 */
#include "task_prolog.h"
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *after(const char *line, const char *word)
{
	size_t length = strlen(word);
	if (strncmp(line, word, length) != 0 || (line[length] != ' ' && line[length] != '\t'))
		return NULL;
	return line + length + strspn(line + length, " \t");
}

static void export_variable(const char *assignment)
{
	const char *equals = strchr(assignment, '=');
	char *name = equals == NULL ? NULL : strndup(assignment, (size_t)(equals - assignment));
	if (name == NULL)
		return;
	name[strcspn(name, " \t")] = '\0';
	setenv(name, equals + 1, 1);
	free(name);
}

static void heed(const char *line)
{
	char name[256];
	const char *rest = after(line, "export");
	if (rest != NULL) {
		export_variable(rest);
	} else if ((rest = after(line, "unset")) != NULL) {
		snprintf(name, sizeof name, "%.*s", (int)strcspn(rest, " \t"), rest);
		unsetenv(name);
	} else if ((rest = after(line, "print")) != NULL) {
		dprintf(STDOUT_FILENO, "%s\n", rest);
	}
}

static _Noreturn void become(const char *path, int output)
{
	char *const argv[] = {(char *)path, NULL};
	char number[32];
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	snprintf(number, sizeof number, "%d", (int)getppid());
	setenv("SLURM_TASK_PID", number, 1);
	dup2(output, STDOUT_FILENO);
	/* slurmstepd 22.05 shows nobody what it writes there. */
	int complaints = dup(STDERR_FILENO);
	int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
	fcntl(complaints, F_SETFD, FD_CLOEXEC);
	dup2(nowhere, STDERR_FILENO);
	execv(path, argv);
	int error = errno;
	dup2(complaints, STDERR_FILENO);
	say("this node's TaskProlog %s cannot be run: %s", path, strerror(error));
	_exit(1);
}

int task_prolog_run(const char *path)
{
	int status = 0;
	int ends[2];
	char *line = NULL;
	size_t size = 0;
	if (pipe(ends) != 0) {
		say("this node's TaskProlog %s cannot be run: %s", path, strerror(errno));
		return 1;
	}
	pid_t child = fork();
	if (child == 0) {
		close(ends[0]);
		become(path, ends[1]);
	}
	close(ends[1]);
	FILE *output = child > 0 ? fdopen(ends[0], "r") : NULL;
	if (output == NULL) {
		say("this node's TaskProlog %s cannot be run: %s", path, strerror(errno));
		close(ends[0]);
		status = 1 << 8;
	}
	while (output != NULL && getline(&line, &size, output) >= 0) {
		line[strcspn(line, "\n")] = '\0';
		heed(line);
	}
	free(line);
	if (output != NULL)
		fclose(output);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (status == 0)
		return 0;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	dprintf(STDERR_FILENO, "slurmstepd: error: TaskProlog failed status=%d\n", code);
	return code;
}
