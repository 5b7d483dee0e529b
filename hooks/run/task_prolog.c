/*
 * Owns the run of a task's prologs: their environment, output and end. What they export becomes this process' own environment, which is the task's.
 * Must never run another program on the host than the one that vmrmd names, and never read its output by a shell's rules.
 */
#include "task_prolog.h"
#include "say.h"

#include "../spank/step-options.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct prolog {
	const char *name; /* as slurmstepd calls it */
	const char *program; /* what is executed on the host */
	char *const *argv;
	bool is_in_guest; /* then what vmrm-run itself says is among the output */
	const char *folder; /* of the task in the guest; NULL: where we are */
};

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

static bool is_complaint(const char *line)
{
	return strncmp(line, "vmrm: ", 6) == 0 || strncmp(line, "slurmstepd: error: ", 19) == 0;
}

static void heed(const struct prolog *prolog, const char *line)
{
	char name[256];
	const char *rest = after(line, "export");
	if (prolog->is_in_guest && is_complaint(line))
		dprintf(STDERR_FILENO, "%s\n", line);
	if (rest != NULL) {
		export_variable(rest);
	} else if ((rest = after(line, "unset")) != NULL) {
		snprintf(name, sizeof name, "%.*s", (int)strcspn(rest, " \t"), rest);
		unsetenv(name);
	} else if ((rest = after(line, "print")) != NULL) {
		dprintf(STDOUT_FILENO, "%s\n", rest);
	}
}

static _Noreturn void become(const struct prolog *prolog, int output)
{
	char number[32];
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(number, sizeof number, "%d", (int)getppid());
	setenv("SLURM_TASK_PID", number, 1);
	if (prolog->folder != NULL)
		setenv(FOLDER_VARIABLE, prolog->folder, 1);
	int nowhere = open("/dev/null", O_RDWR);
	int complaints = dup(STDERR_FILENO);
	dup2(nowhere, STDIN_FILENO);
	dup2(output, STDOUT_FILENO);
	/* slurmstepd 22.05 shows nobody what it writes there. */
	dup2(prolog->is_in_guest ? output : nowhere, STDERR_FILENO);
	close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	execv(prolog->program, prolog->argv);
	int error = errno;
	dup2(complaints, STDERR_FILENO);
	say("%s %s cannot be run: %s", prolog->name, prolog->program, strerror(error));
	_exit(1);
}

/* Returns a status as waitpid does. */
static int run_and_heed(const struct prolog *prolog)
{
	int status = 0;
	int ends[2];
	char *line = NULL;
	size_t size = 0;
	if (pipe(ends) != 0) {
		say("%s cannot be run: %s", prolog->name, strerror(errno));
		return 1 << 8;
	}
	pid_t child = fork();
	if (child == 0) {
		close(ends[0]);
		become(prolog, ends[1]);
	}
	close(ends[1]);
	FILE *output = child > 0 ? fdopen(ends[0], "r") : NULL;
	if (output == NULL) {
		say("%s cannot be run: %s", prolog->name, strerror(errno));
		close(ends[0]);
		status = 1 << 8;
	}
	while (output != NULL && getline(&line, &size, output) >= 0) {
		line[strcspn(line, "\n")] = '\0';
		heed(prolog, line);
	}
	free(line);
	if (output != NULL)
		fclose(output);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static int run(const struct prolog *prolog)
{
	setenv("SLURM_SCRIPT_CONTEXT", "prolog_task", 1);
	int status = run_and_heed(prolog);
	if (status == 0)
		return 0;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	dprintf(STDERR_FILENO, "slurmstepd: error: %s failed status=%d\n", prolog->name, code);
	return code;
}

int task_prolog_run(const char *path)
{
	char *const argv[] = {(char *)(uintptr_t)path, NULL};
	return run(&(struct prolog){.name = "TaskProlog", .program = path, .argv = argv});
}

int task_prolog_run_in_guest(const struct job *job)
{
	const char *argv[12] = {"vmrm-run", "--as", "prolog", "--job", job->id, "--socket", job->socket_path};
	char vm[16];
	size_t count = 7;
	if (job->task_prolog[0] != '/') {
		dprintf(STDERR_FILENO, "slurmstepd: error: run_command: user task_prolog is not fully qualified pathname (%s)\n", job->task_prolog);
		dprintf(STDERR_FILENO, TASK_PROLOG_NOT_RUN "slurmstepd: error: --task-prolog failed status=1\n");
		return 1;
	}
	if (job->has_vm) {
		snprintf(vm, sizeof vm, "%u", job->vm);
		argv[count++] = "--vm";
		argv[count++] = vm;
	}
	argv[count++] = "--";
	argv[count++] = job->task_prolog;
	return run(&(struct prolog){
		.name = "--task-prolog", .program = "/proc/self/exe", .argv = (char *const *)(uintptr_t)argv, .is_in_guest = true, .folder = job->folder});
}
