/*
 * Owns the agent as a whole: its sessions, its identity, and what it owes the daemon. Single-threaded.
 * Must never block, and never keep more than the bounds below whatever comes in.
 */
#ifndef VMRM_AGENT_AGENT_H
#define VMRM_AGENT_AGENT_H

#include "calls.h"
#include "identity_worker.h"
#include "task.h"
#include "template.h"

/* The daemon bounds a HELLO_ACK, which lists them all, to 16 KiB. */
#define SESSIONS_MAX 1000
#define STRAYS_MAX 64
#define NONCE_MAX_BYTES 64
#define BOOT_ID_BYTES 40

/* An answer to a frame of a session that is not there. */
struct stray {
	uint64_t session;
	const char *code; /* NULL: CLOSE is the answer */
	const char *text;
};

struct agent {
	/* Living ones first come first served; TASK_GONE ones stay until their processes are gone. */
	struct task *sessions[SESSIONS_MAX * 2];
	size_t session_count;
	size_t next_session; /* who may send next */
	struct calls calls;
	bool calls_go_first; /* fairness between calls and tasks */
	struct identity_worker identity;
	char boot_id[BOOT_ID_BYTES];
	bool is_template; /* ready to be copied; until it takes an identity */
	uint32_t rest_wait_ms; /* of a guest that is to be one */
	struct child_work template_work;
	struct work_answer template_answer;
	bool owes_hello, owes_done, owes_pong, owes_ready;
	uint8_t nonce[NONCE_MAX_BYTES];
	size_t nonce_bytes;
	uint8_t pong[VMRM_PAYLOAD_MAX_BYTES];
	uint32_t pong_bytes;
	uint64_t pong_session;
	struct stray strays[STRAYS_MAX];
	size_t stray_count;
	struct account account; /* whom tasks run as, made from the identity */
	uint8_t scratch[VMRM_PAYLOAD_MAX_BYTES];
};

void agent_init(struct agent *agent);
/* A frame came from the host. */
void agent_on_frame(struct agent *agent, const struct vmrm_frame *frame);
/* The next frame for the host, good until the next call of anything here. False: none now. */
bool agent_next_frame(struct agent *agent, struct vmrm_frame *frame);
/* What poll found on the calls' descriptors (calls_watch). */
void agent_serve_calls(struct agent *agent, const struct pollfd *fds, size_t count);
/* A child process has ended. */
void agent_on_child(struct agent *agent, pid_t pid, int wait_status);
/* Time has passed. */
void agent_tick(struct agent *agent);
/* In how many milliseconds agent_tick is wanted, or -1. */
int agent_tick_wait_ms(const struct agent *agent);
/* Kills every session, e.g. because the guest goes down. */
void agent_stop(struct agent *agent);
void agent_free(struct agent *agent);

#endif
