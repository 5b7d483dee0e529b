/*
 * Owns the way between `vmrm-run --hold`, which salloc has started in the place of its command, and the server that started salloc.
 * Must never run anything: the command runs in the guest.
 *
 * On a socket in the call's folder: --hold sends its environment (texts, each with its NUL, and an empty one), then a byte for each signal
 * that comes; the server sends two bytes: 0 and the exit code, or 1 and the number of the signal that ended the command.
 */
#ifndef RUN_SERVE_HOLD_H
#define RUN_SERVE_HOLD_H

#include "ending.h"
#include "frame.h"
#include "tlv.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOLD_ENVIRONMENT_BYTES (4u << 20)

struct hold {
	int listener, fd; /* -1: none */
	char *bytes;
	size_t length;
	bool has_environment; /* the allocation is there */
	bool owes_held;       /* HELD is due */
	uint64_t signals;     /* bit n-1: signal n is due to the caller */
};

void hold_init(struct hold *hold);
/* Waits for --hold at the path. False: errno. */
bool hold_listen(struct hold *hold, const char *path);
/* The descriptor to wait for, or -1. */
int hold_fd(const struct hold *hold);
/* Something came there. */
void hold_read(struct hold *hold);
/* Writes HELD's fields: what differs from `given`. False: not all of it fits. */
bool hold_put(const struct hold *hold, char *const *given, struct vmrm_tlv_writer *fields);
/* The command has ended so. */
void hold_release(struct hold *hold, struct ending ending);
void hold_free(struct hold *hold);

/* `vmrm-run --hold PATH`: stands in for salloc's command. Returns how it ended. */
struct ending hold_main(const char *path);

#endif
