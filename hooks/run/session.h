/*
 * Owns one task's session with the agent: what was said, what is due, how it ended.
 * Must never wait: it is told what came and asked what to send; everything due survives the loss of the connection.
 */
#ifndef RUN_SESSION_H
#define RUN_SESSION_H

#include "job.h"
#include "link.h"
#include "outlet.h"
#include "signals.h"
#include "spec.h"

enum ending_kind { ENDING_NONE, ENDING_EXIT, ENDING_SIGNAL };

struct ending {
	enum ending_kind kind;
	int value; /* exit code or signal's number */
};

struct session {
	const struct job *job;
	uint64_t number;
	/* The way to the task; each is set once, those with _due until they were sent. */
	bool attach_due, is_attached, was_attached;
	bool open_due, is_open, is_running;
	bool resume_due, is_resuming;
	bool is_over, is_failed, close_due, is_closed; /* is_failed: it never ran, its streams have no end */
	struct spec spec;
	size_t spec_fed;
	struct vmrm_sender spec_sender;
	bool has_stdin, has_terminal, resize_due;
	struct terminal_size size;
	struct vmrm_sender stdin_sender;
	struct outlet out, err;
	uint64_t signals_all, signals_leader; /* bit n: signal n is due */
	struct ending ending;
};

void session_init(struct session *session, const struct job *job, uint64_t number);
void session_free(struct session *session);
/* The connection is new, or gone: nothing that was under way counts. */
void session_connected(struct session *session);
void session_disconnected(struct session *session);
void session_receive(struct session *session, const struct vmrm_frame *frame);
/* Sends what is due while the link takes it. False: the link is broken. */
bool session_send(struct session *session, struct link *link);
void session_signal(struct session *session, int number, enum signal_scope scope);
/* Whether bytes of stdin are wanted now; session_read_stdin reads them. */
bool session_wants_stdin(struct session *session);
void session_read_stdin(struct session *session);
/* Tells the task once when nobody reads what it writes. */
void session_heed(struct session *session, struct outlet *outlet);
/* stdout's or stderr's reader takes bytes again. */
void session_write(struct session *session, struct outlet *outlet);
/* Everything is done: the ending holds. */
bool session_is_finished(const struct session *session);
/* Ends without the guest: this code, at once. */
void session_fail(struct session *session, int code);

#endif
