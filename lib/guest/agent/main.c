/*
 * Owns the agent's process: arguments, signals and the poll loop.
 * Must never exit while its sessions run, but on SIGTERM.
 *
 * NAME ARGUMENT…              NAME: a command of Slurm's, which is called on the host
 * vmrm-connect PORT           see connect.h
 * vmrm-agent [--port PATH]    PATH: a virtio-serial port, or a unix socket that listens (tests)
 */
#include "agent.h"
#include "caller.h"
#include "connect.h"
#include "log.h"
#include "port.h"
#include "protection.h"
#include "session_poll.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_PORT "/dev/virtio-ports/org.vmrm.agent.0"
#define FDS_MAX (2 + CALLS_FDS_MAX + SESSIONS_FDS_MAX)
/* Reads of the port a turn, so that a flood from the host does not starve the tasks. */
#define READS_A_TURN 16
#define TRIM_AFTER_MS 2000

static struct agent agent;
static struct port port;
static struct pollfd fds[FDS_MAX];

static int open_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Takes what signals have come. False: it is time to go. */
static bool take_signals(int signals)
{
	struct signalfd_siginfo info;
	bool stays = true;
	int status;
	pid_t pid;
	while (read(signals, &info, sizeof info) == (ssize_t)sizeof info)
		if (info.ssi_signo == SIGTERM)
			stays = false;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		agent_on_child(&agent, pid, status);
	return stays;
}

static void read_port(void)
{
	struct vmrm_frame frame;
	for (int i = 0; i < READS_A_TURN && port_is_usable(&port) && port_read(&port); i++)
		while (vmrm_parser_next(&port.parser, &frame))
			agent_on_frame(&agent, &frame);
}

/* Fills and writes the port until the host takes no more or nothing is left. */
static void write_port(void)
{
	struct vmrm_frame frame;
	bool has_more = true;
	while (port_is_usable(&port) && has_more) {
		size_t room;
		uint8_t *at;
		has_more = false;
		while ((at = port_out_space(&port, &room)) != NULL && agent_next_frame(&agent, &frame)) {
			port_out_commit(&port, vmrm_frame_encode(at, room, &frame));
			has_more = true;
		}
		if (!port_write(&port))
			return;
	}
}

static int sooner(int a, int b)
{
	return a < 0 ? b : b < 0 ? a : a < b ? a : b;
}

static void trim_all(void)
{
	for (size_t i = 0; i < agent.session_count; i++)
		task_trim(agent.sessions[i]);
}

/* Waits until something is to be done, at most until one of us wants a tick, and does it. False: it is time to go. */
static bool wait_for_events(int signals)
{
	size_t sessions = agent.session_count;
	size_t calls = calls_watch(&agent.calls, &fds[2]);
	struct pollfd *ends = &fds[2 + calls];
	size_t count = 2 + calls + sessions_watch(&agent, ends);
	fds[0] = (struct pollfd){.fd = signals, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = port_is_usable(&port) ? port.fd : -1, .events = (short)(POLLIN | (port.out_start < port.out_end ? POLLOUT : 0))};
	int wait = sooner(sooner(port_wait_ms(&port), agent_tick_wait_ms(&agent)), calls_wait_ms(&agent.calls));
	int ready = poll(fds, count, wait >= 0 ? wait : TRIM_AFTER_MS);
	if (ready < 0 && errno != EINTR)
		agent_log("poll: %s\n", strerrordesc_np(errno));
	if (ready == 0 && wait < 0)
		trim_all();
	if (ready > 0)
		sessions_serve(&agent, ends, sessions);
	agent_serve_calls(&agent, &fds[2], ready > 0 ? calls : 0);
	return ready <= 0 || fds[0].revents == 0 || take_signals(signals);
}

/* One turn. False: it is time to go. */
static bool turn(int signals)
{
	bool stays = wait_for_events(signals);
	port_retry(&port);
	read_port();
	agent_tick(&agent);
	write_port();
	return stays;
}

/* Kills what is left and waits for it, but not for ever. */
static void stop(int signals)
{
	agent_stop(&agent);
	for (int i = 0; i < 100 && agent.session_count > 0; i++) {
		struct pollfd child = {.fd = signals, .events = POLLIN};
		poll(&child, 1, 20);
		take_signals(signals);
		agent_tick(&agent);
	}
	agent_free(&agent);
}

int main(int argc, char **argv)
{
	const char *path = DEFAULT_PORT;
	/* Under any other name it is one of Slurm's commands (identity_commands.c). */
	if (argc > 0 && strncmp(basename(argv[0]), "vmrm", 4) != 0)
		caller_main(argc, argv);
	if (argc > 0 && strcmp(basename(argv[0]), CONNECT_NAME) == 0)
		return connect_main(argc, argv);
	if (argc == 3 && strcmp(argv[1], "--port") == 0) {
		path = argv[2];
	} else if (argc != 1) {
		agent_log("usage: vmrm-agent [--port PATH]\n");
		return 64;
	}
	int signals = open_signals();
	if (signals < 0) {
		agent_log("cannot wait for signals: %s\n", strerrordesc_np(errno));
		return 71;
	}
	protect();
	groups_start();
	agent_init(&agent);
	port_init(&port, path);
	while (turn(signals))
		;
	stop(signals);
	return 0;
}
