/*
 * Owns the side of a session that has something run: what was said, what is due, how it ended. What is run and how the other end is greeted is its role's.
 * Must never wait: it is told what came and asked what to send; everything due survives the loss of the connection.
 */
#ifndef VMRM_CLIENT_SESSION_H
#define VMRM_CLIENT_SESSION_H

#include "ending.h"
#include "link.h"
#include "outlet.h"
#include "spec_bytes.h"
#include "tlv.h"
#include "wire.h"

/* Whom a signal is for: every process of the session, or its first one. */
enum signal_scope { SCOPE_ALL, SCOPE_LEADER };

struct session;

/* What a task of vmrm-run and a call of a guest do not share. `session->context` is the role's own. */
struct session_role {
	/* Fills in the first frame on a connection; its payload goes to `fields`. */
	void (*greet)(const struct session *session, struct vmrm_frame *frame, struct vmrm_tlv_writer *fields);
	/* The other end is there (`frame` says so): puts together what to run. Returns 0, or the exit code after it said what is wrong. */
	int (*build)(struct session *session, const struct vmrm_frame *frame);
	/* It could not be run: says so, and returns the exit code. `number` is 0 or an errno of exec, `text` may be NULL. */
	int (*explain)(const struct session *session, const struct vmrm_tlv *text, uint32_t number);
	/* A frame that only this role knows. */
	void (*receive)(struct session *session, const struct vmrm_frame *frame);
};

struct session {
	const struct session_role *role;
	void *context;
	uint64_t number;
	/* The way to the task; each is set once, those with _due until they were sent. */
	bool greeting_due, is_attached, was_attached;
	bool open_due, is_open, is_running;
	bool resume_due, is_resuming;
	bool is_over, is_failed, close_due, is_closed; /* is_failed: it never ran, its streams have no end */
	struct spec_bytes spec;
	size_t spec_fed;
	struct vmrm_sender spec_sender;
	bool has_stdin, has_terminal, resize_due;
	bool release_due, has_released; /* a call: the command that ran here has ended */
	struct ending release;
	struct terminal_size size;
	struct vmrm_sender stdin_sender;
	struct outlet out, err;
	struct wire wire; /* the task's connection to its MPI server here, where it has one */
	uint64_t signals_all, signals_leader; /* bit n: signal n is due */
	struct ending ending;
};

struct session_options {
	const struct session_role *role;
	void *context;
	uint64_t number;
	bool takes_terminal; /* where stdin and stdout are one */
	bool takes_stdin;    /* where it is not /dev/null */
	enum output_owner output;
};

void session_init(struct session *session, const struct session_options *options);
void session_free(struct session *session);
/* The other end is there and knows of the session; `frame` is what it said. Goes on where the session was, or begins it. */
void session_attached(struct session *session, const struct vmrm_frame *frame);
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
/* Ends without the other end: this code, at once. */
void session_fail(struct session *session, int code);
/* Sends RELEASE. */
void session_release(struct session *session, struct ending ending);

#endif
