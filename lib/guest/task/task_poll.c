/*
 * Owns which of a task's ends poll watches, and what is done where it finds something.
 * Must never use a place of an end that was closed meanwhile: its number may be another's.
 */
#include "task_poll.h"

static struct pollfd watch(int fd, short events)
{
	return (struct pollfd){.fd = fd, .events = events};
}

void task_watch(const struct task *task, struct pollfd *places)
{
	const uint8_t *bytes;
	bool has_input = vmrm_receiver_peek(&task->stdin_in, &bytes) > 0 || vmrm_receiver_is_done(&task->stdin_in);
	bool is_gone = task->state == TASK_GONE;
	places[TASK_IN] = watch(is_gone ? -1 : task->in_fd, has_input ? POLLOUT : 0);
	places[TASK_OUT] = watch(!is_gone && task_can_read(task->out_fd, &task->out) ? task->out_fd : -1, POLLIN);
	places[TASK_ERR] = watch(!is_gone && task_can_read(task->err_fd, &task->err) ? task->err_fd : -1, POLLIN);
	places[TASK_STATUS] = watch(is_gone ? -1 : task->status_fd, POLLIN);
}

void task_serve(struct task *task, const struct pollfd *places)
{
	if (places[TASK_STATUS].revents != 0 && places[TASK_STATUS].fd == task->status_fd)
		task_read_status(task);
	if (places[TASK_OUT].revents != 0 && places[TASK_OUT].fd == task->out_fd)
		task_read_output(&task->out_fd, &task->out);
	if (places[TASK_ERR].revents != 0 && places[TASK_ERR].fd == task->err_fd)
		task_read_output(&task->err_fd, &task->err);
	if (places[TASK_IN].revents == 0 || places[TASK_IN].fd != task->in_fd)
		return;
	if ((places[TASK_IN].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0)
		task_close_stdin(task);
	else
		task_write_stdin(task);
}
