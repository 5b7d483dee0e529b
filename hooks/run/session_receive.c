/* Owns what comes from vmrmd and, through it, from the guest. Must never trust a length or a number of it. */
#include "messages.h"
#include "say.h"
#include "session.h"
#include "tlv.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int read_signal_name(const struct vmrm_tlv *field)
{
	for (int number = 1; number < 32; number++) {
		const char *name = sigabbrev_np(number);
		if (name != NULL && vmrm_tlv_is(field, name))
			return number;
	}
	return SIGKILL; /* one this host has no name for: it was killed, that much is known */
}

static void receive_attached(struct session *session, const struct vmrm_frame *frame)
{
	struct vmrm_tlv field;
	char cpus[1024];
	struct spec_request request = {.job = session->job, .has_stdin = session->has_stdin};
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
	if (vmrm_tlv_find(frame->payload, frame->length, VMRM_ATTACHED_CPUS, &field) && vmrm_tlv_copy_text(&field, cpus, sizeof cpus))
		request.cpus = cpus;
	if (session->has_terminal)
		request.terminal = &session->size;
	int code = spec_build(&session->spec, &request);
	if (code != 0)
		session_fail(session, code);
}

static void receive_refusal(struct session *session, const struct vmrm_frame *frame)
{
	struct vmrm_tlv field;
	uint32_t code = 1;
	/* The task has ended by itself before: what it said stands, and there is nobody left to take a CLOSE. */
	if (session->is_over) {
		session->is_closed = true;
		return;
	}
	if (vmrm_tlv_find(frame->payload, frame->length, VMRM_REFUSED_TEXT, &field))
		say_text(field.value, field.length);
	if (frame->type == VMRM_REFUSED && vmrm_tlv_find(frame->payload, frame->length, VMRM_REFUSED_EXIT, &field))
		vmrm_tlv_u32(&field, &code);
	/* A refusal is never a success. */
	session_fail(session, code == 0 || code > 255 ? 1 : (int)code);
}

static void receive_data(struct session *session, const struct vmrm_frame *frame)
{
	struct outlet *outlet = frame->stream == VMRM_STDOUT ? &session->out : &session->err;
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
	}
}

static void receive_opened(struct session *session)
{
	session->is_running = true;
	spec_free(&session->spec);
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
		session->ending = (struct ending){ENDING_SIGNAL, read_signal_name(&field)};
		return;
	}
	if (!vmrm_tlv_find(frame->payload, frame->length, VMRM_EXIT_VALUE, &field) || !vmrm_tlv_u32(&field, &code))
		code = 1;
	session->ending = (struct ending){ENDING_EXIT, (int)(code & 0xff)};
}

/* What slurmstepd 22.05 does when its own execve fails: this line, and the errno as exit code. */
/* The interpreter that a script names, where it is one; false: it is none. */
static bool read_interpreter(const char *path, char *name, size_t size)
{
	FILE *script = fopen(path, "re");
	bool is_script = script != NULL && fgetc(script) == '#' && fgetc(script) == '!' && fgets(name, (int)size, script) != NULL;
	if (script != NULL)
		fclose(script);
	if (is_script)
		name[strcspn(name, "\n")] = '\0';
	return is_script;
}

static int complain_of_exec(const struct session *session, const struct vmrm_tlv *text, uint32_t number)
{
	char why[512];
	const char *command = session->job->argv[0];
	/* The script itself is there: it was sent along. */
	if (number == ENOENT && session->job->is_batch && read_interpreter(command, why, sizeof why)) {
		dprintf(STDERR_FILENO, "slurmstepd: error: execve(): bad interpreter(%s): %s\n", why, strerror(ENOENT));
		return ENOENT;
	}
	if (number != 0 && number < 256) {
		/* slurmstepd's own words; it names what lies in the working folder by its whole path. */
		char *cwd = *command != '/' && strchr(command, '/') != NULL ? getcwd(NULL, 0) : NULL;
		dprintf(STDERR_FILENO, "slurmstepd: error: execve(): %s%s%s: %s\n", cwd == NULL ? "" : cwd, cwd == NULL ? "" : "/", command,
			strerror((int)number));
		free(cwd);
		return (int)number;
	}
	if (text == NULL || !vmrm_tlv_copy_text(text, why, sizeof why))
		strcpy(why, "unknown");
	say("the VM could not start %s: %s", command, why);
	return 1;
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
	session->ending = (struct ending){ENDING_EXIT, complain_of_exec(session, has_text ? &text : NULL, number)};
}

void session_receive(struct session *session, const struct vmrm_frame *frame)
{
	if (frame->session != session->number)
		return;
	switch (frame->type) {
	case VMRM_ATTACHED:
		receive_attached(session, frame);
		break;
	case VMRM_REFUSED:
	case VMRM_LOST:
		receive_refusal(session, frame);
		break;
	case VMRM_RESET:
		/* Frames were lost on either way: nothing goes on before both ends know what the other has. */
		vmrm_sender_pause(&session->spec_sender);
		vmrm_sender_pause(&session->stdin_sender);
		session->is_resuming = false;
		session->resume_due = session->is_open;
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
		receive_resume(session, frame);
		break;
	case VMRM_EXIT:
		receive_exit(session, frame);
		break;
	case VMRM_ERROR:
		receive_error(session, frame);
		break;
	default:
		break;
	}
}
