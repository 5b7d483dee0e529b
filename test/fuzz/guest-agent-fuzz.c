/*
 * Owns throwing hostile bytes at the agent: its parser, its messages, its lists of fields, the spec and the identity.
 * Must never start a process or change the machine: the functions at the end stand in for those that would.
 * Promises: nothing crashes (sanitizers), every frame the agent sends is well formed, and its bounds hold.
 */
#include "agent.h"
#include "parser.h"
#include "freeze.h"
#include "service_ready.h"
#include "spawn.h"
#include "spec.h"
#include "tlv.h"

#include "guest-fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Beyond any kernel's pid_max. */
#define NO_SUCH_PID 0x7ffffff0

static unsigned long reached_running, reached_ended, reached_failed, reached_call;

static const uint8_t types[] = {1, 3, 5, 7, 16, 16, 18, 18, 18, 18, 19, 20, 22, 23, 25, 26, 27, 28, 29, 2, 64, 255};
static const char *const words[] = {"TERM", "KILL", "all", "leader", "tess", "52:54:00:12:34:56", "10.0.0.1/24", "1500", "nfs4", "host:/path", "/tmp/x", "null",
	"NOFILE", "unlimited", "0,2-3", "PATH=/bin", "/a/../b", "RTMIN+3", "xterm", "4294967295", "ro,vers=4.1", ""};

/* A list of fields, half sensible. */
static size_t make_fields(struct random *random, uint8_t *out, size_t room)
{
	struct vmrm_tlv_writer list;
	vmrm_tlv_write_to(&list, out, room);
	for (size_t n = random_below(random, 12); n > 0; n--) {
		uint8_t value[300];
		size_t length = 0;
		switch (random_below(random, 4)) {
		case 0:
			length = random_below(random, 40);
			for (size_t i = 0; i < length; i++)
				value[i] = (uint8_t)random_next(random);
			break;
		case 1:
			vmrm_put_u64(value, random_below(random, 3) == 0 ? random_next(random) : random_below(random, 300000));
			length = random_below(random, 2) == 0 ? 4 : 8;
			break;
		case 2:
			memset(value, 0, 16);
			value[0] = (uint8_t)random_below(random, 6);
			vmrm_put_u64(value + 8, random_below(random, 300000));
			length = 16;
			break;
		default:
			for (size_t parts = 1 + random_below(random, 6); parts > 0; parts--) {
				const char *word = words[random_below(random, sizeof words / sizeof *words)];
				memcpy(value + length, word, strlen(word) + 1);
				length += strlen(word) + (parts > 1);
			}
		}
		vmrm_tlv_put(&list, (uint16_t)random_below(random, 14), value, length);
	}
	return list.length;
}

/* The whole spec of a session in one frame. */
static size_t make_spec(struct random *random, uint8_t *out, size_t room)
{
	uint8_t payload[1024];
	struct vmrm_tlv_writer list;
	vmrm_tlv_write_to(&list, payload, sizeof payload);
	vmrm_tlv_put_text(&list, VMRM_SPEC_ARG, "true");
	vmrm_tlv_put_u32(&list, VMRM_SPEC_UMASK, (uint32_t)random_below(random, 10));
	if (random_below(random, 4) == 0)
		vmrm_tlv_put_text(&list, VMRM_SPEC_CPUS, "0");
	if (random_below(random, 3) == 0)
		vmrm_tlv_put(&list, VMRM_SPEC_WIRE, "fd\00010", 5);
	else if (random_below(random, 3) == 0)
		vmrm_tlv_put(&list, VMRM_SPEC_WIRE, "listen\0PATH\0/bin", 16);
	struct vmrm_frame frame = {.type = VMRM_DATA, .stream = VMRM_SPEC, .flags = VMRM_FLAG_END, .session = 1 + random_below(random, 4),
		.length = (uint32_t)list.length, .payload = payload};
	return vmrm_frame_encode(out, room, &frame);
}

/* An identity with a user, without which nothing runs. */
static size_t make_identity(uint8_t *out, size_t room)
{
	static const uint8_t user[] = "tess\0" "5\0" "5\0/\0/bin/sh";
	uint8_t payload[256];
	struct vmrm_tlv_writer list;
	vmrm_tlv_write_to(&list, payload, sizeof payload);
	vmrm_tlv_put(&list, VMRM_IDENTITY_USER, user, sizeof user - 1);
	return vmrm_frame_encode(out, room, &(struct vmrm_frame){.type = VMRM_IDENTITY, .length = (uint32_t)list.length, .payload = payload});
}

static size_t make_frame(struct random *random, uint8_t *out, size_t room)
{
	uint8_t payload[8192];
	size_t plan = random_below(random, 16);
	if (plan < 2)
		return make_spec(random, out, room);
	if (plan == 2)
		return make_identity(out, room);
	size_t length = random_below(random, 8) == 0 ? random_below(random, sizeof payload) : make_fields(random, payload, sizeof payload);
	if (random_below(random, 10) == 0 && length > 0)
		payload[random_below(random, length)] = (uint8_t)random_next(random);
	struct vmrm_frame frame = {
		.type = types[random_below(random, sizeof types)],
		.stream = (uint8_t)(random_below(random, 8) == 0 ? random_next(random) : random_below(random, VMRM_STREAMS)),
		.flags = (uint16_t)random_below(random, 3),
		.length = (uint32_t)length,
		.session = random_below(random, 6) == 0 ? 0 : random_below(random, 5),
		.offset = random_below(random, 4) == 0 ? random_next(random) : random_below(random, 3) == 0 ? random_below(random, 300000) : 0,
		.limit = random_below(random, 4) == 0 ? random_next(random) : random_below(random, 300000),
		.payload = payload,
	};
	size_t count = vmrm_frame_encode(out, room, &frame);
	if (random_below(random, 20) == 0)
		out[random_below(random, count)] ^= (uint8_t)random_next(random);
	if (random_below(random, 20) == 0)
		count = random_below(random, count);
	return count;
}

/* Every frame the agent wants to send must be one. */
static void drain(struct agent *agent)
{
	static uint8_t bytes[VMRM_FRAME_MAX_BYTES];
	struct vmrm_frame frame, again;
	for (int i = 0; i < 5000 && agent_next_frame(agent, &frame); i++) {
		size_t count = vmrm_frame_encode(bytes, sizeof bytes, &frame);
		PROMISE(count > 0);
		PROMISE(vmrm_frame_decode(bytes, count, &again) == VMRM_DECODED_FRAME);
		PROMISE(frame.type != VMRM_DATA || frame.length <= VMRM_WINDOW_BYTES);
		PROMISE(i < 4999);
	}
}

/* As if poll said that everything it was asked for can be done. */
static void turn_wire(struct wire *wire)
{
	struct pollfd places[WIRE_FDS];
	wire_watch(wire, places);
	for (int i = 0; i < WIRE_FDS; i++)
		places[i].revents = places[i].fd >= 0 ? places[i].events : 0;
	wire_turn(wire, places);
}

/* What the poll loop would do for sessions that run, and now and then the end of a first process. */
static void serve_sessions(struct random *random, struct agent *agent)
{
	for (size_t i = 0; i < agent->session_count; i++) {
		struct task *task = agent->sessions[i];
		reached_running += task->state == TASK_RUNNING;
		reached_ended += task->state == TASK_ENDED;
		reached_failed += task->state == TASK_FAILED;
		if (random_below(random, 2) == 0)
			task_read_status(task);
		if (random_below(random, 2) == 0)
			task_read_output(&task->out_fd, &task->out);
		if (random_below(random, 2) == 0)
			task_read_output(&task->err_fd, &task->err);
		if (task->wire.is_used && random_below(random, 2) == 0)
			turn_wire(&task->wire);
		if (task->leader != 0 && (task->state == TASK_GONE || random_below(random, 20) == 0))
			task_on_leader_end(task, (int)random_below(random, 65536));
		if (random_below(random, 50) == 0)
			task_trim(task);
	}
}

#define CALLERS 3

static uint64_t any_session(void *context, pid_t pid)
{
	(void)context;
	return pid > 0 ? 1 : 0;
}

static void open_caller(struct agent *agent, int *caller)
{
	uint8_t bytes[128], payload[32];
	int ends[2];
	struct vmrm_tlv_writer list;
	struct vmrm_frame frame = {.type = VMRM_CALL, .session = 1 + (uint64_t)agent->calls.count, .payload = payload};
	vmrm_tlv_write_to(&list, payload, sizeof payload);
	vmrm_tlv_put_text(&list, VMRM_CALL_COMMAND, "squeue");
	frame.length = (uint32_t)list.length;
	PROMISE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
	struct call_link *link = call_link_new(ends[0]);
	PROMISE(link != NULL);
	link->pid = getpid();
	link->call_by_ms = INT64_MAX;
	agent->calls.links[agent->calls.count++] = link;
	size_t count = vmrm_frame_encode(bytes, sizeof bytes, &frame);
	PROMISE(write(ends[1], bytes, count) == (ssize_t)count);
	*caller = ends[1];
}

/* Processes of the guest that call, say anything, read now and then, and vanish. */
static void turn_callers(struct random *random, struct agent *agent, int *callers)
{
	static uint8_t bytes[VMRM_FRAME_MAX_BYTES];
	struct pollfd places[CALLS_FDS_MAX];
	const struct callers who = {.uid = getuid(), .session_of = any_session};
	for (int i = 0; i < CALLERS; i++) {
		if (callers[i] < 0 && random_below(random, 10) == 0 && agent->calls.count < CALLS_MAX)
			open_caller(agent, &callers[i]);
		if (callers[i] < 0)
			continue;
		size_t count = make_frame(random, bytes, sizeof bytes);
		/* A full socket, or one the agent has closed, takes nothing. */
		bool is_taken = random_below(random, 2) == 0 && write(callers[i], bytes, count) >= 0;
		bool is_read = random_below(random, 4) == 0 && read(callers[i], bytes, sizeof bytes) >= 0;
		if (is_taken || is_read || random_below(random, 20) != 0)
			continue;
		close(callers[i]);
		callers[i] = -1;
	}
	size_t count = calls_watch(&agent->calls, places);
	for (size_t i = 0; i < count; i++)
		places[i].revents = places[i].fd >= 0 ? places[i].events : 0;
	calls_serve(&agent->calls, places, count, &who);
	for (size_t i = 0; i < agent->calls.count; i++)
		reached_call += agent->calls.links[i]->state == CALL_LIVES;
	PROMISE(agent->calls.count <= CALLS_MAX);
}

static void attack_agent(struct random *random)
{
	int callers[CALLERS] = {-1, -1, -1};
	static struct agent agent;
	static uint8_t buffer[2 * VMRM_FRAME_MAX_BYTES];
	static uint8_t bytes[VMRM_FRAME_MAX_BYTES];
	struct vmrm_parser parser;
	struct vmrm_frame frame;
	agent_init(&agent);
	vmrm_parser_init(&parser, buffer, sizeof buffer);
	for (size_t n = 1 + random_below(random, 200); n > 0; n--) {
		uint8_t *at = NULL;
		size_t count = make_frame(random, bytes, sizeof bytes);
		size_t room = vmrm_parser_space(&parser, &at);
		PROMISE(room > 0);
		count = count < room ? count : room;
		memcpy(at, bytes, count);
		vmrm_parser_commit(&parser, count);
		while (vmrm_parser_next(&parser, &frame))
			agent_on_frame(&agent, &frame);
		if (random_below(random, 10) == 0)
			vmrm_parser_rescue(&parser, VMRM_HELLO);
		serve_sessions(random, &agent);
		turn_callers(random, &agent, callers);
		agent_tick(&agent);
		if (random_below(random, 3) == 0)
			drain(&agent);
	}
	PROMISE(agent.session_count <= SESSIONS_MAX * 2);
	agent_free(&agent);
	for (int i = 0; i < CALLERS; i++)
		if (callers[i] >= 0)
			close(callers[i]);
}

static void attack_parsers(struct random *random)
{
	uint8_t bytes[4096];
	struct complaint complaint = {0};
	const char *why;
	size_t length = make_fields(random, bytes, sizeof bytes);
	for (size_t n = random_below(random, 3); n > 0 && length > 0; n--)
		bytes[random_below(random, length)] ^= (uint8_t)random_next(random);
	/* A copy of exactly this size, so that a read behind it is found. */
	uint8_t *exact = malloc(length > 0 ? length : 1);
	PROMISE(exact != NULL);
	memcpy(exact, bytes, length);
	struct identity *identity = identity_parse(exact, length, &complaint);
	PROMISE((identity == NULL) == (complaint.text[0] != '\0'));
	identity_free(identity);
	spec_free(spec_parse(exact, length, &why));
	free(exact);
}

int main(int argc, char **argv)
{
	struct run run = run_start(argc, argv);
	struct random random;
	signal(SIGPIPE, SIG_IGN); /* as the agent does */
	while (run_next(&run, &random)) {
		attack_agent(&random);
		for (int i = 0; i < 50; i++)
			attack_parsers(&random);
	}
	/* Without these the attack would have stopped at the door. */
	PROMISE(reached_running > 0 && reached_ended > 0 && reached_failed > 0 && reached_call > 0);
	printf("%lu\n", run.rounds);
	return 0;
}

/* Stand-ins: no process, no cgroup, no change of the clock; a start always fails. */
bool spawn(const struct spawn_request *request, struct task_group *group, struct spawned *spawned)
{
	int in[2], out[2], err[2], status[2];
	PROMISE(request->spec->argv[0] != NULL);
	if (request->spec->umask % 5 == 1) {
		errno = EAGAIN;
		return false;
	}
	/* The task has written something and gone; its exec went well. */
	PROMISE(pipe2(in, O_NONBLOCK) == 0 && pipe2(out, O_NONBLOCK) == 0 && pipe2(err, O_NONBLOCK) == 0 && pipe2(status, O_NONBLOCK) == 0);
	PROMISE(write(out[1], request->spec->argv[0], 1) >= 0 && write(err[1], "message", 7) == 7);
	/* An MPI library's first words; then its end is closed with the request. */
	if (request->wire_fd >= 0)
		PROMISE(write(request->wire_fd, "first", 5) == 5);
	if (request->spec->has_cpus)
		PROMISE(write(status[1], &(struct spawn_failure){SPAWN_EXEC, ENOENT}, sizeof(struct spawn_failure)) > 0);
	for (const int *end = (const int[]){in[0], out[1], err[1], status[1], -1}; *end >= 0; end++)
		close(*end);
	*spawned = (struct spawned){.pid = NO_SUCH_PID, .in = in[1], .out = out[0], .err = err[0], .status = status[0]};
	group->leader = NO_SUCH_PID;
	return true;
}

/* By the linker's --wrap: no signal leaves this program. */
int __wrap_kill(pid_t pid, int number);
int __wrap_kill(pid_t pid, int number)
{
	PROMISE(pid == NO_SUCH_PID && number > 0 && number <= 64);
	return 0;
}

void group_make(struct task_group *group, uint64_t session)
{
	(void)session;
	*group = (struct task_group){.directory_fd = -1};
}

void group_signal(const struct task_group *group, int signal_number)
{
	(void)group;
	(void)signal_number;
}

void group_kill(const struct task_group *group)
{
	(void)group;
}

bool group_is_empty(const struct task_group *group)
{
	return group->directory_fd < 0;
}

bool group_remove(struct task_group *group)
{
	group->leader = 0;
	return true;
}

void service_ready(void)
{
}

void clock_catch_up(uint64_t host_ns)
{
	(void)host_ns;
}

/* No process of this machine is one of the guest's. */
bool freeze_others(struct complaint *complaint)
{
	(void)complaint;
	return true;
}

void thaw_others(void)
{
}

void forget_frozen(void)
{
}

/* The identity is parsed for real, and never applied. */
bool identity_worker_take(struct identity_worker *worker, const uint8_t *bytes, size_t length, bool is_clone)
{
	worker->answer = (struct work_answer){0};
	struct identity *identity = identity_parse(bytes, length, &worker->answer.complaint);
	if (identity != NULL) {
		identity->is_clone = is_clone;
		identity_free(worker->current);
		worker->current = identity;
	}
	return true;
}

bool identity_worker_on_child(struct identity_worker *worker, pid_t pid, int wait_status)
{
	(void)worker;
	(void)pid;
	(void)wait_status;
	return false;
}

/* Getting ready to be a template begins and never ends: its child is one that no fuzzer may start. */
bool child_work_start(struct child_work *work, work_fn fn, const void *subject, struct complaint *complaint)
{
	(void)fn;
	(void)subject;
	(void)complaint;
	work->child = 1;
	return true;
}

bool child_work_on_child(struct child_work *work, pid_t pid, int wait_status, struct work_answer *answer)
{
	(void)work;
	(void)pid;
	(void)wait_status;
	(void)answer;
	return false;
}

void child_work_tick(struct child_work *work)
{
	(void)work;
}

void child_work_drop(struct child_work *work)
{
	work->child = 0;
}

void ssh_prepare(const char *host_key)
{
	(void)host_key;
}

void template_prepare(const void *subject, struct work_answer *answer)
{
	(void)subject;
	(void)answer;
}

void identity_worker_free(struct identity_worker *worker)
{
	identity_free(worker->current);
	worker->current = NULL;
}
