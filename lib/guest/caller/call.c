/* Owns one call: its session with the host, its signals, its end. Must never outlive the agent it speaks to. */
#include "call.h"
#include "clock.h"
#include "messages.h"
#include "say.h"
#include "socket.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* How long the host may take to answer: its daemon may just be restarted. */
#define ANSWER_MS 60000

static void fail(struct call *call, const char *why)
{
	link_drop(&call->link, now_ms());
	if (call->session.is_over) {
		/* It has ended by itself; there is nobody left to take a CLOSE. */
		call->session.is_closed = true;
		return;
	}
	say("%s: %s", call->plan->command, why);
	session_fail(&call->session, 1);
}

/* What is ignored stays ignored: a shell without job control starts commands in the background so. */
static int open_signals(void)
{
	sigset_t set;
	sigfillset(&set);
	sigdelset(&set, SIGPIPE);
	for (int number = 1; number < NSIG; number++) {
		struct sigaction action;
		bool is_fault = number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE || number == SIGABRT;
		if (is_fault || (number != SIGCHLD && sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN))
			sigdelset(&set, number);
	}
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* The terminal's own signals are for the command that salloc runs here; it has them already. */
static bool is_for_held_command(const struct call *call, int number)
{
	bool is_of_terminal = number == SIGINT || number == SIGQUIT || number == SIGTSTP || number == SIGTTIN || number == SIGTTOU || number == SIGWINCH;
	return call->held.pid > 0 && is_of_terminal;
}

static void take_signals(struct call *call)
{
	struct signalfd_siginfo info;
	struct ending ending;
	while (read(call->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
		int number = (int)info.ssi_signo;
		if (number == SIGCHLD || is_for_held_command(call, number))
			continue;
		if (number == SIGTSTP || number == SIGTTIN || number == SIGTTOU) {
			/* The command has no terminal whose job control could continue it after TSTP. */
			call->stop_due = true;
			session_signal(&call->session, SIGSTOP, SCOPE_ALL);
		} else {
			session_signal(&call->session, number, number == SIGCONT ? SCOPE_ALL : SCOPE_LEADER);
		}
	}
	if (held_command_ended(&call->held, &ending))
		session_release(&call->session, ending);
}

static void read_link(struct call *call)
{
	struct vmrm_frame frame;
	bool is_alive = link_read(&call->link);
	while (!session_is_finished(&call->session) && link_next(&call->link, &frame)) {
		/* The agent has a place for it from here on. */
		if (call->answer_by_ms == 0 && !call->session.is_attached)
			call->answer_by_ms = now_ms() + ANSWER_MS;
		/* Said before it knew our number: we may not call here. */
		if (frame.type == VMRM_ERROR && frame.session == 0)
			frame.session = call->session.number;
		session_receive(&call->session, &frame);
	}
	if (!is_alive)
		fail(call, "the VM's agent has ended the connection");
}

static void send_due(struct call *call)
{
	if (call->link.fd >= 0 && !session_send(&call->session, &call->link)) {
		/* It may have said why. */
		read_link(call);
		if (call->link.fd >= 0)
			fail(call, "the VM's agent has ended the connection");
	}
	bool has_left = call->session.signals_all == 0 || !call->session.is_running;
	if (!call->stop_due || !has_left || !link_can_send(&call->link))
		return;
	call->stop_due = false;
	raise(SIGSTOP);
}

static void wait_for_events(struct call *call)
{
	struct session *session = &call->session;
	struct pollfd fds[] = {
		{.fd = call->signal_fd, .events = POLLIN},
		{.fd = call->link.fd, .events = (short)(POLLIN | (link_can_send(&call->link) ? 0 : POLLOUT))},
		{.fd = session_wants_stdin(session) ? STDIN_FILENO : -1, .events = POLLIN},
		{.fd = outlet_is_waiting(&session->out) ? STDOUT_FILENO : -1, .events = POLLOUT},
		{.fd = outlet_is_waiting(&session->err) ? STDERR_FILENO : -1, .events = POLLOUT},
	};
	int64_t left = call->answer_by_ms - now_ms();
	int ready = poll(fds, sizeof fds / sizeof *fds, call->answer_by_ms == 0 ? -1 : left > 0 ? (int)left : 0);
	if (call->answer_by_ms != 0 && now_ms() >= call->answer_by_ms)
		fail(call, "the host does not answer");
	if (ready <= 0)
		return;
	if (fds[0].revents != 0)
		take_signals(call);
	if (fds[2].revents != 0)
		session_read_stdin(session);
	if (fds[3].revents != 0)
		session_write(session, &session->out);
	if (fds[4].revents != 0)
		session_write(session, &session->err);
	if ((fds[1].revents & ~POLLOUT) != 0)
		read_link(call);
}

static bool start(struct call *call)
{
	uint64_t number = 0;
	call->signal_fd = open_signals();
	if (call->signal_fd < 0 || getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number) {
		say("%s: %s", call->plan->command, strerror(errno));
		return false;
	}
	link_init(&call->link, CALL_SOCKET, now_ms());
	if (!link_try(&call->link, now_ms())) {
		say("%s: the VM's agent cannot be reached: %s", call->plan->command, strerror(call->link.last_errno));
		return false;
	}
	session_init(&call->session, &(struct session_options){.role = &call_role,
		.context = call,
		.number = number | 1,
		.takes_terminal = call->plan->takes_terminal,
		.takes_stdin = call->plan->takes_stdin,
		.output = call->plan->holds ? OUTPUT_SHARED : OUTPUT_REOPENED});
	session_connected(&call->session);
	return true;
}

struct ending call_run(const struct plan *plan)
{
	struct call call = {.plan = plan, .signal_fd = -1};
	if (!start(&call))
		return (struct ending){ENDING_EXIT, 1};
	for (;;) {
		send_due(&call);
		/* Finished, and the last frame has left. */
		if (session_is_finished(&call.session) && (call.link.fd < 0 || link_can_send(&call.link)))
			break;
		wait_for_events(&call);
	}
	struct ending ending = call.session.ending;
	session_free(&call.session);
	link_drop(&call.link, 0);
	close(call.signal_fd);
	return ending;
}
