/*
 * Owns the dispatch of frames to the daemon's own business (agent_daemon.c) and to sessions.
 * Must never act on a message number that only vmrmd and vmrm-run use between themselves.
 */
#include "agent.h"

#include "agent_daemon.h"
#include "call_origin.h"
#include "freeze.h"
#include "service_ready.h"
#include "socket.h"
#include "tlv.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS 20
/* What all outputs together may hold: a guest can be as small as 128 MiB. Two outputs a session. */
#define OUTPUTS_BYTES (16u << 20)

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

static struct task *find(struct agent *agent, uint64_t id)
{
	for (size_t i = 0; i < agent->session_count; i++)
		if (agent->sessions[i]->id == id && agent->sessions[i]->state != TASK_GONE)
			return agent->sessions[i];
	return NULL;
}

static void answer_stray(struct agent *agent, uint64_t session, const char *code, const char *text)
{
	for (size_t i = 0; i < agent->stray_count; i++)
		if (agent->strays[i].session == session)
			return;
	if (agent->stray_count < STRAYS_MAX)
		agent->strays[agent->stray_count++] = (struct stray){session, code, text};
}

static size_t count_living(const struct agent *agent)
{
	size_t living = 0;
	for (size_t i = 0; i < agent->session_count; i++)
		living += agent->sessions[i]->state != TASK_GONE;
	return living;
}

static void open_session(struct agent *agent, uint64_t id)
{
	bool is_full = count_living(agent) >= SESSIONS_MAX || agent->session_count >= SESSIONS_MAX * 2;
	struct task *task = is_full ? NULL : task_new(id);
	if (task == NULL)
		answer_stray(agent, id, "too-many-sessions", "the VM runs as many sessions as it can");
	else
		agent->sessions[agent->session_count++] = task;
}

/* Whom tasks run as; NULL while the VM does not know. */
static const struct account *account_of(struct agent *agent)
{
	const struct identity *who = agent->identity.current;
	struct account *account = &agent->account;
	if (who == NULL || who->user.name == NULL)
		return NULL;
	*account = (struct account){.uid = who->user.uid, .gid = who->user.gid};
	account->groups[account->group_count++] = who->user.gid;
	for (size_t i = 0; i < who->group_count && account->group_count < ACCOUNT_GROUPS_MAX; i++)
		if (who->groups[i].gid != who->user.gid)
			account->groups[account->group_count++] = who->groups[i].gid;
	return account;
}

static void on_session_frame(struct agent *agent, struct task *task, const struct vmrm_frame *frame)
{
	switch (frame->type) {
	case VMRM_DATA:
		task_on_data(task, frame, frame->stream == VMRM_SPEC ? account_of(agent) : NULL);
		break;
	case VMRM_ACK:
		task_on_ack(task, frame);
		break;
	case VMRM_SIGNAL:
		task_on_signal(task, frame);
		break;
	case VMRM_RESUME:
		task_on_resume(task, frame);
		break;
	case VMRM_RESIZE:
		task_on_resize(task, frame);
		break;
	case VMRM_CLOSE:
	case VMRM_KILL:
		task_forget(task);
		break;
	default:
		break;
	}
}

void agent_on_frame(struct agent *agent, const struct vmrm_frame *frame)
{
	if (frame->session == 0 || frame->type == VMRM_PING) {
		daemon_on_frame(agent, frame);
		return;
	}
	if (calls_on_frame(&agent->calls, frame))
		return;
	struct vmrm_tlv ask;
	struct task *task = find(agent, frame->session);
	if (task != NULL)
		on_session_frame(agent, task, frame);
	else if (frame->type == VMRM_OPEN)
		open_session(agent, frame->session);
	else if (frame->type == VMRM_RESUME && vmrm_tlv_find(frame->payload, frame->length, VMRM_RESUME_ASK, &ask))
		answer_stray(agent, frame->session, NULL, NULL);
	else if (frame->type == VMRM_DATA || frame->type == VMRM_RESUME || frame->type == VMRM_SIGNAL)
		answer_stray(agent, frame->session, "no-such-session", "the VM knows no such session");
}

static bool next_task_frame(struct agent *agent, struct vmrm_frame *frame)
{
	for (size_t i = 0; i < agent->session_count; i++) {
		if (agent->next_session >= agent->session_count)
			agent->next_session = 0;
		struct task *task = agent->sessions[agent->next_session++];
		if (task_next_frame(task, frame, agent->scratch))
			return true;
	}
	return false;
}

bool agent_next_frame(struct agent *agent, struct vmrm_frame *frame)
{
	if (daemon_next_frame(agent, frame))
		return true;
	agent->calls_go_first = !agent->calls_go_first;
	if (agent->calls_go_first && calls_next_frame(&agent->calls, frame, agent->scratch))
		return true;
	return next_task_frame(agent, frame) || calls_next_frame(&agent->calls, frame, agent->scratch);
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

void agent_on_child(struct agent *agent, pid_t pid, int wait_status)
{
	if (identity_worker_on_child(&agent->identity, pid, wait_status)) {
		agent->owes_done = true;
		if (agent->identity.answer.complaint.text[0] != '\0') {
			thaw_others();
		} else {
			forget_frozen();
			/* A clone has a boot id of its own from now on. */
			agent->is_template = false;
			read_boot_id(agent);
			calls_listen(&agent->calls, CALL_SOCKET);
			service_ready();
		}
		return;
	}
	if (child_work_on_child(&agent->template_work, pid, wait_status, &agent->template_answer)) {
		struct complaint *complaint = &agent->template_answer.complaint;
		agent->is_template = complaint->text[0] == '\0' && freeze_others(complaint);
		agent->owes_ready = true;
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
	task_set_output_budget(OUTPUTS_BYTES / (agent->session_count * 2 + 1));
	for (size_t i = 0; i < agent->session_count;) {
		struct task *task = agent->sessions[i];
		if (task_wants_tick(task))
			task_tick(task);
		if (task->state != TASK_GONE || !task_is_clean(task)) {
			i++;
			continue;
		}
		task_free(task);
		agent->sessions[i] = agent->sessions[--agent->session_count];
	}
}

int agent_tick_wait_ms(const struct agent *agent)
{
	for (size_t i = 0; i < agent->session_count; i++)
		if (task_wants_tick(agent->sessions[i]) || agent->sessions[i]->state == TASK_GONE)
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
