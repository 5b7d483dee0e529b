/*
 * Owns one caller's connection: whole frames in, frames out within a bound.
 * Must never block, and never pass on a frame that a caller may not send.
 */
#ifndef VMRM_AGENT_CALL_LINK_H
#define VMRM_AGENT_CALL_LINK_H

#include "parser.h"

#include <stdbool.h>
#include <sys/types.h>

#define CALL_COMMAND_BYTES 64
/* Both windows of a session and what a renewal repeats. */
#define CALL_OUT_BYTES (640u << 10)

enum call_state {
	CALL_WAITS,  /* its CALL has not come */
	CALL_LIVES,
	CALL_LEAVES, /* what is queued is written, then it is closed */
	CALL_IS_OVER
};

struct call_link {
	int fd;
	enum call_state state;
	pid_t pid;           /* who connected */
	int64_t call_by_ms; /* when its CALL must be here */
	uint64_t number, session; /* 0: not known yet */
	char command[CALL_COMMAND_BYTES];
	bool owes_call, owes_close; /* to the host */
	bool was_overrun;           /* frames to the caller were dropped: it gets RESET */
	bool has_frame;             /* the parser may have a whole one */
	struct vmrm_parser parser;
	uint8_t *in, *out;
	size_t out_start, out_end, out_room;
};

/* NULL: no memory; the fd is then closed. */
struct call_link *call_link_new(int fd);
void call_link_free(struct call_link *link);
/* Whether to read now: not while a whole frame waits for room on the port. */
bool call_link_wants_bytes(const struct call_link *link);
void call_link_read(struct call_link *link);
void call_link_write(struct call_link *link);
/* The caller is gone, or broke the rules. */
void call_link_lose(struct call_link *link);
/* Queues a frame for the caller. */
void call_link_put(struct call_link *link, const struct vmrm_frame *frame);
/* Tells the caller why not, and closes. */
void call_link_refuse(struct call_link *link, const char *code, const char *text);
/* The next frame of the caller that may be passed on. */
bool call_link_next(struct call_link *link, struct vmrm_frame *frame);

#endif
