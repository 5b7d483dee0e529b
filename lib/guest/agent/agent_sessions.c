/*
 * Owns the agent's sessions as a set: which there are, who they run as, and whose turn it is to send.
 * Must never have more of them than SESSIONS_MAX that live.
 */
#include "agent_sessions.h"

#include "tlv.h"

/* What all outputs together may hold: a guest can be as small as 128 MiB. Two outputs a session. */
#define OUTPUTS_BYTES (16u << 20)

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
	bool is_spec = frame->type == VMRM_DATA && frame->stream == VMRM_SPEC;
	if (frame->type == VMRM_CLOSE || frame->type == VMRM_KILL)
		task_forget(task);
	else
		task_on_frame(task, frame, is_spec ? account_of(agent) : NULL);
}

void sessions_on_frame(struct agent *agent, const struct vmrm_frame *frame)
{
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

bool sessions_next_frame(struct agent *agent, struct vmrm_frame *frame)
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

void sessions_tick(struct agent *agent)
{
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

bool sessions_want_tick(const struct agent *agent)
{
	for (size_t i = 0; i < agent->session_count; i++)
		if (task_wants_tick(agent->sessions[i]) || agent->sessions[i]->state == TASK_GONE)
			return true;
	return false;
}
