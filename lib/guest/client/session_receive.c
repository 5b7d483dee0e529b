/* Owns what comes from the other end. Must never trust a length or a number of it. */
#include "messages.h"
#include "say.h"
#include "session.h"
#include "signal_name.h"
#include "tlv.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void session_attached(struct session *session, const struct vmrm_frame *frame)
{
	if (session->is_attached)
		return;
	session->is_attached = session->was_attached = true;
	if (session->is_open) {
		session->resume_due = true;
		return;
	}
	session->open_due = true;
	if (session->spec.bytes != NULL)
		return;
	int code = session->role->build(session, frame);
	if (code != 0)
		session_fail(session, code);
}

static void receive_data(struct session *session, const struct vmrm_frame *frame)
{
	struct outlet *outlet = frame->stream == VMRM_STDOUT ? &session->out : &session->err;
	if (frame->stream == VMRM_WIRE_OUT && wire_take(&session->wire, frame) == VMRM_GAP && !session->is_resuming)
		session->resume_due = true;
	if (frame->stream != VMRM_STDOUT && frame->stream != VMRM_STDERR)
		return;
	if (outlet_take(outlet, frame) == VMRM_GAP && !session->is_resuming)
		session->resume_due = true;
	session_heed(session, outlet);
}

static void receive_ack(struct session *session, const struct vmrm_frame *frame)
{
	if (frame->stream == VMRM_STDIN) {
		vmrm_sender_ack(&session->stdin_sender, frame->offset, frame->limit);
		vmrm_sender_trim(&session->stdin_sender);
	} else if (frame->stream == VMRM_SPEC) {
		vmrm_sender_ack(&session->spec_sender, frame->offset, frame->limit);
		vmrm_sender_trim(&session->spec_sender);
	} else if (frame->stream == VMRM_WIRE_IN) {
		vmrm_sender_ack(&session->wire.out, frame->offset, frame->limit);
	}
}

static void receive_opened(struct session *session)
{
	session->is_running = true;
	spec_bytes_free(&session->spec);
	vmrm_sender_trim(&session->spec_sender);
}

static void receive_resume(struct session *session, const struct vmrm_frame *frame)
{
	struct vmrm_tlv_reader reader;
	struct vmrm_tlv field;
	uint64_t received[VMRM_STREAMS] = {0};
	uint64_t limit[VMRM_STREAMS] = {0};
	bool is_named[VMRM_STREAMS] = {false};
	vmrm_tlv_read_from(&reader, frame->payload, frame->length);
	while (vmrm_tlv_next(&reader, &field) == VMRM_TLV_FIELD) {
		uint8_t stream = 0;
		uint64_t offset = 0;
		if (!vmrm_tlv_stream(&field, &stream, &offset) || stream >= VMRM_STREAMS)
			continue;
		is_named[stream] = is_named[stream] || field.tag == VMRM_RESUME_RECEIVED;
		*(field.tag == VMRM_RESUME_RECEIVED ? &received[stream] : &limit[stream]) = offset;
	}
	session->is_resuming = false;
	if (is_named[VMRM_STDIN])
		vmrm_sender_resume(&session->stdin_sender, received[VMRM_STDIN], limit[VMRM_STDIN]);
	if (is_named[VMRM_SPEC])
		vmrm_sender_resume(&session->spec_sender, received[VMRM_SPEC], limit[VMRM_SPEC]);
	if (is_named[VMRM_WIRE_IN])
		vmrm_sender_resume(&session->wire.out, received[VMRM_WIRE_IN], limit[VMRM_WIRE_IN]);
	/* OPENED may have been lost; with the whole spec there the task runs, or ERROR says why not. */
	if (is_named[VMRM_SPEC] && vmrm_sender_is_done(&session->spec_sender))
		receive_opened(session);
}

static void receive_exit(struct session *session, const struct vmrm_frame *frame)
{
	struct vmrm_tlv field;
	uint32_t code = 0;
	if (session->is_over)
		return;
	session->is_over = true;
	if (vmrm_tlv_find(frame->payload, frame->length, VMRM_EXIT_SIGNAL, &field)) {
		/* One this host has no name for: it was killed, that much is known. */
		int number = signal_number(&field);
		session->ending = (struct ending){ENDING_SIGNAL, number != 0 ? number : SIGKILL};
		return;
	}
	if (!vmrm_tlv_find(frame->payload, frame->length, VMRM_EXIT_VALUE, &field) || !vmrm_tlv_u32(&field, &code))
		code = 1;
	session->ending = (struct ending){ENDING_EXIT, (int)(code & 0xff)};
}

static void receive_error(struct session *session, const struct vmrm_frame *frame)
{
	struct vmrm_tlv text = {0};
	struct vmrm_tlv code = {0};
	struct vmrm_tlv field;
	uint32_t number = 0;
	bool has_text = vmrm_tlv_find(frame->payload, frame->length, VMRM_ERROR_TEXT, &text);
	bool has_code = vmrm_tlv_find(frame->payload, frame->length, VMRM_ERROR_CODE, &code);
	if (session->is_over)
		return;
	if (has_code && vmrm_tlv_is(&code, "no-such-session")) {
		session->is_resuming = false;
		if (!session->is_running) {
			session->open_due = true; /* the first OPEN was lost on its way */
			return;
		}
		say("the VM was restarted and does not know this task any more");
		session_fail(session, 1);
		return;
	}
	if (has_code && vmrm_tlv_is(&code, "exec-failed") && vmrm_tlv_find(frame->payload, frame->length, VMRM_ERROR_NUMBER, &field))
		vmrm_tlv_u32(&field, &number);
	session->is_over = session->is_failed = true;
	session->ending = (struct ending){ENDING_EXIT, session->role->explain(session, has_text ? &text : NULL, number)};
}

/* Frames were lost on either way: nothing goes on before both ends know what the other has. */
static void reset(struct session *session)
{
	if (!session->is_open)
		return;
	vmrm_sender_pause(&session->spec_sender);
	vmrm_sender_pause(&session->stdin_sender);
	vmrm_sender_pause(&session->wire.out);
	session->is_resuming = false;
	session->resume_due = true;
}

/* The server of a call is there, for the first time or anew, and asks where we are. */
static void receive_ask(struct session *session, const struct vmrm_frame *frame)
{
	if (!session->is_attached)
		session_attached(session, frame);
	else
		reset(session);
}

void session_receive(struct session *session, const struct vmrm_frame *frame)
{
	struct vmrm_tlv ask;
	if (frame->session != session->number)
		return;
	switch (frame->type) {
	case VMRM_RESET:
		reset(session);
		break;
	case VMRM_OPENED:
		receive_opened(session);
		break;
	case VMRM_DATA:
		receive_data(session, frame);
		break;
	case VMRM_ACK:
		receive_ack(session, frame);
		break;
	case VMRM_RESUME:
		if (vmrm_tlv_find(frame->payload, frame->length, VMRM_RESUME_ASK, &ask))
			receive_ask(session, frame);
		else
			receive_resume(session, frame);
		break;
	case VMRM_EXIT:
		receive_exit(session, frame);
		break;
	case VMRM_ERROR:
		receive_error(session, frame);
		break;
	default:
		session->role->receive(session, frame);
		break;
	}
}
