/*
 * Owns the frames of a session, in both directions.
 * Must never send DATA beyond what the streams allow, nor EXIT in front of the last DATA.
 */
#include "session.h"

#include "signals.h"
#include "spec.h"
#include "tlv.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

/* The spec's bytes go to one piece of memory. False: too many. */
static bool keep_spec(struct session *session)
{
	const uint8_t *at = NULL;
	size_t count;
	while ((count = vmrm_receiver_peek(&session->spec_in, &at)) > 0) {
		size_t needed = session->spec_length + count;
		if (needed > SPEC_MAX_BYTES)
			return false;
		if (needed > session->spec_room) {
			size_t room = needed * 2;
			uint8_t *grown = realloc(session->spec_bytes, room);
			if (grown == NULL)
				return false;
			session->spec_bytes = grown;
			session->spec_room = room;
		}
		memcpy(session->spec_bytes + session->spec_length, at, count);
		session->spec_length = needed;
		vmrm_receiver_handed(&session->spec_in, count);
	}
	return true;
}

/* Lost bytes are asked for once; the next bytes in order clear the mark. */
static void note_gap(struct session *session, uint8_t stream, enum vmrm_accepted accepted)
{
	if (accepted == VMRM_GAP && !session->has_gap[stream]) {
		session->has_gap[stream] = true;
		session->owes_resume = true;
	}
	if (accepted == VMRM_ACCEPTED)
		session->has_gap[stream] = false;
}

void session_on_data(struct session *session, const struct vmrm_frame *frame, const struct identity *who)
{
	if (frame->stream == VMRM_STDIN) {
		session_pass_stdin(session, frame);
		note_gap(session, frame->stream, vmrm_receiver_accept(&session->stdin_in, frame));
		session_write_stdin(session);
	} else if (frame->stream == VMRM_SPEC) {
		note_gap(session, frame->stream, vmrm_receiver_accept(&session->spec_in, frame));
		if (session->state != SESSION_SPEC)
			return;
		if (!keep_spec(session))
			session_fail(session, "bad-spec", 0, "what to run is longer than 16 MiB");
		else if (vmrm_receiver_is_done(&session->spec_in))
			session_start(session, who);
	}
}

void session_on_ack(struct session *session, const struct vmrm_frame *frame)
{
	if (frame->stream == VMRM_STDOUT)
		vmrm_sender_ack(&session->out, frame->offset, frame->limit);
	else if (frame->stream == VMRM_STDERR)
		vmrm_sender_ack(&session->err, frame->offset, frame->limit);
}

void session_pause(struct session *session)
{
	session->is_paused = true;
}

void session_on_resume(struct session *session, const struct vmrm_frame *frame)
{
	struct vmrm_tlv_reader reader;
	struct vmrm_tlv field;
	uint64_t received[VMRM_STREAMS] = {0}, limits[VMRM_STREAMS] = {0};
	uint64_t offset;
	uint8_t stream;
	/* A stream that is not named goes on from its last ACK. */
	received[VMRM_STDOUT] = session->out.acked;
	received[VMRM_STDERR] = session->err.acked;
	vmrm_tlv_read_from(&reader, frame->payload, frame->length);
	while (vmrm_tlv_next(&reader, &field) == VMRM_TLV_FIELD) {
		if (!vmrm_tlv_stream(&field, &stream, &offset) || stream >= VMRM_STREAMS)
			continue;
		if (field.tag == VMRM_RESUME_RECEIVED)
			received[stream] = offset;
		else if (field.tag == VMRM_RESUME_LIMIT)
			limits[stream] = offset;
	}
	session->is_paused = false;
	session->owes_resume = true;
	session->owes_opened = session->state >= SESSION_RUNNING && session->state <= SESSION_ENDED;
	session->owes_result = session->state == SESSION_ENDED || session->state == SESSION_FAILED;
	memset(session->has_gap, 0, sizeof session->has_gap);
	bool possible = vmrm_sender_resume(&session->out, received[VMRM_STDOUT], limits[VMRM_STDOUT]) &&
		vmrm_sender_resume(&session->err, received[VMRM_STDERR], limits[VMRM_STDERR]);
	if (!possible && session->state != SESSION_FAILED)
		session_fail(session, "cannot-resume", 0, "the client asks for output that it has acknowledged or that never was");
}

void session_on_signal(struct session *session, const struct vmrm_frame *frame)
{
	struct vmrm_tlv name, scope;
	int number = vmrm_tlv_find(frame->payload, frame->length, VMRM_SIGNAL_NAME, &name) ? signal_number(&name) : 0;
	bool is_leader = vmrm_tlv_find(frame->payload, frame->length, VMRM_SIGNAL_SCOPE, &scope) && vmrm_tlv_is(&scope, "leader");
	if (number == 0)
		return;
	if (session->state == SESSION_SPEC)
		session->early_signals |= (uint64_t)1 << (number - 1);
	else if (session->leader > 0 && (is_leader || session->state == SESSION_STARTING))
		kill(session->leader, number);
	else if (session->state == SESSION_RUNNING && number == SIGKILL)
		group_kill(&session->group);
	else if (session->state == SESSION_RUNNING)
		group_signal(&session->group, number);
}

void session_on_resize(struct session *session, const struct vmrm_frame *frame)
{
	struct vmrm_tlv field;
	uint32_t rows, columns;
	if (!session->is_terminal || session->out_fd < 0)
		return;
	if (!vmrm_tlv_find(frame->payload, frame->length, VMRM_RESIZE_ROWS, &field) || !vmrm_tlv_u32(&field, &rows))
		return;
	if (!vmrm_tlv_find(frame->payload, frame->length, VMRM_RESIZE_COLUMNS, &field) || !vmrm_tlv_u32(&field, &columns))
		return;
	struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
	ioctl(session->out_fd, TIOCSWINSZ, &size);
}

static void put_resume(struct session *session, struct vmrm_tlv_writer *list)
{
	vmrm_tlv_put_stream(list, VMRM_RESUME_RECEIVED, VMRM_STDIN, vmrm_receiver_next(&session->stdin_in));
	vmrm_tlv_put_stream(list, VMRM_RESUME_RECEIVED, VMRM_SPEC, vmrm_receiver_next(&session->spec_in));
	vmrm_tlv_put_stream(list, VMRM_RESUME_LIMIT, VMRM_STDIN, vmrm_receiver_limit(&session->stdin_in));
	vmrm_tlv_put_stream(list, VMRM_RESUME_LIMIT, VMRM_SPEC, vmrm_receiver_limit(&session->spec_in));
}

static void put_exit(const struct session *session, struct vmrm_tlv_writer *list)
{
	int status = session->wait_status;
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

static void put_error(const struct session *session, struct vmrm_tlv_writer *list)
{
	vmrm_tlv_put_text(list, VMRM_ERROR_TEXT, session->error_text);
	vmrm_tlv_put_text(list, VMRM_ERROR_CODE, session->error_code);
	if (session->error_number != 0)
		vmrm_tlv_put_u32(list, VMRM_ERROR_NUMBER, (uint32_t)session->error_number);
}

/* Whether the result may be sent: EXIT only behind all output. */
static bool is_result_due(const struct session *session)
{
	if (!session->owes_result)
		return false;
	return session->state == SESSION_FAILED || (session->state == SESSION_ENDED && session->out.end_sent && session->err.end_sent);
}

static bool next_data(struct session *session, struct vmrm_frame *frame)
{
	for (int i = 0; i < 2; i++) {
		bool is_err = session->err_goes_first == (i == 0);
		struct vmrm_sender *sender = is_err ? &session->err : &session->out;
		if (!vmrm_sender_next(sender, frame))
			continue;
		frame->stream = is_err ? VMRM_STDERR : VMRM_STDOUT;
		vmrm_sender_sent(sender, frame);
		session->err_goes_first = !is_err;
		return true;
	}
	return false;
}

static bool next_ack(struct session *session, struct vmrm_frame *frame)
{
	if (vmrm_receiver_is_ack_due(&session->stdin_in, true)) {
		vmrm_receiver_ack(&session->stdin_in, frame);
		frame->stream = VMRM_STDIN;
		return true;
	}
	if (vmrm_receiver_is_ack_due(&session->spec_in, true)) {
		vmrm_receiver_ack(&session->spec_in, frame);
		frame->stream = VMRM_SPEC;
		return true;
	}
	return false;
}

/* A message of fields that is owed; false: none. */
static bool next_message(struct session *session, struct vmrm_frame *frame, struct vmrm_tlv_writer *list)
{
	if (session->owes_opened) {
		frame->type = VMRM_OPENED;
		session->owes_opened = false;
	} else if (session->owes_resume) {
		frame->type = VMRM_RESUME;
		put_resume(session, list);
		session->owes_resume = false;
	} else {
		return false;
	}
	return true;
}

bool session_next_frame(struct session *session, struct vmrm_frame *frame, uint8_t *scratch)
{
	struct vmrm_tlv_writer list;
	vmrm_tlv_write_to(&list, scratch, VMRM_PAYLOAD_MAX_BYTES);
	*frame = (struct vmrm_frame){0};
	if (session->is_paused || session->state == SESSION_GONE)
		return false;
	if (!next_message(session, frame, &list)) {
		bool is_stream = next_ack(session, frame) || (session->state != SESSION_FAILED && next_data(session, frame));
		frame->session = session->id;
		if (is_stream)
			return true;
		if (!is_result_due(session))
			return false;
		session->owes_result = false;
		*frame = (struct vmrm_frame){.type = session->state == SESSION_ENDED ? VMRM_EXIT : VMRM_ERROR};
		if (session->state == SESSION_ENDED)
			put_exit(session, &list);
		else
			put_error(session, &list);
	}
	frame->session = session->id;
	frame->payload = scratch;
	frame->length = (uint32_t)list.length;
	return true;
}
