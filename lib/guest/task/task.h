/*
 * Owns the side of a session that runs something: the task, its streams, and what the client is still owed about it.
 * Must never do I/O on the channel (it hands out frames), nor believe a number in a frame.
 */
#ifndef VMRM_TASK_TASK_H
#define VMRM_TASK_TASK_H

#include "account.h"
#include "group.h"
#include "messages.h"
#include "stream.h"
#include "wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum task_state {
	TASK_SPEC,     /* waits for the rest of what to run */
	TASK_STARTING, /* forked, not yet exec'ed */
	TASK_RUNNING,
	TASK_DRAINING, /* the first process has ended; its output is read to the end */
	TASK_ENDED,    /* EXIT is or was sent */
	TASK_FAILED,   /* ERROR is or was sent */
	TASK_GONE      /* forgotten; only its processes must still die */
};

struct spec;

struct task {
	uint64_t id;
	/* Looks at what was asked for and changes it, before it is run; NULL: fine, else a sentence. NULL itself: as it was asked for. */
	const char *(*prepare)(void *context, struct spec *spec);
	void *prepare_context;
	enum task_state state;
	struct vmrm_receiver spec_in, stdin_in;
	struct vmrm_sender out, err;
	struct wire wire; /* the task's connection to its MPI server on the host, where it has one */
	uint8_t *spec_bytes;
	size_t spec_length, spec_room;
	int in_fd, out_fd, err_fd, status_fd; /* -1: closed */
	struct task_group group;
	pid_t leader; /* 0: none, or reaped */
	int wait_status;
	bool is_terminal;
	bool is_paused; /* no frame until RESUME: the channel is new */
	bool owes_opened, owes_resume, owes_result;
	bool owes_ask; /* a RESUME that asks for the client's, also while paused */
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

struct task *task_new(uint64_t id);
/* Frees the memory; its processes and group must be gone (task_is_clean). */
void task_free(struct task *task);

/* A frame of the client. `who`, whom a spec is run as, is NULL while the VM has no identity. False: it is none of a task's. */
bool task_on_frame(struct task *task, const struct vmrm_frame *frame, const struct account *who);
/* CLOSE and KILL: every process is killed, the client hears no more. */
void task_forget(struct task *task);
/* The channel is new: nothing until RESUME. */
void task_pause(struct task *task);
/* The same, and asks the client for its RESUME: it cannot know. */
void task_ask(struct task *task);

/* The next frame to send, payload in `scratch` (VMRM_PAYLOAD_MAX_BYTES) or in the session. False: none now. */
bool task_next_frame(struct task *task, struct vmrm_frame *frame, uint8_t *scratch);

/* Ends the session before it ran; the client gets ERROR. */
void task_fail(struct task *task, const char *code, int number, const char *text);
/* Starts the task that the spec asks for. */
void task_start(struct task *task, const struct account *who);
/* Its bytes are not needed any more. */
void task_forget_spec(struct task *task);
/* The first process was reaped. */
void task_on_leader_end(struct task *task, int wait_status);
/* Time has passed: draining and cleaning up go on. */
void task_tick(struct task *task);
/* Whether task_tick is wanted soon. */
bool task_wants_tick(const struct task *task);
bool task_is_clean(const struct task *task);
/* Gives back memory of streams that hold nothing. */
void task_trim(struct task *task);

/* Its first process runs, or could not be started (task_start.c). */
void task_read_status(struct task *task);

/* The task's ends (task_io.c). */
void task_write_stdin(struct task *task);
void task_close_stdin(struct task *task);
void task_close_fd(int *fd);
/* Reads what there is room for; at the end of file the fd is closed and the stream ends. True: nothing is left to read for now. */
bool task_read_output(int *fd, struct vmrm_sender *sender);
/* Writes new stdin bytes at once where that is possible. */
void task_pass_stdin(struct task *task, const struct vmrm_frame *frame);
/*
 * Makes what the spec's WIRE asks for. Gives the task's end of an inherited socket (-1: there is none) and puts a server's address of here into
 * the spec's variables. False: errno.
 */
bool task_open_wire(struct task *task, struct spec *spec, int *task_end);
/* How much of one output may be kept, at most a window: many sessions share what the agent may use. */
void task_set_output_budget(size_t bytes);
/* Whether there is room to read more of this output. */
bool task_can_read(int fd, const struct vmrm_sender *sender);

#endif
