/*
 * Owns the child that applies an identity.
 * Must never call anything identity complete before that child has ended well.
 */
#include "identity_worker.h"

#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void work(const struct identity *identity, int answer)
{
	struct complaint complaint = {0};
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (identity_apply(identity, &complaint))
		_exit(0);
	if (write(answer, complaint.text, strlen(complaint.text)) < 0)
		_exit(2);
	_exit(1);
}

static bool start(struct identity_worker *worker)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
		return complain(&worker->complaint, errno, "cannot make a pipe");
	worker->child = fork();
	if (worker->child == 0)
		work(worker->applying, ends[1]);
	close(ends[1]);
	if (worker->child < 0) {
		worker->child = 0;
		close(ends[0]);
		return complain(&worker->complaint, errno, "cannot start a process");
	}
	worker->answer_fd = ends[0];
	worker->deadline_ms = now_ms() + IDENTITY_WAIT_MS;
	return true;
}

bool identity_worker_take(struct identity_worker *worker, const uint8_t *bytes, size_t length)
{
	struct identity *identity = identity_parse(bytes, length, &worker->complaint);
	if (identity == NULL)
		return true;
	if (worker->child != 0) {
		identity_free(worker->next);
		worker->next = identity;
		return false;
	}
	worker->applying = identity;
	if (start(worker))
		return false;
	identity_free(worker->applying);
	worker->applying = NULL;
	return true;
}

/* The child's sentence, or one about how it ended. */
static void read_answer(struct identity_worker *worker, int wait_status)
{
	ssize_t count = read(worker->answer_fd, worker->complaint.text, sizeof worker->complaint.text - 1);
	worker->complaint.text[count > 0 ? count : 0] = '\0';
	close(worker->answer_fd);
	if (count > 0 || (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0))
		return;
	if (WIFSIGNALED(wait_status) && now_ms() >= worker->deadline_ms)
		complain(&worker->complaint, 0, "taking the identity lasted longer than %d s", IDENTITY_WAIT_MS / 1000);
	else
		complain(&worker->complaint, 0, "the process that takes the identity died (wait status %d)", wait_status);
}

bool identity_worker_on_child(struct identity_worker *worker, pid_t pid, int wait_status)
{
	if (worker->child == 0 || pid != worker->child)
		return false;
	worker->child = 0;
	read_answer(worker, wait_status);
	if (worker->complaint.text[0] == '\0') {
		identity_free(worker->current);
		worker->current = worker->applying;
	} else {
		identity_free(worker->applying);
	}
	worker->applying = worker->next;
	worker->next = NULL;
	if (worker->applying == NULL)
		return true;
	if (start(worker))
		return false;
	identity_free(worker->applying);
	worker->applying = NULL;
	return true;
}

void identity_worker_tick(struct identity_worker *worker)
{
	if (worker->child != 0 && now_ms() >= worker->deadline_ms)
		kill(worker->child, SIGKILL);
}

void identity_worker_free(struct identity_worker *worker)
{
	identity_free(worker->current);
	identity_free(worker->applying);
	identity_free(worker->next);
	if (worker->child != 0)
		close(worker->answer_fd);
}
