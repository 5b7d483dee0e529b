/* Owns one call: its session with the host, its signals, its end. Must never outlive the agent it speaks to. */
#ifndef VMRM_CALLER_CALL_H
#define VMRM_CALLER_CALL_H

#include "held_command.h"
#include "link.h"
#include "plan.h"
#include "session.h"

struct call {
	const struct plan *plan;
	struct link link;
	struct session session;
	struct held_command held;
	int signal_fd;
	int64_t answer_by_ms; /* the host must have said something by then; 0: it has, or the agent has no place for the call yet */
	bool stop_due; /* STOP has been handed to the session; stop ourselves when it is sent */
};

/* What a call is and says, for the session. Its context is the struct call. */
extern const struct session_role call_role;

/* Does what the plan says; returns how it ended. */
struct ending call_run(const struct plan *plan);

#endif
