/*
 * Owns the start of a task, from its spec to its first process or the sentence why there is none.
 * Must never leave a process that is in no group.
 */
#include "task.h"

#include "spawn.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void fail_with_errno(struct task *task, const char *code, int number, const char *what)
{
	char text[512];
	const char *why = strerrordesc_np(number);
	snprintf(text, sizeof text, "%s: %s", what, why != NULL ? why : "unknown error");
	task_fail(task, code, number, text);
}

static void on_spawn_failure(struct task *task, const struct spawn_failure *failure)
{
	char what[400];
	switch (failure->stage) {
	case SPAWN_EXEC:
		snprintf(what, sizeof what, "execve(): %s", task->command);
		fail_with_errno(task, "exec-failed", failure->error, what);
		break;
	case SPAWN_SCRIPT:
		snprintf(what, sizeof what, "cannot write the script %s", task->command);
		fail_with_errno(task, "script-failed", failure->error, what);
		break;
	case SPAWN_USER:
		fail_with_errno(task, "user-failed", failure->error, "cannot become the job's user");
		break;
	default:
		fail_with_errno(task, "spawn-failed", failure->error, "cannot set up the task");
	}
}

static void send_early_signals(struct task *task)
{
	for (int number = 1; number <= 64; number++)
		if ((task->early_signals >> (number - 1) & 1) != 0)
			kill(task->leader, number);
}

void task_start(struct task *task, const struct account *who)
{
	const char *why;
	struct spawned spawned;
	if (who == NULL) {
		task_fail(task, "no-identity", 0, "the VM does not know its user yet");
		return;
	}
	struct spec *spec = spec_parse(task->spec_bytes, task->spec_length, &why);
	if (spec == NULL) {
		task_fail(task, "bad-spec", 0, why);
		return;
	}
	why = task->prepare != NULL ? task->prepare(task->prepare_context, spec) : NULL;
	if (why != NULL) {
		task_fail(task, "refused", 0, why);
		spec_free(spec);
		return;
	}
	struct spawn_request request = {spec, who, -1};
	snprintf(task->command, sizeof task->command, "%s", spec->argv[0]);
	task->is_terminal = spec->has_terminal;
	group_make(&task->group, task->id);
	if ((who->is_own || task_open_wire(task, spec, &request.wire_fd)) && spawn(&request, &task->group, &spawned)) {
		task->state = TASK_STARTING;
		task->leader = spawned.pid;
		task->in_fd = spawned.in;
		task->out_fd = spawned.out;
		task->err_fd = spawned.err;
		task->status_fd = spawned.status;
		if (spawned.in < 0)
			vmrm_receiver_discard(&task->stdin_in);
		if (spawned.err < 0)
			vmrm_sender_end(&task->err);
		send_early_signals(task);
		task_write_stdin(task);
	} else {
		fail_with_errno(task, "spawn-failed", errno, "cannot start a process");
	}
	task_close_fd(&request.wire_fd);
	spec_free(spec);
	task_forget_spec(task);
}

void task_read_status(struct task *task)
{
	struct spawn_failure failure;
	if (task->status_fd < 0)
		return;
	ssize_t count = read(task->status_fd, &failure, sizeof failure);
	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	task_close_fd(&task->status_fd);
	if (task->state != TASK_STARTING)
		return;
	if (count == (ssize_t)sizeof failure) {
		on_spawn_failure(task, &failure);
		return;
	}
	task->state = TASK_RUNNING;
	task->owes_opened = true;
}
