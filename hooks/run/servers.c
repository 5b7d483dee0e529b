/* Owns the servers of the calls that this task's processes in the guest have made. Must never run anything itself. */
#include "servers.h"
#include "messages.h"
#include "serve.h"
#include "tlv.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
	uint64_t call;
	pid_t pid;
} servers[SERVERS_MAX];
static size_t count;

static void on_child(int number)
{
	(void)number;
}

void servers_init(void)
{
	struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_NOCLDSTOP | SA_RESTART};
	sigaction(SIGCHLD, &action, NULL);
}

void servers_reap(void)
{
	for (size_t i = 0; i < count;) {
		if (waitpid(servers[i].pid, NULL, WNOHANG) == 0)
			i++;
		else
			servers[i] = servers[--count];
	}
}

/* The child's side: nothing of the task's own stays open, above all not the step's output, whose end others wait for. */
static _Noreturn void be_server(const struct serve_request *request, pid_t parent)
{
	sigset_t none;
	close_range(0, ~0U, 0);
	for (int fd = 0; fd < 3; fd++)
		if (open("/dev/null", O_RDWR) != fd)
			_exit(1);
	setsid();
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	_exit(serve(request, parent));
}

void servers_start(const struct job *job, uint64_t parent, const struct vmrm_frame *frame)
{
	struct vmrm_tlv field;
	struct serve_request request = {.job = job, .parent = parent};
	if (!vmrm_tlv_find(frame->payload, frame->length, VMRM_CALL_CALL, &field) || !vmrm_tlv_u64(&field, &request.call))
		return;
	if (!vmrm_tlv_find(frame->payload, frame->length, VMRM_CALL_COMMAND, &field) ||
	    !vmrm_tlv_copy_text(&field, request.command, sizeof request.command))
		return;
	servers_reap();
	for (size_t i = 0; i < count; i++)
		if (servers[i].call == request.call)
			return;
	if (count == SERVERS_MAX)
		return;
	pid_t own = getpid();
	pid_t pid = fork();
	if (pid == 0)
		be_server(&request, own);
	if (pid > 0) {
		servers[count].call = request.call;
		servers[count++].pid = pid;
	}
}
