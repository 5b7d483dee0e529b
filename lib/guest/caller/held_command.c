/* Owns the command of an salloc, which runs here in the guest. Must never start before the allocation is there. */
#include "held_command.h"
#include "messages.h"
#include "tlv.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char *copy_text(const struct vmrm_tlv *field)
{
	char *text = malloc((size_t)field->length + 1);
	if (text != NULL && !vmrm_tlv_copy_text(field, text, (size_t)field->length + 1))
		*text = '\0';
	return text;
}

/* The texts stay: putenv keeps them. */
static void take_environment(const struct vmrm_frame *frame)
{
	struct vmrm_tlv_reader reader;
	struct vmrm_tlv field;
	vmrm_tlv_read_from(&reader, frame->payload, frame->length);
	while (vmrm_tlv_next(&reader, &field) == VMRM_TLV_FIELD) {
		char *text = copy_text(&field);
		if (text == NULL || *text == '\0' || *text == '=')
			continue;
		if (field.tag == VMRM_HELD_ENV && strchr(text, '=') != NULL)
			putenv(text);
		else if (field.tag == VMRM_HELD_UNSET && strchr(text, '=') == NULL)
			unsetenv(text);
	}
}

static _Noreturn void become(const struct plan *plan)
{
	sigset_t none;
	const char *shell = getenv("SHELL");
	char *shell_argv[] = {(char *)(uintptr_t)(shell != NULL && *shell != '\0' ? shell : "/bin/sh"), NULL};
	char **argv = plan->hold_argv != NULL ? plan->hold_argv : shell_argv;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (plan->hold_folder != NULL && chdir(plan->hold_folder) != 0)
		plan_error(plan, "chdir(%s): %s", plan->hold_folder, strerror(errno));
	const char *program = plan_find(argv[0], X_OK, false);
	if (program == NULL) {
		plan_error(plan, "_fork_command: Unable to find command \"%s\"", argv[0]);
		_exit(1);
	}
	execvp(program, argv);
	plan_error(plan, "Unable to exec command \"%s\": %s", argv[0], strerror(errno));
	_exit(1);
}

bool held_command_start(struct held_command *held, const struct plan *plan, const struct vmrm_frame *frame)
{
	if (held->was_started)
		return true;
	held->was_started = true;
	take_environment(frame);
	held->pid = fork();
	if (held->pid == 0)
		become(plan);
	if (held->pid > 0)
		return true;
	held->pid = 0;
	plan_error(plan, "cannot start a process: %s", strerror(errno));
	return false;
}

void held_command_signal(const struct held_command *held, int number)
{
	if (held->pid > 0)
		kill(held->pid, number);
}

bool held_command_ended(struct held_command *held, struct ending *ending)
{
	int status = 0;
	if (held->pid == 0 || waitpid(held->pid, &status, WNOHANG) != held->pid)
		return false;
	held->pid = 0;
	*ending = WIFSIGNALED(status) ? (struct ending){ENDING_SIGNAL, WTERMSIG(status)} : (struct ending){ENDING_EXIT, WEXITSTATUS(status)};
	return true;
}
