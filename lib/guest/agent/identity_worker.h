/*
 * Owns applying an identity in a child process, so that a mount that waits does not keep the agent from answering.
 * Must never have two children at work at once.
 */
#ifndef VMRM_AGENT_IDENTITY_WORKER_H
#define VMRM_AGENT_IDENTITY_WORKER_H

#include "identity.h"

struct identity_worker {
	struct identity *current; /* what the VM is; NULL: fresh */
	struct identity *applying;
	struct identity *next; /* came while another was being applied */
	pid_t child;           /* 0: none */
	int answer_fd;
	int64_t deadline_ms;
	struct complaint complaint; /* of the last one; empty: it went well */
};

/* An IDENTITY came. True: it is answered already (it makes no sense; see complaint). */
bool identity_worker_take(struct identity_worker *worker, const uint8_t *bytes, size_t length);
/* A child has ended. True: an IDENTITY_DONE is due. */
bool identity_worker_on_child(struct identity_worker *worker, pid_t pid, int wait_status);
void identity_worker_tick(struct identity_worker *worker);
void identity_worker_free(struct identity_worker *worker);

#endif
