/*
 * Owns the frames that a task has for its client.
 * Must never send DATA beyond what the streams allow, nor EXIT in front of the last DATA.
 */
#include "task.h"

#include "signal_name.h"
#include "tlv.h"

#include <sys/wait.h>

void task_pause(struct task *task)
{
	task->is_paused = true;
}

void task_ask(struct task *task)
{
	task_pause(task);
	task->owes_ask = true;
}

static void put_resume(struct task *task, struct vmrm_tlv_writer *list)
{
	vmrm_tlv_put_stream(list, VMRM_RESUME_RECEIVED, VMRM_STDIN, vmrm_receiver_next(&task->stdin_in));
	vmrm_tlv_put_stream(list, VMRM_RESUME_RECEIVED, VMRM_SPEC, vmrm_receiver_next(&task->spec_in));
	vmrm_tlv_put_stream(list, VMRM_RESUME_LIMIT, VMRM_STDIN, vmrm_receiver_limit(&task->stdin_in));
	vmrm_tlv_put_stream(list, VMRM_RESUME_LIMIT, VMRM_SPEC, vmrm_receiver_limit(&task->spec_in));
	if (!task->wire.is_used)
		return;
	vmrm_tlv_put_stream(list, VMRM_RESUME_RECEIVED, VMRM_WIRE_IN, vmrm_receiver_next(&task->wire.in));
	vmrm_tlv_put_stream(list, VMRM_RESUME_LIMIT, VMRM_WIRE_IN, vmrm_receiver_limit(&task->wire.in));
}

static void put_exit(const struct task *task, struct vmrm_tlv_writer *list)
{
	int status = task->wait_status;
	char name[24];
	if (!WIFSIGNALED(status)) {
		vmrm_tlv_put_text(list, VMRM_EXIT_KIND, "exited");
		vmrm_tlv_put_u32(list, VMRM_EXIT_VALUE, (uint32_t)WEXITSTATUS(status));
		return;
	}
	signal_name(WTERMSIG(status), name, sizeof name);
	vmrm_tlv_put_text(list, VMRM_EXIT_KIND, "signaled");
	vmrm_tlv_put_text(list, VMRM_EXIT_SIGNAL, name);
	if (WCOREDUMP(status))
		vmrm_tlv_put(list, VMRM_EXIT_CORE, "", 0);
}

static void put_error(const struct task *task, struct vmrm_tlv_writer *list)
{
	vmrm_tlv_put_text(list, VMRM_ERROR_TEXT, task->error_text);
	vmrm_tlv_put_text(list, VMRM_ERROR_CODE, task->error_code);
	if (task->error_number != 0)
		vmrm_tlv_put_u32(list, VMRM_ERROR_NUMBER, (uint32_t)task->error_number);
}

/* Whether the result may be sent: EXIT only behind all output. */
static bool is_result_due(const struct task *task)
{
	if (!task->owes_result)
		return false;
	bool is_wire_sent = !task->wire.is_used || task->wire.out.end_sent;
	return task->state == TASK_FAILED || (task->state == TASK_ENDED && task->out.end_sent && task->err.end_sent && is_wire_sent);
}

static bool next_data(struct task *task, struct vmrm_frame *frame)
{
	/* What an MPI library waits for is short and goes first. */
	if (vmrm_sender_next(&task->wire.out, frame)) {
		frame->stream = VMRM_WIRE_OUT;
		vmrm_sender_sent(&task->wire.out, frame);
		return true;
	}
	for (int i = 0; i < 2; i++) {
		bool is_err = task->err_goes_first == (i == 0);
		struct vmrm_sender *sender = is_err ? &task->err : &task->out;
		if (!vmrm_sender_next(sender, frame))
			continue;
		frame->stream = is_err ? VMRM_STDERR : VMRM_STDOUT;
		vmrm_sender_sent(sender, frame);
		task->err_goes_first = !is_err;
		return true;
	}
	return false;
}

static bool next_ack(struct task *task, struct vmrm_frame *frame)
{
	if (vmrm_receiver_is_ack_due(&task->stdin_in, true)) {
		vmrm_receiver_ack(&task->stdin_in, frame);
		frame->stream = VMRM_STDIN;
		return true;
	}
	if (vmrm_receiver_is_ack_due(&task->wire.in, true)) {
		vmrm_receiver_ack(&task->wire.in, frame);
		frame->stream = VMRM_WIRE_IN;
		return true;
	}
	if (vmrm_receiver_is_ack_due(&task->spec_in, true)) {
		vmrm_receiver_ack(&task->spec_in, frame);
		frame->stream = VMRM_SPEC;
		return true;
	}
	return false;
}

/* A message of fields that is owed; false: none. */
static bool next_message(struct task *task, struct vmrm_frame *frame, struct vmrm_tlv_writer *list)
{
	if (task->owes_opened) {
		frame->type = VMRM_OPENED;
		task->owes_opened = false;
	} else if (task->owes_resume) {
		frame->type = VMRM_RESUME;
		put_resume(task, list);
		task->owes_resume = false;
	} else {
		return false;
	}
	return true;
}

bool task_next_frame(struct task *task, struct vmrm_frame *frame, uint8_t *scratch)
{
	struct vmrm_tlv_writer list;
	vmrm_tlv_write_to(&list, scratch, VMRM_PAYLOAD_MAX_BYTES);
	*frame = (struct vmrm_frame){0};
	if (task->owes_ask) {
		put_resume(task, &list);
		vmrm_tlv_put(&list, VMRM_RESUME_ASK, NULL, 0);
		*frame = (struct vmrm_frame){.type = VMRM_RESUME, .session = task->id, .payload = scratch, .length = (uint32_t)list.length};
		task->owes_ask = false;
		return true;
	}
	if (task->is_paused || task->state == TASK_GONE)
		return false;
	if (!next_message(task, frame, &list)) {
		bool is_stream = next_ack(task, frame) || (task->state != TASK_FAILED && next_data(task, frame));
		frame->session = task->id;
		if (is_stream)
			return true;
		if (!is_result_due(task))
			return false;
		task->owes_result = false;
		*frame = (struct vmrm_frame){.type = task->state == TASK_ENDED ? VMRM_EXIT : VMRM_ERROR};
		if (task->state == TASK_ENDED)
			put_exit(task, &list);
		else
			put_error(task, &list);
	}
	frame->session = task->id;
	frame->payload = scratch;
	frame->length = (uint32_t)list.length;
	return true;
}
