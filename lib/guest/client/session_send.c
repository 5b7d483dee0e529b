/* Owns what goes to vmrmd and the agent, in which order. Must never send what a renewed channel does not expect yet. */
#include "messages.h"
#include "session.h"
#include "signal_name.h"
#include "tlv.h"

#include <string.h>

static bool send_frame(const struct session *session, struct link *link, struct vmrm_frame frame)
{
	frame.session = session->number;
	return link_send(link, &frame);
}

static bool send_greeting(struct session *session, struct link *link)
{
	uint8_t payload[256];
	struct vmrm_tlv_writer fields;
	struct vmrm_frame frame = {.payload = payload};
	vmrm_tlv_write_to(&fields, payload, sizeof payload);
	session->role->greet(session, &frame, &fields);
	frame.length = (uint32_t)fields.length;
	session->greeting_due = false;
	return send_frame(session, link, frame);
}

static bool send_resume(struct session *session, struct link *link)
{
	uint8_t payload[256];
	struct vmrm_tlv_writer fields;
	const struct vmrm_receiver *out = &session->out.receiver;
	const struct vmrm_receiver *err = &session->err.receiver;
	vmrm_tlv_write_to(&fields, payload, sizeof payload);
	vmrm_tlv_put_stream(&fields, VMRM_RESUME_RECEIVED, VMRM_STDOUT, vmrm_receiver_next(out));
	vmrm_tlv_put_stream(&fields, VMRM_RESUME_LIMIT, VMRM_STDOUT, vmrm_receiver_limit(out));
	vmrm_tlv_put_stream(&fields, VMRM_RESUME_RECEIVED, VMRM_STDERR, vmrm_receiver_next(err));
	vmrm_tlv_put_stream(&fields, VMRM_RESUME_LIMIT, VMRM_STDERR, vmrm_receiver_limit(err));
	if (session->wire.is_used) {
		vmrm_tlv_put_stream(&fields, VMRM_RESUME_RECEIVED, VMRM_WIRE_OUT, vmrm_receiver_next(&session->wire.in));
		vmrm_tlv_put_stream(&fields, VMRM_RESUME_LIMIT, VMRM_WIRE_OUT, vmrm_receiver_limit(&session->wire.in));
	}
	session->resume_due = false;
	session->is_resuming = true;
	session->release_due = session->has_released;
	return send_frame(session, link, (struct vmrm_frame){.type = VMRM_RESUME, .payload = payload, .length = (uint32_t)fields.length});
}

static bool send_open(struct session *session, struct link *link)
{
	session->open_due = false;
	session->is_open = true;
	session->spec_fed = 0;
	vmrm_sender_free(&session->spec_sender);
	vmrm_sender_init(&session->spec_sender);
	/* A connection that was lost before has paused them. */
	vmrm_sender_resume(&session->stdin_sender, 0, VMRM_WINDOW_BYTES);
	vmrm_sender_resume(&session->wire.out, 0, VMRM_WINDOW_BYTES);
	return send_frame(session, link, (struct vmrm_frame){.type = VMRM_OPEN});
}

static bool send_signal(struct session *session, struct link *link)
{
	uint8_t payload[64];
	char name[24];
	struct vmrm_tlv_writer fields;
	uint64_t due = session->signals_all | session->signals_leader;
	int number = __builtin_ctzll(due) + 1;
	uint64_t bit = UINT64_C(1) << (number - 1);
	bool is_for_all = (session->signals_all & bit) != 0;
	session->signals_all &= ~bit;
	session->signals_leader &= ~bit;
	signal_name(number, name, sizeof name);
	vmrm_tlv_write_to(&fields, payload, sizeof payload);
	vmrm_tlv_put_text(&fields, VMRM_SIGNAL_NAME, name);
	vmrm_tlv_put_text(&fields, VMRM_SIGNAL_SCOPE, is_for_all ? "all" : "leader");
	return send_frame(session, link, (struct vmrm_frame){.type = VMRM_SIGNAL, .payload = payload, .length = (uint32_t)fields.length});
}

static bool send_resize(struct session *session, struct link *link)
{
	uint8_t payload[64];
	struct vmrm_tlv_writer fields;
	session->resize_due = false;
	vmrm_tlv_write_to(&fields, payload, sizeof payload);
	vmrm_tlv_put_u32(&fields, VMRM_RESIZE_ROWS, session->size.rows);
	vmrm_tlv_put_u32(&fields, VMRM_RESIZE_COLUMNS, session->size.columns);
	return send_frame(session, link, (struct vmrm_frame){.type = VMRM_RESIZE, .payload = payload, .length = (uint32_t)fields.length});
}

static bool send_release(struct session *session, struct link *link)
{
	uint8_t payload[64];
	char name[24];
	struct vmrm_tlv_writer fields;
	session->release_due = false;
	vmrm_tlv_write_to(&fields, payload, sizeof payload);
	if (session->release.kind == ENDING_SIGNAL) {
		signal_name(session->release.value, name, sizeof name);
		vmrm_tlv_put_text(&fields, VMRM_RELEASE_SIGNAL, name);
	} else {
		vmrm_tlv_put_u32(&fields, VMRM_RELEASE_VALUE, (uint32_t)session->release.value);
	}
	return send_frame(session, link, (struct vmrm_frame){.type = VMRM_RELEASE, .payload = payload, .length = (uint32_t)fields.length});
}

static bool send_ack(struct session *session, struct link *link, struct vmrm_receiver *receiver, uint8_t stream)
{
	struct vmrm_frame frame = {0};
	vmrm_receiver_ack(receiver, &frame);
	frame.stream = stream;
	return send_frame(session, link, frame);
}

static void feed_spec(struct session *session)
{
	struct spec_bytes *spec = &session->spec;
	if (spec->bytes == NULL || session->spec_sender.ended)
		return;
	session->spec_fed += vmrm_sender_append(&session->spec_sender, spec->bytes + session->spec_fed, spec->length - session->spec_fed);
	if (session->spec_fed == spec->length)
		vmrm_sender_end(&session->spec_sender);
}

enum sent { SENT_FRAME, SENT_NOTHING, SENT_BROKEN };

static enum sent sent(bool is_fine)
{
	return is_fine ? SENT_FRAME : SENT_BROKEN;
}

static enum sent send_data(struct session *session, struct link *link, struct vmrm_sender *sender, uint8_t stream)
{
	struct vmrm_frame frame = {0};
	if (!vmrm_sender_next(sender, &frame))
		return SENT_NOTHING;
	frame.stream = stream;
	bool is_fine = send_frame(session, link, frame);
	vmrm_sender_sent(sender, &frame);
	return sent(is_fine);
}

/* One frame, the most urgent. */
static enum sent send_next(struct session *session, struct link *link)
{
	if (session->greeting_due)
		return sent(send_greeting(session, link));
	if (!session->is_attached)
		return SENT_NOTHING;
	if (session->resume_due)
		return sent(send_resume(session, link));
	if (session->is_resuming)
		return SENT_NOTHING;
	if (session->open_due)
		return sent(send_open(session, link));
	if (session->is_running && (session->signals_all | session->signals_leader) != 0)
		return sent(send_signal(session, link));
	if (session->is_running && session->resize_due)
		return sent(send_resize(session, link));
	if (session->is_running && session->release_due)
		return sent(send_release(session, link));
	if (vmrm_receiver_is_ack_due(&session->out.receiver, true))
		return sent(send_ack(session, link, &session->out.receiver, VMRM_STDOUT));
	if (vmrm_receiver_is_ack_due(&session->err.receiver, true))
		return sent(send_ack(session, link, &session->err.receiver, VMRM_STDERR));
	if (vmrm_receiver_is_ack_due(&session->wire.in, true))
		return sent(send_ack(session, link, &session->wire.in, VMRM_WIRE_OUT));
	if (session->close_due) {
		session->close_due = false;
		session->is_closed = true;
		return sent(send_frame(session, link, (struct vmrm_frame){.type = VMRM_CLOSE}));
	}
	if (session->is_over)
		return SENT_NOTHING;
	feed_spec(session);
	enum sent data = send_data(session, link, &session->spec_sender, VMRM_SPEC);
	if (data != SENT_NOTHING || !session->is_running)
		return data;
	data = send_data(session, link, &session->wire.out, VMRM_WIRE_IN);
	return data != SENT_NOTHING ? data : send_data(session, link, &session->stdin_sender, VMRM_STDIN);
}

bool session_send(struct session *session, struct link *link)
{
	enum sent result = SENT_FRAME;
	if (session->is_over && !session->is_closed) {
		/* Everything is written first: after CLOSE the guest has nothing left to repeat. */
		bool is_written = !outlet_is_waiting(&session->out) && !outlet_is_waiting(&session->err) && !wire_is_waiting(&session->wire);
		bool has_ended = vmrm_receiver_is_done(&session->out.receiver) && vmrm_receiver_is_done(&session->err.receiver);
		session->close_due = is_written && (has_ended || session->is_failed);
	}
	if (!link_flush(link))
		return false;
	while (result == SENT_FRAME && link_can_send(link))
		result = send_next(session, link);
	return result != SENT_BROKEN;
}
