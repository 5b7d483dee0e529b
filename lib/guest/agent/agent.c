/*
 * Owns the dispatch of frames: to the daemon's own business (agent_daemon.c), to calls and to sessions (agent_sessions.c).
 * Must never act on a message number that only vmrmd and vmrm-run use between themselves.
 */
#include "agent.h"

#include "agent_daemon.h"
#include "agent_sessions.h"
#include "call_origin.h"
#include "freeze.h"
#include "service_ready.h"
#include "socket.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS 20

static void read_boot_id(struct agent *agent)
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t count = fd >= 0 ? read(fd, agent->boot_id, sizeof agent->boot_id - 1) : -1;
	if (fd >= 0)
		close(fd);
	agent->boot_id[count > 0 ? count : 0] = '\0';
	agent->boot_id[strcspn(agent->boot_id, "\n")] = '\0';
}

void agent_init(struct agent *agent)
{
	memset(agent, 0, sizeof *agent);
	calls_init(&agent->calls);
	read_boot_id(agent);
}

void agent_on_frame(struct agent *agent, const struct vmrm_frame *frame)
{
	if (frame->session == 0 || frame->type == VMRM_PING) {
		daemon_on_frame(agent, frame);
		return;
	}
	if (calls_on_frame(&agent->calls, frame))
		return;
	sessions_on_frame(agent, frame);
}

bool agent_next_frame(struct agent *agent, struct vmrm_frame *frame)
{
	if (daemon_next_frame(agent, frame))
		return true;
	agent->calls_go_first = !agent->calls_go_first;
	if (agent->calls_go_first && calls_next_frame(&agent->calls, frame, agent->scratch))
		return true;
	return sessions_next_frame(agent, frame) || calls_next_frame(&agent->calls, frame, agent->scratch);
}

static uint64_t session_of(void *context, pid_t pid)
{
	const struct agent *agent = context;
	return call_origin(agent->sessions, agent->session_count, pid);
}

void agent_serve_calls(struct agent *agent, const struct pollfd *fds, size_t count)
{
	const struct identity *who = agent->identity.current;
	struct callers callers = {.session_of = session_of, .context = agent};
	if (who != NULL)
		callers.uid = who->user.uid;
	calls_serve(&agent->calls, fds, count, who != NULL && who->user.name != NULL ? &callers : NULL);
}

/* The VM is somebody, or as it was. */
static void on_identity_done(struct agent *agent)
{
	agent->owes_done = true;
	if (agent->identity.answer.complaint.text[0] != '\0') {
		thaw_others();
		return;
	}
	forget_frozen();
	/* A clone has a boot id of its own from now on. */
	agent->is_template = false;
	read_boot_id(agent);
	calls_listen(&agent->calls, CALL_SOCKET);
	service_ready();
}

static void on_template_done(struct agent *agent)
{
	struct complaint *complaint = &agent->template_answer.complaint;
	agent->is_template = complaint->text[0] == '\0' && freeze_others(complaint);
	agent->owes_ready = true;
}

void agent_on_child(struct agent *agent, pid_t pid, int wait_status)
{
	if (identity_worker_on_child(&agent->identity, pid, wait_status)) {
		on_identity_done(agent);
		return;
	}
	if (child_work_on_child(&agent->template_work, pid, wait_status, &agent->template_answer)) {
		on_template_done(agent);
		return;
	}
	for (size_t i = 0; i < agent->session_count; i++)
		if (agent->sessions[i]->leader == pid)
			task_on_leader_end(agent->sessions[i], wait_status);
}

void agent_tick(struct agent *agent)
{
	child_work_tick(&agent->identity.work);
	child_work_tick(&agent->template_work);
	sessions_tick(agent);
}

int agent_tick_wait_ms(const struct agent *agent)
{
	if (sessions_want_tick(agent))
		return TICK_MS;
	return agent->identity.work.child != 0 || agent->template_work.child != 0 ? 1000 : -1;
}

void agent_stop(struct agent *agent)
{
	for (size_t i = 0; i < agent->session_count; i++)
		task_forget(agent->sessions[i]);
}

void agent_free(struct agent *agent)
{
	thaw_others();
	for (size_t i = 0; i < agent->session_count; i++)
		task_free(agent->sessions[i]);
	agent->session_count = 0;
	calls_free(&agent->calls);
	identity_worker_free(&agent->identity);
	child_work_drop(&agent->template_work);
}
