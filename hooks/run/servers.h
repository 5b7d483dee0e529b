/* Owns the servers of the calls that this task's processes in the guest have made: one process each. Must never run anything itself. */
#ifndef RUN_SERVERS_H
#define RUN_SERVERS_H

#include "frame.h"
#include "job.h"

/* More than vmrmd has calls of a VM at a time, those included whose servers still end: it answers for one too many, with a sentence (lib/guest/relay/vm-calls.ts). */
#define SERVERS_MAX 256

/* Lets the end of a server interrupt a wait, so that servers_reap comes soon. */
void servers_init(void);
/* A CALL came for the session `parent`: starts its server, unless there is one. */
void servers_start(const struct job *job, uint64_t parent, const struct vmrm_frame *frame);
/* Takes note of those that have ended. */
void servers_reap(void);

#endif
