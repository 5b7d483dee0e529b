/*
 * Owns one session: a task, its streams, and what the client is still owed about it.
 * Must never do I/O on the port (it hands out frames), nor believe a number in a frame.
 */
#ifndef VMRM_AGENT_SESSION_H
#define VMRM_AGENT_SESSION_H

#include "group.h"
#include "identity.h"
#include "messages.h"
#include "stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum session_state {
	SESSION_SPEC,     /* waits for the rest of what to run */
	SESSION_STARTING, /* forked, not yet exec'ed */
	SESSION_RUNNING,
	SESSION_DRAINING, /* the first process has ended; its output is read to the end */
	SESSION_ENDED,    /* EXIT is or was sent */
	SESSION_FAILED,   /* ERROR is or was sent */
	SESSION_GONE      /* forgotten; only its processes must still die */
};

struct session {
	uint64_t id;
	enum session_state state;
	struct vmrm_receiver spec_in, stdin_in;
	struct vmrm_sender out, err;
	uint8_t *spec_bytes;
	size_t spec_length, spec_room;
	int in_fd, out_fd, err_fd, status_fd; /* -1: closed */
	struct task_group group;
	pid_t leader; /* 0: none, or reaped */
	int wait_status;
	bool is_terminal;
	bool is_paused; /* no frame until RESUME: the channel is new */
	bool owes_opened, owes_resume, owes_result;
	bool has_gap[VMRM_STREAMS]; /* RESUME has asked for the lost bytes already */
	bool err_goes_first; /* fairness between the two outputs */
	uint64_t early_signals;      /* bit n-1: signal n came before there was a process */
	int64_t drain_until_ms;
	int cleanup_tries;
	char command[256]; /* for the sentence about a failed exec */
	char error_text[512];
	const char *error_code;
	int error_number; /* 0: none */
};

struct session *session_new(uint64_t id);
/* Frees the memory; its processes and group must be gone (session_is_clean). */
void session_free(struct session *session);

/* Frames of the client. `who` is NULL while the VM has no identity. */
void session_on_data(struct session *session, const struct vmrm_frame *frame, const struct identity *who);
void session_on_ack(struct session *session, const struct vmrm_frame *frame);
void session_on_resume(struct session *session, const struct vmrm_frame *frame);
void session_on_signal(struct session *session, const struct vmrm_frame *frame);
void session_on_resize(struct session *session, const struct vmrm_frame *frame);
/* CLOSE and KILL: every process is killed, the client hears no more. */
void session_forget(struct session *session);
/* The channel is new: nothing until RESUME. */
void session_pause(struct session *session);

/* The next frame to send, payload in `scratch` (VMRM_PAYLOAD_MAX_BYTES) or in the session. False: none now. */
bool session_next_frame(struct session *session, struct vmrm_frame *frame, uint8_t *scratch);

/* Ends the session before it ran; the client gets ERROR. */
void session_fail(struct session *session, const char *code, int number, const char *text);
/* Starts the task that the spec asks for. */
void session_start(struct session *session, const struct identity *who);
/* The first process was reaped. */
void session_on_leader_end(struct session *session, int wait_status);
/* Time has passed: draining and cleaning up go on. */
void session_tick(struct session *session);
/* Whether session_tick is wanted soon. */
bool session_wants_tick(const struct session *session);
bool session_is_clean(const struct session *session);
/* Gives back memory of streams that hold nothing. */
void session_trim(struct session *session);

/* The task's ends (task_io.c). */
void session_read_status(struct session *session);
void session_write_stdin(struct session *session);
void session_close_stdin(struct session *session);
void session_close_fd(int *fd);
/* Reads what there is room for; at the end of file the fd is closed and the stream ends. True: nothing is left to read for now. */
bool session_read_output(int *fd, struct vmrm_sender *sender);
/* Writes new stdin bytes at once where that is possible. */
void session_pass_stdin(struct session *session, const struct vmrm_frame *frame);
/* How much of one output may be kept, at most a window: many sessions share what the agent may use. */
void session_set_output_budget(size_t bytes);
/* Whether there is room to read more of this output. */
bool session_can_read(int fd, const struct vmrm_sender *sender);

#endif
