/*
 * Owns the parent's side of starting a task: pipes or a terminal, and the fork.
 * Must never wait for the child; what it does may block on a file system.
 */
#include "spawn.h"

#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void close_if(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_ends(struct task_ends *task, struct spawned *ours)
{
	close_if(&task->in);
	close_if(&task->out);
	close_if(&task->err);
	close_if(&task->status);
	if (ours == NULL)
		return;
	close_if(&ours->in);
	close_if(&ours->out);
	close_if(&ours->err);
	close_if(&ours->status);
}

static bool make_pipe(int *reading, int *writing)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0)
		return false;
	*reading = ends[0];
	*writing = ends[1];
	return true;
}

static bool set_nonblocking(int fd)
{
	return fd < 0 || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0;
}

/* A task that opens /dev/stdout opens the pipe anew, as the user. */
static bool give(int fd, const struct account *account)
{
	return fd < 0 || account->is_own || fchown(fd, account->uid, account->gid) == 0;
}

static bool make_pipes(const struct spawn_request *request, struct task_ends *task, struct spawned *ours)
{
	if (request->spec->has_no_stdin)
		task->in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	else if (!make_pipe(&task->in, &ours->in) || !give(task->in, request->account))
		return false;
	return task->in >= 0 && make_pipe(&ours->out, &task->out) && make_pipe(&ours->err, &task->err) && give(task->out, request->account) &&
		give(task->err, request->account);
}

static bool make_terminal(const struct spawn_request *request, struct task_ends *task, struct spawned *ours)
{
	char path[64];
	struct winsize size = {.ws_row = (unsigned short)request->spec->rows, .ws_col = (unsigned short)request->spec->columns};
	ours->out = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (ours->out < 0 || grantpt(ours->out) != 0 || unlockpt(ours->out) != 0 || ptsname_r(ours->out, path, sizeof path) != 0)
		return false;
	ours->in = fcntl(ours->out, F_DUPFD_CLOEXEC, 3);
	task->in = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (ours->in < 0 || task->in < 0 || !give(task->in, request->account))
		return false;
	ioctl(ours->out, TIOCSWINSZ, &size);
	task->out = fcntl(task->in, F_DUPFD_CLOEXEC, 3);
	task->err = fcntl(task->in, F_DUPFD_CLOEXEC, 3);
	return task->out >= 0 && task->err >= 0;
}

bool spawn(const struct spawn_request *request, struct task_group *group, struct spawned *spawned)
{
	struct task_ends task = {-1, -1, -1, -1};
	*spawned = (struct spawned){.pid = -1, .in = -1, .out = -1, .err = -1, .status = -1};
	bool ready = request->spec->has_terminal ? make_terminal(request, &task, spawned) : make_pipes(request, &task, spawned);
	ready = ready && make_pipe(&spawned->status, &task.status) && set_nonblocking(spawned->in) && set_nonblocking(spawned->out) &&
		set_nonblocking(spawned->err) && set_nonblocking(spawned->status);
	if (ready)
		spawned->pid = group_fork(group);
	if (spawned->pid == 0)
		child_run(request, group, &task);
	int error = errno;
	close_ends(&task, spawned->pid < 0 ? spawned : NULL);
	group->leader = spawned->pid > 0 ? spawned->pid : 0;
	errno = error;
	return spawned->pid > 0;
}
