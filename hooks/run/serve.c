/* Owns the server of one call: its connection, its command's life and end. Must never start another program than the one that vmrmd names. */
#include "serve.h"
#include "child.h"
#include "clock.h"
#include "link.h"
#include "messages.h"
#include "serve_hold.h"
#include "served_command.h"
#include "signal_name.h"
#include "task.h"
#include "tlv.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* So long a command has to end itself once nobody is there who wants it: srun ends its step meanwhile. */
#define END_MS 5000
#define TICK_MS 20

struct server {
	const struct serve_request *request;
	struct link link;
	struct task *task;
	struct served_command command;
	struct hold hold;
	struct account account;
	int signal_fd;
	pid_t parent;
	bool greeting_due, is_attached, was_attached, is_over;
	int64_t away_since_ms;
	int64_t end_by_ms; /* 0: the command is wanted */
};

static uint8_t scratch[VMRM_PAYLOAD_MAX_BYTES];

/* Nobody wants the command any more. */
static void end_command(struct server *server)
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

static void take_place(struct server *server, const struct vmrm_frame *frame)
{
	struct served_command *command = &server->command;
	struct vmrm_tlv_reader reader;
	struct vmrm_tlv field;
	char folder[4000];
	if (server->is_attached)
		return;
	server->is_attached = true;
	task_ask(server->task);
	if (server->was_attached)
		return;
	server->was_attached = true;
	vmrm_tlv_read_from(&reader, frame->payload, frame->length);
	while (vmrm_tlv_next(&reader, &field) == VMRM_TLV_FIELD) {
		if (field.tag == VMRM_ATTACHED_PROGRAM) {
			vmrm_tlv_copy_text(&field, command->program, sizeof command->program);
		} else if (field.tag == VMRM_ATTACHED_FOLDER && vmrm_tlv_copy_text(&field, folder, sizeof folder)) {
			snprintf(command->folder, sizeof command->folder, "%s/%016llx", folder, (unsigned long long)server->request->call);
		} else if (field.tag == VMRM_ATTACHED_ARG && command->argument_count < SERVED_ARGUMENTS_MAX) {
			command->arguments[command->argument_count] = strndup((const char *)field.value, field.length);
			command->argument_count += command->arguments[command->argument_count] != NULL;
		}
	}
	/* An empty name would be looked up in the guest's PATH. */
	if (command->program[0] != '/')
		end_command(server);
}

static const char *prepare(void *context, struct spec *spec)
{
	struct server *server = context;
	const char *why = served_command_prepare(&server->command, spec);
	if (why == NULL && server->command.holds && !hold_listen(&server->hold, server->command.hold_socket))
		why = "the host cannot hold an allocation for this VM";
	return why;
}

static void release(struct server *server, const struct vmrm_frame *frame)
{
	struct vmrm_tlv field;
	uint32_t code = 1;
	int number = 0;
	if (vmrm_tlv_find(frame->payload, frame->length, VMRM_RELEASE_SIGNAL, &field))
		number = signal_number(&field);
	else if (vmrm_tlv_find(frame->payload, frame->length, VMRM_RELEASE_VALUE, &field))
		vmrm_tlv_u32(&field, &code);
	hold_release(&server->hold, number > 0 ? (struct ending){ENDING_SIGNAL, number} : (struct ending){ENDING_EXIT, (int)(code < 256 ? code : 255)});
}

static void receive(struct server *server, const struct vmrm_frame *frame)
{
	struct task *task = server->task;
	if (frame->session != server->request->call)
		return;
	switch (frame->type) {
	case VMRM_ATTACHED:
		take_place(server, frame);
		break;
	case VMRM_RESET:
		task_ask(task);
		break;
	case VMRM_REFUSED:
	case VMRM_LOST:
	case VMRM_CLOSE:
		end_command(server);
		break;
	case VMRM_OPEN:
		task->is_paused = false;
		break;
	case VMRM_DATA:
		task_on_data(task, frame, &server->account);
		break;
	case VMRM_ACK:
		task_on_ack(task, frame);
		break;
	case VMRM_SIGNAL:
		task_on_signal(task, frame);
		break;
	case VMRM_RESUME:
		task_on_resume(task, frame);
		server->hold.owes_held = server->hold.has_environment;
		break;
	case VMRM_RESIZE:
		task_on_resize(task, frame);
		break;
	case VMRM_RELEASE:
		release(server, frame);
		break;
	default:
		break;
	}
}

/* The next frame that is due; false: none. */
static bool next_frame(struct server *server, struct vmrm_frame *frame)
{
	struct vmrm_tlv_writer fields;
	const struct serve_request *request = server->request;
	vmrm_tlv_write_to(&fields, scratch, sizeof scratch);
	*frame = (struct vmrm_frame){.session = request->call, .payload = scratch};
	if (server->greeting_due) {
		server->greeting_due = false;
		frame->type = VMRM_SERVE;
		vmrm_tlv_put_text(&fields, VMRM_SERVE_JOB, request->job->id);
		vmrm_tlv_put_u64(&fields, VMRM_SERVE_PARENT, request->parent);
		if (server->was_attached)
			vmrm_tlv_put(&fields, VMRM_SERVE_RESUMED, NULL, 0);
	} else if (!server->is_attached || server->end_by_ms != 0) {
		return false;
	} else if (task_next_frame(server->task, frame, scratch)) {
		return true;
	} else if (server->hold.owes_held && !server->task->is_paused) {
		server->hold.owes_held = false;
		frame->type = VMRM_HELD;
		if (!hold_put(&server->hold, server->command.environment, &fields)) {
			/* The caller answers with CLOSE, which ends salloc. */
			frame->type = VMRM_ERROR;
			vmrm_tlv_write_to(&fields, scratch, sizeof scratch);
			vmrm_tlv_put_text(&fields, VMRM_ERROR_TEXT, "the variables that salloc sets for its command are larger than 64 KiB together; the VM cannot take them");
			vmrm_tlv_put_text(&fields, VMRM_ERROR_CODE, "too-large");
		}
	} else if (server->hold.signals != 0 && !server->task->is_paused) {
		char name[24];
		int number = __builtin_ctzll(server->hold.signals) + 1;
		server->hold.signals &= server->hold.signals - 1;
		signal_name(number, name, sizeof name);
		frame->type = VMRM_SIGNAL;
		vmrm_tlv_put_text(&fields, VMRM_SIGNAL_NAME, name);
	} else {
		return false;
	}
	*frame = (struct vmrm_frame){.type = frame->type, .session = request->call, .payload = scratch, .length = (uint32_t)fields.length};
	return true;
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
	while (is_fine && link_can_send(&server->link) && next_frame(server, &frame))
		is_fine = link_send(&server->link, &frame);
	if (!is_fine)
		lose_link(server);
}

static void read_link(struct server *server)
{
	struct vmrm_frame frame;
	bool is_alive = link_read(&server->link);
	while (link_next(&server->link, &frame)) {
		receive(server, &frame);
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
		end_command(server);
}

/* What a command says that nobody wants is read all the same, lest it waits for ever. */
static void drop_output(int *fd, struct vmrm_sender *sender)
{
	ssize_t count = read(*fd, scratch, sizeof scratch);
	if (count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	task_close_fd(fd);
	vmrm_sender_end(sender);
}

static void read_output(const struct server *server, int *fd, struct vmrm_sender *sender)
{
	if (server->end_by_ms != 0)
		drop_output(fd, sender);
	else
		task_read_output(fd, sender);
}

static void wait_for_events(struct server *server)
{
	struct task *task = server->task;
	const uint8_t *bytes;
	bool is_ending = server->end_by_ms != 0;
	bool has_input = vmrm_receiver_peek(&task->stdin_in, &bytes) > 0 || vmrm_receiver_is_done(&task->stdin_in);
	bool reads_out = task->out_fd >= 0 && (is_ending || task_can_read(task->out_fd, &task->out));
	bool reads_err = task->err_fd >= 0 && (is_ending || task_can_read(task->err_fd, &task->err));
	struct pollfd fds[] = {
		{.fd = server->signal_fd, .events = POLLIN},
		{.fd = server->link.fd, .events = (short)(POLLIN | (link_can_send(&server->link) ? 0 : POLLOUT))},
		{.fd = task->in_fd, .events = has_input ? POLLOUT : 0},
		{.fd = reads_out ? task->out_fd : -1, .events = POLLIN},
		{.fd = reads_err ? task->err_fd : -1, .events = POLLIN},
		{.fd = task->status_fd, .events = POLLIN},
		{.fd = hold_fd(&server->hold), .events = POLLIN},
	};
	bool ticks = is_ending || task_wants_tick(task) || server->link.fd < 0;
	if (poll(fds, sizeof fds / sizeof *fds, ticks ? TICK_MS : -1) <= 0)
		return;
	if (fds[0].revents != 0)
		take_signals(server);
	if (fds[5].revents != 0 && fds[5].fd == task->status_fd)
		task_read_status(task);
	if (fds[3].revents != 0 && fds[3].fd == task->out_fd)
		read_output(server, &task->out_fd, &task->out);
	if (fds[4].revents != 0 && fds[4].fd == task->err_fd)
		read_output(server, &task->err_fd, &task->err);
	if (fds[2].revents != 0 && fds[2].fd == task->in_fd) {
		if ((fds[2].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0)
			task_close_stdin(task);
		else
			task_write_stdin(task);
	}
	if (fds[6].revents != 0)
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
		end_command(server);
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
