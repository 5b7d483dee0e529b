/*
 * Owns what the server of one call knows: its connection, its command and what is held for its caller.
 * Must never be shared by two calls.
 */
#ifndef RUN_CALL_SERVER_H
#define RUN_CALL_SERVER_H

#include "link.h"
#include "serve.h"
#include "serve_hold.h"
#include "served_command.h"
#include "task.h"

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

/* Nobody wants the command any more. */
void call_end_command(struct server *server);

/* What a frame does (call_frames.c). */
void call_receive_frame(struct server *server, const struct vmrm_frame *frame);
/* The next frame that is due, its payload in `scratch` (VMRM_PAYLOAD_MAX_BYTES) or in the task. False: none. */
bool call_next_frame(struct server *server, struct vmrm_frame *frame, uint8_t *scratch);

#endif
