/*
 * Owns the frames of a session, in both directions.
 * Must never send DATA beyond what the streams allow, nor EXIT in front of the last DATA.
 */
#include "task.h"

#include "signal_name.h"
#include "spec.h"
#include "tlv.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

/* The spec's bytes go to one piece of memory. False: too many. */
static bool keep_spec(struct task *task)
{
	const uint8_t *at = NULL;
	size_t count;
	while ((count = vmrm_receiver_peek(&task->spec_in, &at)) > 0) {
		size_t needed = task->spec_length + count;
		if (needed > SPEC_MAX_BYTES)
			return false;
		if (needed > task->spec_room) {
			size_t room = needed * 2;
			uint8_t *grown = realloc(task->spec_bytes, room);
			if (grown == NULL)
				return false;
			task->spec_bytes = grown;
			task->spec_room = room;
		}
		memcpy(task->spec_bytes + task->spec_length, at, count);
		task->spec_length = needed;
		vmrm_receiver_handed(&task->spec_in, count);
	}
	return true;
}

/* Lost bytes are asked for once; the next bytes in order clear the mark. */
static void note_gap(struct task *task, uint8_t stream, enum vmrm_accepted accepted)
{
	if (accepted == VMRM_GAP && !task->has_gap[stream]) {
		task->has_gap[stream] = true;
		task->owes_resume = true;
	}
	if (accepted == VMRM_ACCEPTED)
		task->has_gap[stream] = false;
}

void task_on_data(struct task *task, const struct vmrm_frame *frame, const struct account *who)
{
	if (frame->stream == VMRM_STDIN) {
		task_pass_stdin(task, frame);
		note_gap(task, frame->stream, vmrm_receiver_accept(&task->stdin_in, frame));
		task_write_stdin(task);
	} else if (frame->stream == VMRM_WIRE_IN) {
		note_gap(task, frame->stream, wire_take(&task->wire, frame));
	} else if (frame->stream == VMRM_SPEC) {
		note_gap(task, frame->stream, vmrm_receiver_accept(&task->spec_in, frame));
		if (task->state != TASK_SPEC)
			return;
		if (!keep_spec(task))
			task_fail(task, "bad-spec", 0, "what to run is longer than 16 MiB");
		else if (vmrm_receiver_is_done(&task->spec_in))
			task_start(task, who);
	}
}

void task_on_ack(struct task *task, const struct vmrm_frame *frame)
{
	if (frame->stream == VMRM_STDOUT)
		vmrm_sender_ack(&task->out, frame->offset, frame->limit);
	else if (frame->stream == VMRM_STDERR)
		vmrm_sender_ack(&task->err, frame->offset, frame->limit);
	else if (frame->stream == VMRM_WIRE_OUT)
		vmrm_sender_ack(&task->wire.out, frame->offset, frame->limit);
}

void task_pause(struct task *task)
{
	task->is_paused = true;
}

void task_ask(struct task *task)
{
	task_pause(task);
	task->owes_ask = true;
}

void task_on_resume(struct task *task, const struct vmrm_frame *frame)
{
	struct vmrm_tlv_reader reader;
	struct vmrm_tlv field;
	uint64_t received[VMRM_STREAMS] = {0}, limits[VMRM_STREAMS] = {0};
	uint64_t offset;
	uint8_t stream;
	/* A stream that is not named goes on from its last ACK. */
	received[VMRM_STDOUT] = task->out.acked;
	received[VMRM_STDERR] = task->err.acked;
	received[VMRM_WIRE_OUT] = task->wire.out.acked;
	vmrm_tlv_read_from(&reader, frame->payload, frame->length);
	while (vmrm_tlv_next(&reader, &field) == VMRM_TLV_FIELD) {
		if (!vmrm_tlv_stream(&field, &stream, &offset) || stream >= VMRM_STREAMS)
			continue;
		if (field.tag == VMRM_RESUME_RECEIVED)
			received[stream] = offset;
		else if (field.tag == VMRM_RESUME_LIMIT)
			limits[stream] = offset;
	}
	task->is_paused = false;
	task->owes_resume = true;
	task->owes_opened = task->state >= TASK_RUNNING && task->state <= TASK_ENDED;
	task->owes_result = task->state == TASK_ENDED || task->state == TASK_FAILED;
	memset(task->has_gap, 0, sizeof task->has_gap);
	bool possible = vmrm_sender_resume(&task->out, received[VMRM_STDOUT], limits[VMRM_STDOUT]) &&
		vmrm_sender_resume(&task->err, received[VMRM_STDERR], limits[VMRM_STDERR]) &&
		vmrm_sender_resume(&task->wire.out, received[VMRM_WIRE_OUT], limits[VMRM_WIRE_OUT]);
	if (!possible && task->state != TASK_FAILED)
		task_fail(task, "cannot-resume", 0, "the client asks for output that it has acknowledged or that never was");
}

void task_on_signal(struct task *task, const struct vmrm_frame *frame)
{
	struct vmrm_tlv name, scope;
	int number = vmrm_tlv_find(frame->payload, frame->length, VMRM_SIGNAL_NAME, &name) ? signal_number(&name) : 0;
	bool is_leader = vmrm_tlv_find(frame->payload, frame->length, VMRM_SIGNAL_SCOPE, &scope) && vmrm_tlv_is(&scope, "leader");
	if (number == 0)
		return;
	if (task->state == TASK_SPEC)
		task->early_signals |= (uint64_t)1 << (number - 1);
	else if (task->leader > 0 && (is_leader || task->state == TASK_STARTING))
		kill(task->leader, number);
	else if (task->state == TASK_RUNNING && number == SIGKILL)
		group_kill(&task->group);
	else if (task->state == TASK_RUNNING)
		group_signal(&task->group, number);
}

void task_on_resize(struct task *task, const struct vmrm_frame *frame)
{
	struct vmrm_tlv field;
	uint32_t rows, columns;
	if (!task->is_terminal || task->out_fd < 0)
		return;
	if (!vmrm_tlv_find(frame->payload, frame->length, VMRM_RESIZE_ROWS, &field) || !vmrm_tlv_u32(&field, &rows))
		return;
	if (!vmrm_tlv_find(frame->payload, frame->length, VMRM_RESIZE_COLUMNS, &field) || !vmrm_tlv_u32(&field, &columns))
		return;
	struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
	ioctl(task->out_fd, TIOCSWINSZ, &size);
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
