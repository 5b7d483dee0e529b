/*
 * Owns the calls of Slurm's commands from inside the guest: the socket they come in by, and passing their frames to the port and back.
 * Must never let anyone call but the job's user, nor keep more than the bounds below.
 */
#ifndef VMRM_AGENT_CALLS_H
#define VMRM_AGENT_CALLS_H

#include "call_link.h"

#include <poll.h>

#define CALLS_MAX 64
/* Those that wait for one of the places. */
#define CALLS_WAITING 1024
/* So soon a connection must say what it calls. */
#define CALL_WITHIN_MS 10000
/* The socket, and each call's connection. */
#define CALLS_FDS_MAX (CALLS_MAX + 1)

/* Who may call, and from which tasks. */
struct callers {
	uid_t uid;
	/* The session of a process; 0: no task runs. */
	uint64_t (*session_of)(void *context, pid_t pid);
	void *context;
};

struct calls {
	int socket; /* -1: not yet */
	struct call_link *links[CALLS_MAX];
	size_t count, next;
};

void calls_init(struct calls *calls);
/* Listens at the path, if it does not yet. */
void calls_listen(struct calls *calls, const char *path);
/* Fills in what to poll; returns how many. */
size_t calls_watch(const struct calls *calls, struct pollfd *fds);
/* How long poll may wait at most; -1: for ever. */
int calls_wait_ms(const struct calls *calls);
/* Does what poll found; `callers` NULL: nobody may call yet. */
void calls_serve(struct calls *calls, const struct pollfd *fds, size_t count, const struct callers *callers);
/* A frame from the host. False: it is for no call. */
bool calls_on_frame(struct calls *calls, const struct vmrm_frame *frame);
/* The channel is new: every call is made known again. */
void calls_renew(struct calls *calls);
/* The next frame for the host, payload in `scratch` or good until the next call of anything here. False: none now. */
bool calls_next_frame(struct calls *calls, struct vmrm_frame *frame, uint8_t *scratch);
void calls_free(struct calls *calls);

#endif
