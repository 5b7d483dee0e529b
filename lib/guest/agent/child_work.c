/*
 * Owns starting that child and reading its answer.
 * Must never take an answer for good that the child did not write in one piece.
 */
#include "child_work.h"

#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void do_work(work_fn fn, const void *subject, int answer_fd)
{
	struct work_answer answer = {0};
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* A job waits for its VM's identity while a distribution still boots: this comes first, at once. */
	sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){0});
	fn(subject, &answer);
	_exit(write(answer_fd, &answer, sizeof answer) == (ssize_t)sizeof answer ? 0 : 2);
}

bool child_work_start(struct child_work *work, work_fn fn, const void *subject, struct complaint *complaint)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
		return complain(complaint, errno, "cannot make a pipe");
	work->child = fork();
	if (work->child == 0)
		do_work(fn, subject, ends[1]);
	close(ends[1]);
	if (work->child < 0) {
		work->child = 0;
		close(ends[0]);
		return complain(complaint, errno, "cannot start a process");
	}
	work->answer_fd = ends[0];
	work->deadline_ms = now_ms() + work->wait_ms;
	return true;
}

bool child_work_on_child(struct child_work *work, pid_t pid, int wait_status, struct work_answer *answer)
{
	if (work->child == 0 || pid != work->child)
		return false;
	work->child = 0;
	*answer = (struct work_answer){0};
	bool is_whole = read(work->answer_fd, answer, sizeof *answer) == (ssize_t)sizeof *answer;
	close(work->answer_fd);
	if (is_whole)
		return true;
	if (WIFSIGNALED(wait_status) && now_ms() >= work->deadline_ms)
		complain(&answer->complaint, 0, "%s lasted longer than %d s", work->title, work->wait_ms / 1000);
	else
		complain(&answer->complaint, 0, "the process died that did this: %s (wait status %d)", work->title, wait_status);
	return true;
}

void child_work_tick(struct child_work *work)
{
	if (work->child != 0 && now_ms() >= work->deadline_ms)
		kill(work->child, SIGKILL);
}

void child_work_drop(struct child_work *work)
{
	if (work->child == 0)
		return;
	kill(work->child, SIGKILL);
	close(work->answer_fd);
	work->child = 0;
}
