/* Owns the server of one call: its connection, its command's life and end. Must never start another program than the one that vmrmd names. */
#include "call_server.h"
#include "child.h"
#include "clock.h"
#include "task_poll.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* So long a command has to end itself once nobody is there who wants it: srun ends its step meanwhile. */
#define END_MS 5000
#define TICK_MS 20
/* In front of the task's places in a poll: signals, the link, what salloc's command says. */
#define FIRST_OF_TASK 3

static uint8_t scratch[VMRM_PAYLOAD_MAX_BYTES];

void call_end_command(struct server *server)
{
	struct task *task = server->task;
	if (server->end_by_ms != 0)
		return;
	server->end_by_ms = now_ms() + END_MS;
	if (task->leader <= 0) {
		task_forget(task);
		return;
	}
	kill(task->leader, SIGTERM);
	kill(task->leader, SIGCONT);
}

static const char *prepare(void *context, struct spec *spec)
{
	struct server *server = context;
	const char *why = served_command_prepare(&server->command, spec);
	if (why == NULL && server->command.holds && !hold_listen(&server->hold, server->command.hold_socket))
		why = "the host cannot hold an allocation for this VM";
	return why;
}

static void lose_link(struct server *server)
{
	if (server->is_attached || server->away_since_ms == 0)
		server->away_since_ms = now_ms();
	server->is_attached = server->greeting_due = false;
	task_pause(server->task);
	server->task->owes_ask = false;
	link_drop(&server->link, now_ms());
}

static void send_due(struct server *server)
{
	struct vmrm_frame frame;
	bool is_fine = link_flush(&server->link);
	while (is_fine && link_can_send(&server->link) && call_next_frame(server, &frame, scratch))
		is_fine = link_send(&server->link, &frame);
	if (!is_fine)
		lose_link(server);
}

static void read_link(struct server *server)
{
	struct vmrm_frame frame;
	bool is_alive = link_read(&server->link);
	while (link_next(&server->link, &frame)) {
		call_receive_frame(server, &frame);
		if (server->is_attached)
			link_is_useful(&server->link);
	}
	if (!is_alive)
		lose_link(server);
}

static void take_signals(struct server *server)
{
	struct signalfd_siginfo info;
	int status = 0;
	pid_t pid;
	while (read(server->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == server->task->leader)
			task_on_leader_end(server->task, status);
	/* Slurm signals all of a step; only that our vmrm-run is gone concerns us. */
	if (getppid() != server->parent)
		call_end_command(server);
}

/* What a command says that nobody wants is read all the same, lest it waits for ever. */
static void drop_output(struct pollfd *place, int *fd, struct vmrm_sender *sender)
{
	if (place->revents == 0 || place->fd != *fd)
		return;
	place->revents = 0;
	ssize_t count = read(*fd, scratch, sizeof scratch);
	if (count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	task_close_fd(fd);
	vmrm_sender_end(sender);
}

static void wait_for_events(struct server *server)
{
	struct task *task = server->task;
	bool is_ending = server->end_by_ms != 0;
	struct pollfd fds[FIRST_OF_TASK + TASK_FDS] = {
		{.fd = server->signal_fd, .events = POLLIN},
		{.fd = server->link.fd, .events = (short)(POLLIN | (link_can_send(&server->link) ? 0 : POLLOUT))},
		{.fd = hold_fd(&server->hold), .events = POLLIN},
	};
	struct pollfd *ends = &fds[FIRST_OF_TASK];
	task_watch(task, ends);
	if (is_ending) {
		ends[TASK_OUT].fd = task->out_fd;
		ends[TASK_ERR].fd = task->err_fd;
	}
	bool ticks = is_ending || task_wants_tick(task) || server->link.fd < 0;
	if (poll(fds, sizeof fds / sizeof *fds, ticks ? TICK_MS : -1) <= 0)
		return;
	if (fds[0].revents != 0)
		take_signals(server);
	if (server->end_by_ms != 0) {
		drop_output(&ends[TASK_OUT], &task->out_fd, &task->out);
		drop_output(&ends[TASK_ERR], &task->err_fd, &task->err);
	}
	task_serve(task, ends);
	if (fds[2].revents != 0)
		hold_read(&server->hold);
	if ((fds[1].revents & ~POLLOUT) != 0)
		read_link(server);
}

static void turn(struct server *server)
{
	struct task *task = server->task;
	int64_t now = now_ms();
	if (link_try(&server->link, now))
		server->greeting_due = true;
	if (server->is_attached)
		server->away_since_ms = 0;
	else if (server->away_since_ms == 0)
		server->away_since_ms = now;
	else if (now - server->away_since_ms >= server->request->job->give_up_ms)
		call_end_command(server);
	if (task_wants_tick(task))
		task_tick(task);
	if (server->end_by_ms != 0 && task->state != TASK_GONE && (task->leader <= 0 || now >= server->end_by_ms))
		task_forget(task);
	server->is_over = task->state == TASK_GONE && task_is_clean(task);
	if (!server->is_over && server->link.fd >= 0)
		send_due(server);
}

static bool start(struct server *server)
{
	sigset_t set;
	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	/* Whoever leaves a command behind leaves it to us. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	child_keep_limits();
	server->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	server->task = task_new(server->request->call);
	if (server->signal_fd < 0 || server->task == NULL || getppid() != server->parent)
		return false;
	server->task->prepare = prepare;
	server->task->prepare_context = server;
	server->task->is_paused = true;
	link_init(&server->link, server->request->job->socket_path, now_ms());
	return true;
}

int serve(const struct serve_request *request, pid_t parent)
{
	static struct server server;
	server = (struct server){.request = request, .parent = parent, .account = {.is_own = true}, .command = {.name = request->command}};
	hold_init(&server.hold);
	if (!start(&server))
		return 1;
	for (;;) {
		turn(&server);
		if (server.is_over)
			break;
		wait_for_events(&server);
	}
	served_command_clean(&server.command);
	hold_free(&server.hold);
	task_free(server.task);
	return 0;
}
