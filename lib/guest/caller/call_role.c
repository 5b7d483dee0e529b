/* Owns what a call says and hears beside what every session does. Must never read a file that the plan has not opened. */
#include "call.h"
#include "messages.h"
#include "say.h"
#include "signal_name.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static void greet(const struct session *session, struct vmrm_frame *frame, struct vmrm_tlv_writer *fields)
{
	const struct call *call = session->context;
	frame->type = VMRM_CALL;
	vmrm_tlv_put_text(fields, VMRM_CALL_COMMAND, call->plan->command);
}

static bool put_limits(struct spec_bytes *spec)
{
	static const struct {
		const char *name;
		int resource;
	} limits[] = {{"AS", RLIMIT_AS}, {"CORE", RLIMIT_CORE}, {"CPU", RLIMIT_CPU}, {"DATA", RLIMIT_DATA}, {"FSIZE", RLIMIT_FSIZE}, {"MEMLOCK", RLIMIT_MEMLOCK},
		{"NOFILE", RLIMIT_NOFILE}, {"NPROC", RLIMIT_NPROC}, {"RSS", RLIMIT_RSS}, {"STACK", RLIMIT_STACK}};
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		char value[128], soft[32] = "unlimited";
		struct rlimit limit;
		if (getrlimit((__rlimit_resource_t)limits[i].resource, &limit) != 0)
			continue;
		if (limit.rlim_cur != RLIM_INFINITY)
			snprintf(soft, sizeof soft, "%llu", (unsigned long long)limit.rlim_cur);
		int n = snprintf(value, sizeof value, "%s%c%s%cunlimited", limits[i].name, '\0', soft, '\0');
		if (!spec_bytes_put(spec, VMRM_SPEC_RLIMIT, value, (size_t)n))
			return false;
	}
	return true;
}

static bool put_files(struct spec_bytes *spec, const struct plan *plan)
{
	for (size_t i = 0; i < plan->file_count; i++) {
		uint8_t head[8];
		vmrm_put_u32(head, plan->files[i].argument);
		vmrm_put_u32(head + 4, plan->files[i].offset);
		int error = spec_bytes_put_file(spec, VMRM_SPEC_FILE, head, sizeof head, plan->files[i].fd);
		if (error == 0)
			continue;
		if (error != E2BIG)
			plan_error(plan, "%s: %s", plan->argv[plan->files[i].argument], strerror(error));
		return false;
	}
	return true;
}

static bool put_all(struct session *session, const struct plan *plan)
{
	struct spec_bytes *spec = &session->spec;
	char *folder = getcwd(NULL, 0);
	mode_t mask = umask(0);
	umask(mask);
	bool fits = spec_bytes_put_umask(spec, mask) && (folder == NULL || spec_bytes_put_text(spec, VMRM_SPEC_CWD, folder));
	free(folder);
	for (char **text = plan->argv; fits && *text != NULL; text++)
		fits = spec_bytes_put_text(spec, VMRM_SPEC_ARG, *text);
	for (char **text = environ; fits && *text != NULL; text++)
		fits = strchr(*text, '=') == NULL || spec_bytes_put_text(spec, VMRM_SPEC_ENV, *text);
	if (fits && session->has_terminal)
		fits = spec_bytes_put_terminal(spec, &session->size);
	if (fits && !session->has_stdin)
		fits = spec_bytes_put_text(spec, VMRM_SPEC_STDIN, "null");
	return fits && put_limits(spec) && put_files(spec, plan);
}

static int build(struct session *session, const struct vmrm_frame *frame)
{
	struct call *call = session->context;
	(void)frame;
	call->answer_by_ms = 0;
	if (put_all(session, call->plan))
		return 0;
	if (session->spec.length + VMRM_PAYLOAD_MAX_BYTES > SPEC_BYTES_MAX || call->plan->file_count > 0)
		say("%s cannot be called: its files, arguments and environment may have %u MB together", call->plan->command, SPEC_BYTES_MAX >> 20);
	return 1;
}

static int explain(const struct session *session, const struct vmrm_tlv *text, uint32_t number)
{
	const struct call *call = session->context;
	char why[2048];
	if (number != 0)
		say("the host cannot run %s: %s", call->plan->command, strerror((int)number));
	else if (text != NULL && vmrm_tlv_copy_text(text, why, sizeof why))
		say("%s", why);
	else
		say("the host cannot run %s", call->plan->command);
	return 1;
}

static void receive_kill(struct session *session, const struct vmrm_frame *frame)
{
	const struct call *call = session->context;
	struct vmrm_tlv field;
	char text[1024];
	if (session->is_over) {
		session->is_closed = true;
		return;
	}
	if (vmrm_tlv_find(frame->payload, frame->length, VMRM_KILL_TEXT, &field) && vmrm_tlv_copy_text(&field, text, sizeof text))
		say("%s", text);
	else
		say("%s was ended on the host", call->plan->command);
	session_fail(session, 1);
}

static void receive(struct session *session, const struct vmrm_frame *frame)
{
	struct call *call = session->context;
	struct vmrm_tlv name;
	if (frame->type == VMRM_KILL)
		receive_kill(session, frame);
	else if (frame->type == VMRM_HELD && call->plan->holds && !held_command_start(&call->held, call->plan, frame))
		session_release(session, (struct ending){ENDING_EXIT, 1});
	else if (frame->type == VMRM_SIGNAL && vmrm_tlv_find(frame->payload, frame->length, VMRM_SIGNAL_NAME, &name))
		held_command_signal(&call->held, signal_number(&name));
}

const struct session_role call_role = {greet, build, explain, receive};
