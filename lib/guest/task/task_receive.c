/*
 * Owns what a client's frames do to a task.
 * Must never believe a number in a frame.
 */
#include "task.h"

#include "signal_name.h"
#include "spec.h"
#include "tlv.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
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

static void on_data(struct task *task, const struct vmrm_frame *frame, const struct account *who)
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

static void on_ack(struct task *task, const struct vmrm_frame *frame)
{
	if (frame->stream == VMRM_STDOUT)
		vmrm_sender_ack(&task->out, frame->offset, frame->limit);
	else if (frame->stream == VMRM_STDERR)
		vmrm_sender_ack(&task->err, frame->offset, frame->limit);
	else if (frame->stream == VMRM_WIRE_OUT)
		vmrm_sender_ack(&task->wire.out, frame->offset, frame->limit);
}

static void on_resume(struct task *task, const struct vmrm_frame *frame)
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

static void on_signal(struct task *task, const struct vmrm_frame *frame)
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

static void on_resize(struct task *task, const struct vmrm_frame *frame)
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

bool task_on_frame(struct task *task, const struct vmrm_frame *frame, const struct account *who)
{
	switch (frame->type) {
	case VMRM_DATA:
		on_data(task, frame, who);
		return true;
	case VMRM_ACK:
		on_ack(task, frame);
		return true;
	case VMRM_SIGNAL:
		on_signal(task, frame);
		return true;
	case VMRM_RESUME:
		on_resume(task, frame);
		return true;
	case VMRM_RESIZE:
		on_resize(task, frame);
		return true;
	default:
		return false;
	}
}
