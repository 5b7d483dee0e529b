/*
 * vmrm-run: takes the place of one task of a job on the host while the task itself runs in a VM. This file owns the loop and the end.
 * Must never run the task on the host, and never keep a descriptor that slurmstepd left open, but the task's way to its MPI server.
 */
#include "clock.h"
#include "limits.h"
#include "link.h"
#include "messages.h"
#include "say.h"
#include "serve_hold.h"
#include "servers.h"
#include "session.h"
#include "signals.h"
#include "task_role.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* Slurm sends STOP two seconds after TSTP, and nobody can pass STOP on: so the guest is stopped one second after it got TSTP. */
#define STOP_AFTER_MS 1000u

struct run {
	struct task_context task;
	struct link link;
	struct signals signals;
	struct session session;
	int64_t away_since_ms; /* when vmrmd was last there; 0: it is */
	int64_t stop_at_ms; /* 0: no suspension is under way */
	bool stop_due; /* STOP has been handed to the session; stop ourselves when it is sent */
	bool was_stopped; /* everyone in the session was; whoever CONT is for, everyone goes on */
};

static void on_signal(struct run *run, const struct heard_signal *heard, int64_t now)
{
	if (heard->number == SIGTSTP)
		run->stop_at_ms = now + STOP_AFTER_MS;
	else if (heard->number == SIGCONT)
		run->stop_at_ms = 0;
	bool is_end_of_stop = heard->number == SIGCONT && run->was_stopped;
	if (is_end_of_stop)
		run->was_stopped = false;
	session_signal(&run->session, heard->number, is_end_of_stop ? SCOPE_ALL : heard->scope);
}

static void on_time(struct run *run, int64_t now)
{
	struct heard_signal heard;
	while (signals_next(&run->signals, now, &heard))
		on_signal(run, &heard, now);
	if (run->stop_at_ms != 0 && now >= run->stop_at_ms) {
		run->stop_at_ms = 0;
		run->stop_due = true;
		session_signal(&run->session, SIGSTOP, SCOPE_ALL);
	}
	if (link_try(&run->link, now))
		session_connected(&run->session);
	if (run->link.fd < 0 && now - run->away_since_ms >= run->task.job.give_up_ms && !session_is_finished(&run->session)) {
		say("vmrmd of this node does not answer on %s (%s) for %u seconds; this task of job %s ends",
			run->task.job.socket_path, strerror(run->link.last_errno), run->task.job.give_up_ms / 1000u, run->task.job.id);
		session_fail(&run->session, EXIT_UNAVAILABLE);
	}
}

static void lose_link(struct run *run, int64_t now)
{
	if (run->session.is_attached)
		run->away_since_ms = now;
	link_drop(&run->link, now);
	session_disconnected(&run->session);
}

static void on_link(struct run *run, int64_t now)
{
	struct vmrm_frame frame;
	bool is_alive = link_read(&run->link);
	while (!session_is_finished(&run->session) && link_next(&run->link, &frame)) {
		session_receive(&run->session, &frame);
		if (run->session.is_attached)
			link_is_useful(&run->link);
	}
	if (!is_alive)
		lose_link(run, now);
}

/* Sends what is due; then, where a suspension asks for it, stops until CONT. */
static void send_due(struct run *run, int64_t now)
{
	if (run->link.fd >= 0 && !session_send(&run->session, &run->link))
		lose_link(run, now);
	if (!run->stop_due || !link_can_send(&run->link))
		return;
	run->stop_due = false;
	run->was_stopped = true;
	raise(SIGSTOP);
}

static int wait_ms(const struct run *run, int64_t now)
{
	int wait = signals_wait_ms(&run->signals, now);
	int64_t times[2] = {run->stop_at_ms, run->link.fd < 0 ? run->link.retry_at_ms : 0};
	for (int i = 0; i < 2; i++) {
		if (times[i] == 0)
			continue;
		int left = times[i] > now ? (int)(times[i] - now) : 0;
		if (wait < 0 || left < wait)
			wait = left;
	}
	return wait;
}

static void wait_for_events(struct run *run)
{
	struct session *session = &run->session;
	struct pollfd fds[6 + WIRE_FDS] = {
		{.fd = run->signals.fd, .events = POLLIN},
		{.fd = run->signals.canary_fd, .events = POLLIN},
		{.fd = run->link.fd, .events = (short)(POLLIN | (link_can_send(&run->link) ? 0 : POLLOUT))},
		{.fd = session_wants_stdin(session) ? STDIN_FILENO : -1, .events = POLLIN},
		{.fd = outlet_is_waiting(&session->out) ? STDOUT_FILENO : -1, .events = POLLOUT},
		{.fd = outlet_is_waiting(&session->err) ? STDERR_FILENO : -1, .events = POLLOUT},
	};
	wire_watch(&session->wire, fds + 6);
	if (poll(fds, sizeof fds / sizeof *fds, wait_ms(run, now_ms())) <= 0)
		return;
	if (fds[3].revents != 0)
		session_read_stdin(session);
	if (fds[4].revents != 0)
		session_write(session, &session->out);
	if (fds[5].revents != 0)
		session_write(session, &session->err);
	wire_turn(&session->wire, fds + 6);
	if ((fds[2].revents & ~POLLOUT) != 0)
		on_link(run, now_ms());
}

static void loop(struct run *run)
{
	/* Finished, and the last frame has left; a vmrmd that is gone needs none. */
	while (!session_is_finished(&run->session) || (run->link.fd >= 0 && !link_can_send(&run->link))) {
		int64_t now = now_ms();
		on_time(run, now);
		send_due(run, now);
		servers_reap();
		if (session_is_finished(&run->session) && (run->link.fd < 0 || link_can_send(&run->link)))
			break;
		wait_for_events(run);
	}
}

static _Noreturn void end(struct run *run)
{
	struct ending ending = run->session.ending;
	signals_end(&run->signals);
	session_free(&run->session);
	ending_follow(ending);
}

int main(int argc, char **argv)
{
	static struct run run;
	uint64_t number = 0;
	int kept = mpi_kept_fd();
	if (kept > 3)
		close_range(3, (unsigned)kept - 1, 0);
	close_range(kept >= 3 ? (unsigned)kept + 1 : 3, ~0U, 0);
	if (argc == 3 && strcmp(argv[1], "--hold") == 0)
		ending_follow(hold_main(argv[2]));
	limits_keep();
	int code = job_read(&run.task.job, argc, argv);
	if (code == 0 && !run.task.job.is_prolog)
		code = mpi_read(&run.task.mpi, &run.task.job);
	if (code != 0)
		return code;
	if (!signals_init(&run.signals) ||
	    getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number) {
		say("vmrm-run cannot start: %s", strerror(errno));
		return EXIT_UNAVAILABLE;
	}
	int64_t now = now_ms();
	run.away_since_ms = now;
	servers_init();
	link_init(&run.link, run.task.job.socket_path, now);
	session_init(&run.session, &(struct session_options){
		.role = &task_role, .context = &run.task, .number = number | 1, .takes_terminal = true, .takes_stdin = true});
	mpi_open_wire(&run.task.mpi, &run.session.wire);
	loop(&run);
	end(&run);
}
