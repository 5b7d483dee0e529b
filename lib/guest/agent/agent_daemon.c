/*
 * Owns what the daemon asks and how it is answered.
 * Must never block: what may last is a child's work.
 */
#include "agent_daemon.h"

#include "identity_ssh.h"
#include "service_ready.h"
#include "tlv.h"

#include <stdlib.h>
#include <string.h>

/* For a guest to come to rest, where the daemon does not say. */
#define REST_WAIT_MS 20000

static void take_hello(struct agent *agent, const struct vmrm_frame *frame)
{
	struct vmrm_tlv nonce;
	if (!vmrm_tlv_find(frame->payload, frame->length, VMRM_HELLO_NONCE, &nonce) || nonce.length > NONCE_MAX_BYTES)
		return;
	memcpy(agent->nonce, nonce.value, nonce.length);
	agent->nonce_bytes = nonce.length;
	agent->owes_hello = true;
	agent->stray_count = 0;
	agent->owes_pong = agent->owes_ready = false;
	calls_renew(&agent->calls);
	for (size_t i = 0; i < agent->session_count; i++)
		task_pause(agent->sessions[i]);
}

static void take_ping(struct agent *agent, const struct vmrm_frame *frame)
{
	/* The newest PING is the one somebody waits for. */
	if (frame->length > 0)
		memcpy(agent->pong, frame->payload, frame->length);
	agent->pong_bytes = frame->length;
	agent->pong_session = frame->session;
	agent->owes_pong = true;
}

static void take_clock(const struct vmrm_frame *frame)
{
	struct vmrm_tlv field;
	uint64_t time_ns;
	if (vmrm_tlv_find(frame->payload, frame->length, VMRM_CLOCK_TIME, &field) && vmrm_tlv_u64(&field, &time_ns))
		clock_catch_up(time_ns);
}

/* Units that wait for the VM to be somebody start in the template, so that no clone has to start them. */
static void prepare_services(const struct vmrm_frame *frame)
{
	struct vmrm_tlv key;
	if (vmrm_tlv_find(frame->payload, frame->length, VMRM_TEMPLATE_SSH_HOST_KEY, &key)) {
		char *text = strndup((const char *)key.value, key.length);
		if (text != NULL)
			ssh_prepare(text);
		free(text);
	}
	service_ready();
}

/* A copy of the guest as it is would be a second one of what it is or does. */
static void take_template(struct agent *agent, const struct vmrm_frame *frame)
{
	struct vmrm_tlv field;
	struct complaint *complaint = &agent->template_answer.complaint;
	if (agent->template_work.child != 0)
		return;
	agent->template_answer = (struct work_answer){0};
	if (!vmrm_tlv_find(frame->payload, frame->length, VMRM_TEMPLATE_REST, &field) || !vmrm_tlv_u32(&field, &agent->rest_wait_ms))
		agent->rest_wait_ms = REST_WAIT_MS;
	agent->template_work.title = "getting ready to be a template";
	agent->template_work.wait_ms = TEMPLATE_WAIT_MS;
	if (agent->identity.current != NULL || agent->identity.work.child != 0)
		complain(complaint, 0, "the VM has an identity");
	else if (agent->session_count > 0)
		complain(complaint, 0, "the VM has sessions");
	else
		prepare_services(frame);
	if (complaint->text[0] == '\0' && child_work_start(&agent->template_work, template_prepare, &agent->rest_wait_ms, complaint))
		return;
	agent->owes_ready = true;
}

static void take_identity(struct agent *agent, const struct vmrm_frame *frame)
{
	child_work_drop(&agent->template_work);
	/* An answer that is still owed was to the one before. */
	agent->owes_done = identity_worker_take(&agent->identity, frame->payload, frame->length, agent->is_template);
}

void daemon_on_frame(struct agent *agent, const struct vmrm_frame *frame)
{
	switch (frame->type) {
	case VMRM_HELLO:
		take_hello(agent, frame);
		break;
	case VMRM_PING:
		take_ping(agent, frame);
		break;
	case VMRM_IDENTITY:
		take_identity(agent, frame);
		break;
	case VMRM_CLOCK:
		take_clock(frame);
		break;
	case VMRM_TEMPLATE:
		take_template(agent, frame);
		break;
	default:
		break;
	}
}

static void put_hello(struct agent *agent, struct vmrm_tlv_writer *list)
{
	vmrm_tlv_put(list, VMRM_HELLO_NONCE, agent->nonce, agent->nonce_bytes);
	vmrm_tlv_put_u32(list, VMRM_HELLO_VERSION, VMRM_PROTOCOL_VERSION);
	vmrm_tlv_put_text(list, VMRM_HELLO_BOOT_ID, agent->boot_id);
	vmrm_tlv_put_text(list, VMRM_HELLO_STATE, agent->identity.current != NULL ? "identified" : agent->is_template ? "template" : "fresh");
	vmrm_tlv_put_text(list, VMRM_HELLO_AGENT, "vmrm-agent 1 (linux)");
	for (size_t i = 0; i < agent->session_count; i++)
		if (agent->sessions[i]->state != TASK_GONE)
			vmrm_tlv_put_u64(list, VMRM_HELLO_SESSION, agent->sessions[i]->id);
}

bool daemon_next_frame(struct agent *agent, struct vmrm_frame *frame)
{
	struct vmrm_tlv_writer list;
	vmrm_tlv_write_to(&list, agent->scratch, sizeof agent->scratch);
	*frame = (struct vmrm_frame){.payload = agent->scratch};
	if (agent->owes_hello) {
		agent->owes_hello = false;
		frame->type = VMRM_HELLO_ACK;
		put_hello(agent, &list);
	} else if (agent->owes_pong) {
		agent->owes_pong = false;
		*frame = (struct vmrm_frame){.type = VMRM_PONG, .session = agent->pong_session, .length = agent->pong_bytes, .payload = agent->pong};
		return true;
	} else if (agent->owes_done) {
		agent->owes_done = false;
		frame->type = VMRM_IDENTITY_DONE;
		if (agent->identity.answer.complaint.text[0] != '\0')
			vmrm_tlv_put_text(&list, VMRM_DONE_ERROR, agent->identity.answer.complaint.text);
		vmrm_tlv_put_text(&list, VMRM_DONE_PHASES, agent->identity.answer.phases);
	} else if (agent->owes_ready) {
		agent->owes_ready = false;
		frame->type = VMRM_TEMPLATE_READY;
		if (agent->template_answer.complaint.text[0] != '\0')
			vmrm_tlv_put_text(&list, VMRM_READY_ERROR, agent->template_answer.complaint.text);
		vmrm_tlv_put_text(&list, VMRM_READY_PHASES, agent->template_answer.phases);
	} else if (agent->stray_count > 0) {
		const struct stray *stray = &agent->strays[--agent->stray_count];
		frame->type = stray->code != NULL ? VMRM_ERROR : VMRM_CLOSE;
		frame->session = stray->session;
		if (stray->code != NULL) {
			vmrm_tlv_put_text(&list, VMRM_ERROR_TEXT, stray->text);
			vmrm_tlv_put_text(&list, VMRM_ERROR_CODE, stray->code);
		}
	} else {
		return false;
	}
	frame->length = (uint32_t)list.length;
	return true;
}
