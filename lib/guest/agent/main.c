/*
 * Owns the agent's process: arguments, protection, signals and the poll loop.
 * Must never exit while its sessions run, but on SIGTERM.
 *
 * NAME ARGUMENT…              NAME: a command of Slurm's, which is called on the host
 * vmrm-connect PORT           see connect.h
 * vmrm-agent [--port PATH]    PATH: a virtio-serial port, or a unix socket that listens (tests)
 */
#include "agent.h"
#include "caller.h"
#include "child.h"
#include "connect.h"
#include "log.h"
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_PORT "/dev/virtio-ports/org.vmrm.agent.0"
#define FDS_A_SESSION 4
#define FDS_MAX (2 + CALLS_FDS_MAX + SESSIONS_MAX * 2 * (FDS_A_SESSION + WIRE_FDS))
/* Reads of the port a turn, so that a flood from the host does not starve the tasks. */
#define READS_A_TURN 16
#define TRIM_AFTER_MS 2000
#define NICE (-15)

static struct agent agent;
static struct port port;
static struct pollfd fds[FDS_MAX];

static void protect(void)
{
	struct rlimit files = {65536, 65536};
	child_keep_limits();
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "-1000", 5) != 5)
		agent_log("cannot be protected from the out-of-memory killer\n");
	if (fd >= 0)
		close(fd);
	setrlimit(RLIMIT_NOFILE, &files);
	/*
	 * What a task does must not keep its output from leaving. But it must not be taken off its CPU at each of its writes, for a
	 * frame of these few bytes: the agent waits until the task does, or for the kernel's next tick.
	 */
	setpriority(PRIO_PROCESS, 0, NICE);
	sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
	/* Orphans of a session come to us and not to an init that may reap late. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

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

static struct pollfd watch(int fd, short events)
{
	return (struct pollfd){.fd = fd, .events = events};
}

/* A task's stdin is watched even with nothing to write: its reader may go. */
static void watch_session(const struct task *task, struct pollfd *place)
{
	const uint8_t *bytes;
	bool has_input = vmrm_receiver_peek(&task->stdin_in, &bytes) > 0 || vmrm_receiver_is_done(&task->stdin_in);
	bool is_gone = task->state == TASK_GONE;
	place[0] = watch(is_gone ? -1 : task->in_fd, has_input ? POLLOUT : 0);
	place[1] = watch(!is_gone && task_can_read(task->out_fd, &task->out) ? task->out_fd : -1, POLLIN);
	place[2] = watch(!is_gone && task_can_read(task->err_fd, &task->err) ? task->err_fd : -1, POLLIN);
	place[3] = watch(is_gone ? -1 : task->status_fd, POLLIN);
}

static void serve_session(struct task *task, const struct pollfd *place)
{
	/* An fd may have been closed meanwhile, and its number be another's. */
	if (place[3].revents != 0 && place[3].fd == task->status_fd)
		task_read_status(task);
	if (place[1].revents != 0 && place[1].fd == task->out_fd)
		task_read_output(&task->out_fd, &task->out);
	if (place[2].revents != 0 && place[2].fd == task->err_fd)
		task_read_output(&task->err_fd, &task->err);
	if (place[0].revents == 0 || place[0].fd != task->in_fd)
		return;
	if ((place[0].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0)
		task_close_stdin(task);
	else
		task_write_stdin(task);
}

/* The wires' places lie behind those of all sessions, in the order of the sessions that have one. */
static size_t watch_wires(struct pollfd *place, size_t sessions)
{
	size_t count = 0;
	for (size_t i = 0; i < sessions; i++) {
		if (!agent.sessions[i]->wire.is_used)
			continue;
		wire_watch(&agent.sessions[i]->wire, place + count);
		count += WIRE_FDS;
	}
	return count;
}

static void serve_wires(const struct pollfd *place, size_t sessions)
{
	for (size_t i = 0; i < sessions; i++) {
		if (!agent.sessions[i]->wire.is_used)
			continue;
		wire_turn(&agent.sessions[i]->wire, place);
		place += WIRE_FDS;
	}
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

/* One turn. False: it is time to go. */
static bool turn(int signals)
{
	size_t sessions = agent.session_count;
	size_t calls = calls_watch(&agent.calls, &fds[2]);
	struct pollfd *tasks = &fds[2 + calls];
	fds[0] = watch(signals, POLLIN);
	fds[1] = watch(port_is_usable(&port) ? port.fd : -1, (short)(POLLIN | (port.out_start < port.out_end ? POLLOUT : 0)));
	for (size_t i = 0; i < sessions; i++)
		watch_session(agent.sessions[i], &tasks[i * FDS_A_SESSION]);
	int wait = sooner(sooner(port_wait_ms(&port), agent_tick_wait_ms(&agent)), calls_wait_ms(&agent.calls));
	struct pollfd *wires = &tasks[sessions * FDS_A_SESSION];
	size_t wire_fds = watch_wires(wires, sessions);
	int ready = poll(fds, 2 + calls + sessions * FDS_A_SESSION + wire_fds, wait >= 0 ? wait : TRIM_AFTER_MS);
	if (ready < 0 && errno != EINTR)
		agent_log("poll: %s\n", strerrordesc_np(errno));
	if (ready == 0 && wait < 0)
		trim_all();
	for (size_t i = 0; ready > 0 && i < sessions; i++)
		serve_session(agent.sessions[i], &tasks[i * FDS_A_SESSION]);
	if (ready > 0)
		serve_wires(wires, sessions);
	agent_serve_calls(&agent, &fds[2], ready > 0 ? calls : 0);
	bool stays = ready <= 0 || fds[0].revents == 0 || take_signals(signals);
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
		struct pollfd child = watch(signals, POLLIN);
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
