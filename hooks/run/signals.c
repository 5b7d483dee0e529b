/* Owns the signals that Slurm and people send to this process. Must never act on them. What Slurm does is written down in signals.h. */
#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define CANARY_WAIT_MS 50u

static void forwarded(sigset_t *set)
{
	sigfillset(set);
	/* PIPE is our own (a reader that went away), CHLD tells of the canary. */
	sigdelset(set, SIGPIPE);
	sigdelset(set, SIGCHLD);
}

/* Reports every signal it gets to `report`, by number, until its parent is gone. */
static _Noreturn void be_canary(int report, pid_t parent)
{
	sigset_t set;
	int number = 0;
	forwarded(&set);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int fd = 0; fd < 3; fd++)
		close(fd); /* nobody shall wait for the end of a stream because of us */
	while (getppid() == parent && sigwait(&set, &number) == 0) {
		uint8_t byte = (uint8_t)number;
		if (write(report, &byte, 1) != 1)
			break;
	}
	_exit(0);
}

static bool start_canary(struct signals *signals)
{
	int ends[2];
	pid_t parent = getpid();
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
		return false;
	pid_t pid = fork();
	if (pid == 0)
		be_canary(ends[1], parent);
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return false;
	}
	signals->canary_fd = ends[0];
	signals->canary_pid = pid;
	return true;
}

bool signals_init(struct signals *signals)
{
	sigset_t set;
	memset(signals, 0, sizeof *signals);
	signals->canary_fd = -1;
	signals->fd = -1;
	forwarded(&set);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return false;
	if (!start_canary(signals))
		return false;
	signals->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return signals->fd >= 0;
}

static void lose_canary(struct signals *signals)
{
	close(signals->canary_fd);
	signals->canary_fd = -1;
	waitpid(signals->canary_pid, NULL, 0);
}

static void hear_canary(struct signals *signals, int64_t now)
{
	uint8_t numbers[16];
	ssize_t n = 0;
	while (signals->canary_fd >= 0 && (n = read(signals->canary_fd, numbers, sizeof numbers)) >= 0) {
		for (ssize_t i = 0; i < n; i++)
			if (numbers[i] < 65)
				signals->heard_at_ms[numbers[i]] = now;
		if (n == 0)
			lose_canary(signals);
	}
}

/* A signal that waits for the canary and is now decided; 0: none. */
static int ripe(struct signals *signals, int64_t now, enum signal_scope *scope)
{
	for (int number = 1; number < 65; number++) {
		int64_t at = signals->ripe_at_ms[number];
		if (at == 0)
			continue;
		bool is_heard = signals->heard_at_ms[number] != 0 && signals->heard_at_ms[number] + CANARY_WAIT_MS + CANARY_WAIT_MS >= at;
		if (!is_heard && now < at && signals->canary_fd >= 0)
			continue;
		*scope = is_heard || signals->canary_fd < 0 ? SCOPE_ALL : SCOPE_LEADER;
		signals->ripe_at_ms[number] = 0;
		signals->heard_at_ms[number] = 0;
		return number;
	}
	return 0;
}

bool signals_next(struct signals *signals, int64_t now, struct heard_signal *heard)
{
	struct signalfd_siginfo info;
	hear_canary(signals, now);
	while (read(signals->fd, &info, sizeof info) == (ssize_t)sizeof info) {
		int number = (int)info.ssi_signo;
		if (number < 1 || number > 64)
			continue;
		if (signals->canary_fd >= 0) {
			signals->ripe_at_ms[number] = now + CANARY_WAIT_MS;
			continue;
		}
		*heard = (struct heard_signal){number, SCOPE_ALL};
		return true;
	}
	hear_canary(signals, now);
	heard->number = ripe(signals, now, &heard->scope);
	return heard->number != 0;
}

int signals_wait_ms(const struct signals *signals, int64_t now)
{
	int64_t first = 0;
	for (int number = 1; number < 65; number++) {
		int64_t at = signals->ripe_at_ms[number];
		if (at != 0 && (first == 0 || at < first))
			first = at;
	}
	if (first == 0)
		return -1;
	return first > now ? (int)(first - now) : 0;
}

void signals_end(struct signals *signals)
{
	if (signals->canary_fd < 0)
		return;
	kill(signals->canary_pid, SIGKILL);
	lose_canary(signals);
}
