/* Owns the frames of one call, in both directions. Must never act on one of another session. */
#include "call_server.h"
#include "messages.h"
#include "signal_name.h"
#include "tlv.h"

#include <stdio.h>
#include <string.h>

static void take_place(struct server *server, const struct vmrm_frame *frame)
{
	struct served_command *command = &server->command;
	struct vmrm_tlv_reader reader;
	struct vmrm_tlv field;
	char folder[4000];
	if (server->is_attached)
		return;
	server->is_attached = true;
	task_ask(server->task);
	if (server->was_attached)
		return;
	server->was_attached = true;
	vmrm_tlv_read_from(&reader, frame->payload, frame->length);
	while (vmrm_tlv_next(&reader, &field) == VMRM_TLV_FIELD) {
		if (field.tag == VMRM_ATTACHED_PROGRAM) {
			vmrm_tlv_copy_text(&field, command->program, sizeof command->program);
		} else if (field.tag == VMRM_ATTACHED_FOLDER && vmrm_tlv_copy_text(&field, folder, sizeof folder)) {
			snprintf(command->folder, sizeof command->folder, "%s/%016llx", folder, (unsigned long long)server->request->call);
		} else if (field.tag == VMRM_ATTACHED_ARG && command->argument_count < SERVED_ARGUMENTS_MAX) {
			command->arguments[command->argument_count] = strndup((const char *)field.value, field.length);
			command->argument_count += command->arguments[command->argument_count] != NULL;
		}
	}
	/* An empty name would be looked up in the guest's PATH. */
	if (command->program[0] != '/')
		call_end_command(server);
}

static void release(struct server *server, const struct vmrm_frame *frame)
{
	struct vmrm_tlv field;
	uint32_t code = 1;
	int number = 0;
	if (vmrm_tlv_find(frame->payload, frame->length, VMRM_RELEASE_SIGNAL, &field))
		number = signal_number(&field);
	else if (vmrm_tlv_find(frame->payload, frame->length, VMRM_RELEASE_VALUE, &field))
		vmrm_tlv_u32(&field, &code);
	hold_release(&server->hold, number > 0 ? (struct ending){ENDING_SIGNAL, number} : (struct ending){ENDING_EXIT, (int)(code < 256 ? code : 255)});
}

void call_receive_frame(struct server *server, const struct vmrm_frame *frame)
{
	struct task *task = server->task;
	if (frame->session != server->request->call)
		return;
	switch (frame->type) {
	case VMRM_ATTACHED:
		take_place(server, frame);
		break;
	case VMRM_RESET:
		task_ask(task);
		break;
	case VMRM_REFUSED:
	case VMRM_LOST:
	case VMRM_CLOSE:
		call_end_command(server);
		break;
	case VMRM_OPEN:
		task->is_paused = false;
		break;
	case VMRM_RESUME:
		task_on_frame(task, frame, &server->account);
		server->hold.owes_held = server->hold.has_environment;
		break;
	case VMRM_RELEASE:
		release(server, frame);
		break;
	default:
		task_on_frame(task, frame, &server->account);
		break;
	}
}

static void put_greeting(struct server *server, struct vmrm_frame *frame, struct vmrm_tlv_writer *fields)
{
	const struct serve_request *request = server->request;
	server->greeting_due = false;
	frame->type = VMRM_SERVE;
	vmrm_tlv_put_text(fields, VMRM_SERVE_JOB, request->job->id);
	vmrm_tlv_put_u64(fields, VMRM_SERVE_PARENT, request->parent);
	if (server->was_attached)
		vmrm_tlv_put(fields, VMRM_SERVE_RESUMED, NULL, 0);
}

static void put_held(struct server *server, struct vmrm_frame *frame, struct vmrm_tlv_writer *fields, uint8_t *scratch)
{
	server->hold.owes_held = false;
	frame->type = VMRM_HELD;
	if (!hold_put(&server->hold, server->command.environment, fields)) {
		/* The caller answers with CLOSE, which ends salloc. */
		frame->type = VMRM_ERROR;
		vmrm_tlv_write_to(fields, scratch, VMRM_PAYLOAD_MAX_BYTES);
		vmrm_tlv_put_text(fields, VMRM_ERROR_TEXT, "the variables that salloc sets for its command are larger than 64 KiB together; the VM cannot take them");
		vmrm_tlv_put_text(fields, VMRM_ERROR_CODE, "too-large");
	}
}

/* One that came to salloc's command, for the caller's. */
static void put_signal(struct server *server, struct vmrm_frame *frame, struct vmrm_tlv_writer *fields)
{
	char name[24];
	int number = __builtin_ctzll(server->hold.signals) + 1;
	server->hold.signals &= server->hold.signals - 1;
	signal_name(number, name, sizeof name);
	frame->type = VMRM_SIGNAL;
	vmrm_tlv_put_text(fields, VMRM_SIGNAL_NAME, name);
}

bool call_next_frame(struct server *server, struct vmrm_frame *frame, uint8_t *scratch)
{
	struct vmrm_tlv_writer fields;
	vmrm_tlv_write_to(&fields, scratch, VMRM_PAYLOAD_MAX_BYTES);
	*frame = (struct vmrm_frame){.session = server->request->call, .payload = scratch};
	if (server->greeting_due) {
		put_greeting(server, frame, &fields);
	} else if (!server->is_attached || server->end_by_ms != 0) {
		return false;
	} else if (task_next_frame(server->task, frame, scratch)) {
		return true;
	} else if (server->hold.owes_held && !server->task->is_paused) {
		put_held(server, frame, &fields, scratch);
	} else if (server->hold.signals != 0 && !server->task->is_paused) {
		put_signal(server, frame, &fields);
	} else {
		return false;
	}
	*frame = (struct vmrm_frame){.type = frame->type, .session = server->request->call, .payload = scratch, .length = (uint32_t)fields.length};
	return true;
}
