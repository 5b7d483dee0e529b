/* Owns what vmrm-run says and hears as a task of a job. Must never take a refusal for a success. */
#include "task_role.h"
#include "messages.h"
#include "say.h"
#include "servers.h"
#include "task_prolog.h"
#include "task_spec.h"
#include "affinity.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void greet(const struct session *session, struct vmrm_frame *frame, struct vmrm_tlv_writer *fields)
{
	const struct job *job = &((const struct task_context *)session->context)->job;
	frame->type = VMRM_ATTACH;
	vmrm_tlv_put_text(fields, VMRM_ATTACH_JOB, job->id);
	vmrm_tlv_put_text(fields, VMRM_ATTACH_STEP, job->step);
	if (job->has_vm) {
		vmrm_tlv_put_u32(fields, VMRM_ATTACH_VM, job->vm);
	} else {
		vmrm_tlv_put_u32(fields, VMRM_ATTACH_LOCAL_ID, job->local_id);
		vmrm_tlv_put_u32(fields, VMRM_ATTACH_LOCAL_COUNT, job->local_count);
	}
	char cpus[AFFINITY_TEXT_MAX];
	if (affinity_read(cpus, sizeof cpus))
		vmrm_tlv_put_text(fields, VMRM_ATTACH_AFFINITY, cpus);
	if (session->was_attached)
		vmrm_tlv_put(fields, VMRM_ATTACH_SESSION_RESUMED, NULL, 0);
}

/* Of a best-effort job: which VMs it has, for the task's own use, and once a line for people on what it lacks. */
static void tell_part(const struct job *job, const struct vmrm_frame *frame)
{
	static const struct {
		uint8_t tag;
		const char *variable;
	} parts[] = {{VMRM_ATTACHED_UP, "VMRM_VMS"}, {VMRM_ATTACHED_MISSING, "VMRM_VMS_MISSING"}};
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		struct vmrm_tlv field;
		/* A step has it from its batch script, which has told it. */
		const char *of_caller = getenv(parts[i].variable);
		size_t told_length = of_caller == NULL ? 0 : strlen(of_caller);
		bool is_there = vmrm_tlv_find(frame->payload, frame->length, parts[i].tag, &field);
		bool is_told = is_there && told_length == field.length && memcmp(of_caller, field.value, field.length) == 0;
		unsetenv(parts[i].variable);
		char *text = is_there ? strndup((const char *)field.value, field.length) : NULL;
		if (text == NULL)
			continue;
		setenv(parts[i].variable, text, 1);
		bool is_first = job->is_batch || (job->rank == 0 && !job->has_vm);
		if (parts[i].tag == VMRM_ATTACHED_MISSING && is_first && !is_told && !job->is_prolog)
			say("this job began without some of its VMs, as its strategy allows: %s did not come up; `vmrm ps %s` says why", text, job->id);
		free(text);
	}
}

static int build(struct session *session, const struct vmrm_frame *frame)
{
	struct vmrm_tlv field;
	char cpus[1024], prolog[4096];
	const struct task_context *context = session->context;
	struct task_request request = {.job = &context->job, .mpi = &context->mpi, .has_stdin = session->has_stdin};
	if (vmrm_tlv_find(frame->payload, frame->length, VMRM_ATTACHED_CPUS, &field) && vmrm_tlv_copy_text(&field, cpus, sizeof cpus))
		request.cpus = cpus;
	tell_part(request.job, frame);
	bool has_site_prolog = !request.job->is_prolog && vmrm_tlv_find(frame->payload, frame->length, VMRM_ATTACHED_TASK_PROLOG, &field) &&
		vmrm_tlv_copy_text(&field, prolog, sizeof prolog);
	int code = has_site_prolog ? task_prolog_run(prolog) : 0;
	if (code == 0 && request.job->task_prolog != NULL)
		code = task_prolog_run_in_guest(request.job);
	if (code != 0)
		return code;
	if (session->has_terminal)
		request.terminal = &session->size;
	return task_spec_build(&session->spec, &request);
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

/* What slurmstepd 22.05 does when its own execve fails: this line, and the errno as exit code. */
static int explain(const struct session *session, const struct vmrm_tlv *text, uint32_t number)
{
	const struct job *job = &((const struct task_context *)session->context)->job;
	char why[512];
	const char *command = task_spec_command(job);
	/* The script itself is there: it was sent along. */
	if (number == ENOENT && job->is_batch && read_interpreter(command, why, sizeof why)) {
		dprintf(STDERR_FILENO, "slurmstepd: error: execve(): bad interpreter(%s): %s\n", why, strerror(ENOENT));
		return ENOENT;
	}
	if (number != 0 && job->is_prolog) {
		dprintf(STDERR_FILENO, "slurmstepd: error: run_command: user task_prolog can not be executed (%s) %s\n" TASK_PROLOG_NOT_RUN, command,
			strerror((int)number));
		return 1;
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

static void receive(struct session *session, const struct vmrm_frame *frame)
{
	if (frame->type == VMRM_ATTACHED)
		session_attached(session, frame);
	else if (frame->type == VMRM_REFUSED || frame->type == VMRM_LOST)
		receive_refusal(session, frame);
	else if (frame->type == VMRM_CALL)
		servers_start(&((const struct task_context *)session->context)->job, session->number, frame);
}

const struct session_role task_role = {greet, build, explain, receive};
