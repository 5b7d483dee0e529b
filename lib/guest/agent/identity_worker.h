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
	struct child_work work;
	struct work_answer answer; /* to the last one; no complaint: it went well */
};

/* An IDENTITY came. True: it is answered already (it makes no sense; see the complaint). */
bool identity_worker_take(struct identity_worker *worker, const uint8_t *bytes, size_t length, bool is_clone);
/* A child has ended. True: an IDENTITY_DONE is due. */
bool identity_worker_on_child(struct identity_worker *worker, pid_t pid, int wait_status);
void identity_worker_free(struct identity_worker *worker);

#endif
