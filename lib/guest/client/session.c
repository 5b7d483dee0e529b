/* Owns the side of a session that has something run: its start, its signals, its stdin and its end. What comes is session_receive.c's, what goes session_send.c's. */
#include "session.h"
#include "messages.h"
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define STDIN_CHUNK_BYTES 65536u

static bool is_null_device(int fd)
{
	struct stat status;
	return fstat(fd, &status) != 0 || (S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3));
}

void session_init(struct session *session, const struct session_options *options)
{
	memset(session, 0, sizeof *session);
	session->role = options->role;
	session->context = options->context;
	session->number = options->number;
	session->has_terminal = options->takes_terminal && terminal_take(&session->size);
	session->has_stdin = session->has_terminal || (options->takes_stdin && !is_null_device(STDIN_FILENO));
	vmrm_sender_init(&session->spec_sender);
	vmrm_sender_init(&session->stdin_sender);
	outlet_init(&session->out, STDOUT_FILENO, options->output);
	outlet_init(&session->err, STDERR_FILENO, options->output);
	wire_init(&session->wire);
}

void session_free(struct session *session)
{
	terminal_restore();
	spec_bytes_free(&session->spec);
	vmrm_sender_free(&session->spec_sender);
	vmrm_sender_free(&session->stdin_sender);
	outlet_restore(&session->out);
	outlet_restore(&session->err);
	wire_free(&session->wire);
}

void session_connected(struct session *session)
{
	session->greeting_due = true;
}

void session_disconnected(struct session *session)
{
	session->is_attached = session->greeting_due = session->is_resuming = false;
	vmrm_sender_pause(&session->spec_sender);
	vmrm_sender_pause(&session->stdin_sender);
	vmrm_sender_pause(&session->wire.out);
}

void session_release(struct session *session, struct ending ending)
{
	session->release_due = session->has_released = true;
	session->release = ending;
}

void session_fail(struct session *session, int code)
{
	session->ending = (struct ending){ENDING_EXIT, code};
	session->is_over = session->is_closed = true;
}

static void set(uint64_t *due, int number)
{
	*due |= UINT64_C(1) << (number - 1);
}

static void clear(struct session *session, int number)
{
	session->signals_all &= ~(UINT64_C(1) << (number - 1));
	session->signals_leader &= ~(UINT64_C(1) << (number - 1));
}

void session_signal(struct session *session, int number, enum signal_scope scope)
{
	if (session->is_over)
		return;
	if (number == SIGWINCH && session->has_terminal) {
		session->resize_due = terminal_size(&session->size);
		return;
	}
	if (!session->is_running && (number == SIGTERM || number == SIGINT)) {
		/* There is no task yet that could handle it. The guest's share ends with our connection. */
		session_fail(session, 128 + number);
		session->ending = (struct ending){ENDING_SIGNAL, number};
		return;
	}
	if (number == SIGCONT) {
		clear(session, SIGSTOP);
		clear(session, SIGTSTP);
	} else if (number == SIGSTOP || number == SIGTSTP) {
		clear(session, SIGCONT);
	}
	if (number == SIGCONT && !session->is_running)
		return;
	set(scope == SCOPE_ALL ? &session->signals_all : &session->signals_leader, number);
}

bool session_wants_stdin(struct session *session)
{
	uint8_t *at = NULL;
	if (!session->has_stdin || !session->is_running || session->is_over || session->stdin_sender.ended)
		return false;
	return vmrm_sender_space(&session->stdin_sender, 1, &at) > 0;
}

void session_read_stdin(struct session *session)
{
	uint8_t *at = NULL;
	size_t room = vmrm_sender_space(&session->stdin_sender, STDIN_CHUNK_BYTES, &at);
	if (room == 0)
		return;
	ssize_t n = read(STDIN_FILENO, at, room < STDIN_CHUNK_BYTES ? room : STDIN_CHUNK_BYTES);
	if (n > 0)
		vmrm_sender_commit(&session->stdin_sender, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		vmrm_sender_end(&session->stdin_sender);
}

void session_heed(struct session *session, struct outlet *outlet)
{
	if (!outlet->is_broken || outlet->is_told)
		return;
	outlet->is_told = true;
	session_signal(session, SIGPIPE, SCOPE_ALL);
}

void session_write(struct session *session, struct outlet *outlet)
{
	outlet_write(outlet);
	session_heed(session, outlet);
}

bool session_is_finished(const struct session *session)
{
	return session->is_over && session->is_closed;
}
