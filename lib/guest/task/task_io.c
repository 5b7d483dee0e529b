/*
 * Owns moving bytes between a session's streams and the task's pipes or terminal.
 * Must never block, and never read more of an output than its stream has room for: that is what slows a fast writer down.
 */
#include "task.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define READ_MAX_BYTES 65536
#define BUDGET_LEAST_BYTES 8192

static size_t output_budget = VMRM_WINDOW_BYTES;

void task_set_output_budget(size_t bytes)
{
	output_budget = bytes > VMRM_WINDOW_BYTES ? VMRM_WINDOW_BYTES : bytes < BUDGET_LEAST_BYTES ? BUDGET_LEAST_BYTES : bytes;
}

void task_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void task_close_stdin(struct task *task)
{
	task_close_fd(&task->in_fd);
	vmrm_receiver_discard(&task->stdin_in);
}

/* Writes what it can. Returns the bytes written; a reader that is gone closes stdin. */
static size_t write_some(struct task *task, const uint8_t *bytes, size_t count)
{
	ssize_t written = write(task->in_fd, bytes, count);
	if (written >= 0)
		return (size_t)written;
	if (errno != EAGAIN && errno != EINTR)
		task_close_stdin(task);
	return 0;
}

void task_pass_stdin(struct task *task, const struct vmrm_frame *frame)
{
	const uint8_t *fresh = NULL;
	size_t count = task->in_fd >= 0 ? vmrm_receiver_fresh(&task->stdin_in, frame, &fresh) : 0;
	if (count == 0)
		return;
	size_t written = write_some(task, fresh, count);
	if (written > 0)
		vmrm_receiver_handed(&task->stdin_in, written);
}

void task_write_stdin(struct task *task)
{
	const uint8_t *bytes = NULL;
	size_t count;
	while (task->in_fd >= 0 && (count = vmrm_receiver_peek(&task->stdin_in, &bytes)) > 0) {
		size_t written = write_some(task, bytes, count);
		if (written == 0)
			return;
		vmrm_receiver_handed(&task->stdin_in, written);
	}
	if (task->in_fd < 0 || !vmrm_receiver_is_done(&task->stdin_in))
		return;
	/* A terminal has no end of its own: the reader gets the end-of-file character. */
	if (task->is_terminal && write(task->in_fd, "\4", 1) != 1 && errno == EAGAIN)
		return;
	task_close_stdin(task);
}

bool task_can_read(int fd, const struct vmrm_sender *sender)
{
	return fd >= 0 && !sender->ended && sender->ring.count < output_budget;
}

bool task_read_output(int *fd, struct vmrm_sender *sender)
{
	/* A few rounds, so that one busy task does not keep the others waiting. */
	for (int round = 0; round < 4 && task_can_read(*fd, sender); round++) {
		uint8_t *at = NULL;
		int waiting = 0;
		if (ioctl(*fd, FIONREAD, &waiting) != 0 || waiting <= 0)
			waiting = 1;
		size_t left = output_budget - sender->ring.count;
		size_t most = left < READ_MAX_BYTES ? left : READ_MAX_BYTES;
		size_t room = vmrm_sender_space(sender, (size_t)waiting < most ? (size_t)waiting : most, &at);
		if (room == 0)
			return false;
		ssize_t count = read(*fd, at, room);
		if (count > 0) {
			vmrm_sender_commit(sender, (size_t)count);
			continue;
		}
		if (count < 0 && (errno == EAGAIN || errno == EINTR))
			return errno == EAGAIN;
		/* End of file; EIO is how a terminal says that nobody has it open any more. */
		task_close_fd(fd);
		vmrm_sender_end(sender);
	}
	return false;
}
