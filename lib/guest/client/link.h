/*
 * Owns the connection to vmrmd: connecting again and again with a bound, whole frames in and out.
 * Must never block and never queue: a frame is taken only when the one before has left.
 */
#ifndef VMRM_CLIENT_LINK_H
#define VMRM_CLIENT_LINK_H

#include "frame.h"
#include "parser.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link {
	int fd; /* -1: down */
	const char *path;
	int64_t retry_at_ms;
	unsigned back_off_ms;
	int last_errno; /* why it is down */
	struct vmrm_parser parser;
	size_t out_at; /* what is left of a frame that was written in part */
	size_t out_end;
};

void link_init(struct link *link, const char *path, int64_t now);
/* Tries to connect if it is down and the time has come; true when it has just come up. */
bool link_try(struct link *link, int64_t now);
/* Closes it; the next try is due at once, later ones with a growing pause. */
void link_drop(struct link *link, int64_t now);
/* The other end has answered: the next loss is tried again at once. */
void link_is_useful(struct link *link);
/* Reads what is there. False: the other end has gone, or the link is broken. */
bool link_read(struct link *link);
bool link_next(struct link *link, struct vmrm_frame *frame);
/* Whether link_send would take a frame. */
bool link_can_send(const struct link *link);
/* Sends the frame or keeps its rest. False: the link is broken. */
bool link_send(struct link *link, const struct vmrm_frame *frame);
bool link_flush(struct link *link);

#endif
