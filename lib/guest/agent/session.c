/*
 * Owns a session's life: spec, start, end of the first process, draining, clean-up.
 * Must never leave a process behind: whatever ends a session also kills its group.
 */
#include "session.h"

#include "clock.h"
#include "log.h"
#include "spawn.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Output is read to its end so long after the first process; then a process outside the session holds the pipe. */
#define DRAIN_MS 2000
#define CLEANUP_TRIES 500

struct session *session_new(uint64_t id)
{
	struct session *session = calloc(1, sizeof *session);
	if (session == NULL)
		return NULL;
	session->id = id;
	session->in_fd = session->out_fd = session->err_fd = session->status_fd = -1;
	session->group.directory_fd = -1;
	vmrm_receiver_init(&session->spec_in);
	vmrm_receiver_init(&session->stdin_in);
	vmrm_sender_init(&session->out);
	vmrm_sender_init(&session->err);
	return session;
}

static void close_all(struct session *session)
{
	session_close_fd(&session->in_fd);
	session_close_fd(&session->out_fd);
	session_close_fd(&session->err_fd);
	session_close_fd(&session->status_fd);
}

static void forget_spec(struct session *session)
{
	free(session->spec_bytes);
	session->spec_bytes = NULL;
	session->spec_length = session->spec_room = 0;
}

void session_free(struct session *session)
{
	close_all(session);
	forget_spec(session);
	session_close_fd(&session->group.directory_fd);
	vmrm_receiver_free(&session->spec_in);
	vmrm_receiver_free(&session->stdin_in);
	vmrm_sender_free(&session->out);
	vmrm_sender_free(&session->err);
	free(session);
}

static void kill_all(struct session *session)
{
	group_kill(&session->group);
	/* A child that has not entered its group yet. */
	if (session->leader > 0)
		kill(session->leader, SIGKILL);
}

void session_fail(struct session *session, const char *code, int number, const char *text)
{
	session->state = SESSION_FAILED;
	session->owes_opened = false;
	session->owes_result = true;
	session->error_code = code;
	session->error_number = number;
	snprintf(session->error_text, sizeof session->error_text, "%s", text);
	vmrm_receiver_discard(&session->spec_in);
	vmrm_receiver_discard(&session->stdin_in);
	forget_spec(session);
	close_all(session);
	kill_all(session);
}

static void fail_with_errno(struct session *session, const char *code, int number, const char *what)
{
	char text[512];
	const char *why = strerrordesc_np(number);
	snprintf(text, sizeof text, "%s: %s", what, why != NULL ? why : "unknown error");
	session_fail(session, code, number, text);
}

static void on_spawn_failure(struct session *session, const struct spawn_failure *failure)
{
	char what[400];
	switch (failure->stage) {
	case SPAWN_EXEC:
		snprintf(what, sizeof what, "execve(): %s", session->command);
		fail_with_errno(session, "exec-failed", failure->error, what);
		break;
	case SPAWN_SCRIPT:
		snprintf(what, sizeof what, "cannot write the script %s", session->command);
		fail_with_errno(session, "script-failed", failure->error, what);
		break;
	case SPAWN_USER:
		fail_with_errno(session, "user-failed", failure->error, "cannot become the job's user");
		break;
	default:
		fail_with_errno(session, "spawn-failed", failure->error, "cannot set up the task");
	}
}

static void send_early_signals(struct session *session)
{
	for (int number = 1; number <= 64; number++)
		if ((session->early_signals >> (number - 1) & 1) != 0)
			kill(session->leader, number);
}

void session_start(struct session *session, const struct identity *who)
{
	const char *why;
	struct spawned spawned;
	if (who == NULL || who->user.name == NULL) {
		session_fail(session, "no-identity", 0, "the VM does not know its user yet");
		return;
	}
	struct spec *spec = spec_parse(session->spec_bytes, session->spec_length, &why);
	if (spec == NULL) {
		session_fail(session, "bad-spec", 0, why);
		return;
	}
	struct spawn_request request = {spec, &who->user, who->groups, who->group_count};
	snprintf(session->command, sizeof session->command, "%s", spec->argv[0]);
	session->is_terminal = spec->has_terminal;
	group_make(&session->group, session->id);
	if (spawn(&request, &session->group, &spawned)) {
		session->state = SESSION_STARTING;
		session->leader = spawned.pid;
		session->in_fd = spawned.in;
		session->out_fd = spawned.out;
		session->err_fd = spawned.err;
		session->status_fd = spawned.status;
		if (spawned.in < 0)
			vmrm_receiver_discard(&session->stdin_in);
		if (spawned.err < 0)
			vmrm_sender_end(&session->err);
		send_early_signals(session);
		session_write_stdin(session);
	} else {
		fail_with_errno(session, "spawn-failed", errno, "cannot start a process");
	}
	spec_free(spec);
	forget_spec(session);
}

void session_read_status(struct session *session)
{
	struct spawn_failure failure;
	if (session->status_fd < 0)
		return;
	ssize_t count = read(session->status_fd, &failure, sizeof failure);
	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	session_close_fd(&session->status_fd);
	if (session->state != SESSION_STARTING)
		return;
	if (count == (ssize_t)sizeof failure) {
		on_spawn_failure(session, &failure);
		return;
	}
	session->state = SESSION_RUNNING;
	session->owes_opened = true;
}

void session_on_leader_end(struct session *session, int wait_status)
{
	session->leader = 0;
	/* A failed exec is told through the pipe; the child's exit is no result then. */
	if (session->state == SESSION_STARTING)
		session_read_status(session);
	group_kill(&session->group);
	if (session->state != SESSION_STARTING && session->state != SESSION_RUNNING)
		return;
	session_close_fd(&session->status_fd);
	session->wait_status = wait_status;
	session->state = SESSION_DRAINING;
	session->drain_until_ms = now_ms() + DRAIN_MS;
	session_close_stdin(session);
	session_tick(session);
}

void session_forget(struct session *session)
{
	session->state = SESSION_GONE;
	forget_spec(session);
	close_all(session);
	kill_all(session);
	session->cleanup_tries = 0;
	session_tick(session);
}

/* Whether the output has ended; after the deadline what can be read now is all there is. */
static bool is_drained(struct session *session, int *fd, struct vmrm_sender *sender)
{
	if (*fd < 0)
		return true;
	bool is_empty = session_read_output(fd, sender);
	if (*fd >= 0 && is_empty && now_ms() >= session->drain_until_ms) {
		session_close_fd(fd);
		vmrm_sender_end(sender);
	}
	return *fd < 0;
}

void session_tick(struct session *session)
{
	if (session->state == SESSION_DRAINING) {
		bool out = is_drained(session, &session->out_fd, &session->out);
		bool err = is_drained(session, &session->err_fd, &session->err);
		if (out && err) {
			session->state = SESSION_ENDED;
			session->owes_result = true;
		}
	}
	bool is_over = session->state == SESSION_DRAINING || session->state >= SESSION_ENDED;
	if (!is_over || session_is_clean(session) || session->leader > 0)
		return;
	if (!group_is_empty(&session->group))
		group_kill(&session->group);
	else if (group_remove(&session->group))
		session->group.leader = 0;
	if (++session->cleanup_tries == CLEANUP_TRIES) {
		agent_log("processes of session %016llx do not die\n", (unsigned long long)session->id);
		session_close_fd(&session->group.directory_fd);
		session->group.leader = 0;
	}
}

bool session_is_clean(const struct session *session)
{
	return session->leader == 0 && session->group.leader == 0 && session->group.directory_fd < 0;
}

bool session_wants_tick(const struct session *session)
{
	return session->state == SESSION_DRAINING || (session->state >= SESSION_ENDED && !session_is_clean(session));
}

void session_trim(struct session *session)
{
	vmrm_receiver_trim(&session->spec_in);
	vmrm_receiver_trim(&session->stdin_in);
	vmrm_sender_trim(&session->out);
	vmrm_sender_trim(&session->err);
}
