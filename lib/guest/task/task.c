/*
 * Owns a session's life but for its start (task_start.c): end of the first process, draining, clean-up.
 * Must never leave a process behind: whatever ends a session also kills its group.
 */
#include "task.h"

#include "clock.h"
#include "log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Output is read to its end so long after the first process; then a process outside the session holds the pipe. */
#define DRAIN_MS 2000
#define CLEANUP_TRIES 500

struct task *task_new(uint64_t id)
{
	struct task *task = calloc(1, sizeof *task);
	if (task == NULL)
		return NULL;
	task->id = id;
	task->in_fd = task->out_fd = task->err_fd = task->status_fd = -1;
	task->group.directory_fd = -1;
	vmrm_receiver_init(&task->spec_in);
	vmrm_receiver_init(&task->stdin_in);
	vmrm_sender_init(&task->out);
	vmrm_sender_init(&task->err);
	wire_init(&task->wire);
	return task;
}

static void close_all(struct task *task)
{
	task_close_fd(&task->in_fd);
	task_close_fd(&task->out_fd);
	task_close_fd(&task->err_fd);
	task_close_fd(&task->status_fd);
	wire_close(&task->wire);
}

void task_forget_spec(struct task *task)
{
	free(task->spec_bytes);
	task->spec_bytes = NULL;
	task->spec_length = task->spec_room = 0;
}

void task_free(struct task *task)
{
	close_all(task);
	task_forget_spec(task);
	task_close_fd(&task->group.directory_fd);
	vmrm_receiver_free(&task->spec_in);
	vmrm_receiver_free(&task->stdin_in);
	vmrm_sender_free(&task->out);
	vmrm_sender_free(&task->err);
	wire_free(&task->wire);
	free(task);
}

static void kill_all(struct task *task)
{
	group_kill(&task->group);
	/* A child that has not entered its group yet. */
	if (task->leader > 0)
		kill(task->leader, SIGKILL);
}

void task_fail(struct task *task, const char *code, int number, const char *text)
{
	task->state = TASK_FAILED;
	task->owes_opened = false;
	task->owes_result = true;
	task->error_code = code;
	task->error_number = number;
	snprintf(task->error_text, sizeof task->error_text, "%s", text);
	vmrm_receiver_discard(&task->spec_in);
	vmrm_receiver_discard(&task->stdin_in);
	task_forget_spec(task);
	close_all(task);
	kill_all(task);
}

void task_on_leader_end(struct task *task, int wait_status)
{
	task->leader = 0;
	/* A failed exec is told through the pipe; the child's exit is no result then. */
	if (task->state == TASK_STARTING)
		task_read_status(task);
	group_kill(&task->group);
	if (task->state != TASK_STARTING && task->state != TASK_RUNNING)
		return;
	task_close_fd(&task->status_fd);
	task->wait_status = wait_status;
	task->state = TASK_DRAINING;
	task->drain_until_ms = now_ms() + DRAIN_MS;
	task_close_stdin(task);
	task_tick(task);
}

void task_forget(struct task *task)
{
	task->state = TASK_GONE;
	task_forget_spec(task);
	close_all(task);
	kill_all(task);
	task->cleanup_tries = 0;
	task_tick(task);
}

/* Whether the output has ended; after the deadline what can be read now is all there is. */
static bool is_drained(struct task *task, int *fd, struct vmrm_sender *sender)
{
	if (*fd < 0)
		return true;
	bool is_empty = task_read_output(fd, sender);
	if (*fd >= 0 && is_empty && now_ms() >= task->drain_until_ms) {
		task_close_fd(fd);
		vmrm_sender_end(sender);
	}
	return *fd < 0;
}

void task_tick(struct task *task)
{
	if (task->state == TASK_DRAINING) {
		bool out = is_drained(task, &task->out_fd, &task->out);
		bool err = is_drained(task, &task->err_fd, &task->err);
		bool wire = wire_drain(&task->wire, now_ms() >= task->drain_until_ms);
		if (out && err && wire) {
			task->state = TASK_ENDED;
			task->owes_result = true;
		}
	}
	bool is_over = task->state == TASK_DRAINING || task->state >= TASK_ENDED;
	if (!is_over || task_is_clean(task) || task->leader > 0)
		return;
	if (!group_is_empty(&task->group))
		group_kill(&task->group);
	else if (group_remove(&task->group))
		task->group.leader = 0;
	if (++task->cleanup_tries == CLEANUP_TRIES) {
		agent_log("processes of session %016llx do not die\n", (unsigned long long)task->id);
		task_close_fd(&task->group.directory_fd);
		task->group.leader = 0;
	}
}

bool task_is_clean(const struct task *task)
{
	return task->leader == 0 && task->group.leader == 0 && task->group.directory_fd < 0;
}

bool task_wants_tick(const struct task *task)
{
	return task->state == TASK_DRAINING || (task->state >= TASK_ENDED && !task_is_clean(task));
}

void task_trim(struct task *task)
{
	vmrm_receiver_trim(&task->spec_in);
	vmrm_receiver_trim(&task->stdin_in);
	vmrm_sender_trim(&task->out);
	vmrm_sender_trim(&task->err);
	wire_trim(&task->wire);
}
