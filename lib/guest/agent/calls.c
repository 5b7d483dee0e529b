/* Owns the calls of Slurm's commands from inside the guest. Must never let anyone call but the job's user. */
#include "calls.h"

#include "clock.h"
#include "log.h"
#include "messages.h"
#include "tlv.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

void calls_init(struct calls *calls)
{
	*calls = (struct calls){.socket = -1};
}

void calls_listen(struct calls *calls, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char folder[sizeof address.sun_path];
	if (calls->socket >= 0 || strlen(path) >= sizeof address.sun_path)
		return;
	strcpy(address.sun_path, path);
	strcpy(folder, path);
	*strrchr(folder, '/') = '\0';
	mkdir(folder, 0755);
	unlink(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || chmod(path, 0666) != 0 || listen(fd, CALLS_WAITING) != 0) {
		agent_log("no command can be called, %s: %s\n", path, strerrordesc_np(errno));
		if (fd >= 0)
			close(fd);
		return;
	}
	calls->socket = fd;
}

size_t calls_watch(const struct calls *calls, struct pollfd *fds)
{
	/* Nobody is taken in while all places are taken: connections wait in the socket's queue. */
	fds[0] = (struct pollfd){.fd = calls->count < CALLS_MAX ? calls->socket : -1, .events = POLLIN};
	for (size_t i = 0; i < calls->count; i++) {
		const struct call_link *link = calls->links[i];
		short out = link->out_start < link->out_end ? POLLOUT : 0;
		short in = call_link_wants_bytes(link) ? POLLIN : 0;
		fds[1 + i] = (struct pollfd){.fd = in != 0 || out != 0 ? link->fd : -1, .events = (short)(in | out)};
	}
	return 1 + calls->count;
}

static struct call_link *find(struct calls *calls, uint64_t number)
{
	for (size_t i = 0; i < calls->count; i++)
		if (calls->links[i]->number == number && calls->links[i]->state == CALL_LIVES)
			return calls->links[i];
	return NULL;
}

/* The first frame of a connection: who calls what, from where. */
static void begin(struct calls *calls, struct call_link *link, const struct callers *callers)
{
	struct vmrm_frame frame;
	struct vmrm_tlv command;
	if (!call_link_next(link, &frame))
		return;
	bool is_call = frame.type == VMRM_CALL && frame.session != 0 && vmrm_tlv_find(frame.payload, frame.length, VMRM_CALL_COMMAND, &command) &&
		vmrm_tlv_copy_text(&command, link->command, sizeof link->command) && link->command[0] != '\0';
	if (!is_call || find(calls, frame.session) != NULL) {
		call_link_lose(link);
		return;
	}
	link->number = frame.session;
	link->session = callers != NULL ? callers->session_of(callers->context, link->pid) : 0;
	if (link->session == 0) {
		call_link_refuse(link, "no-task", "Slurm's commands work in a VM while a task of its job runs there; none does");
		return;
	}
	link->state = CALL_LIVES;
	link->owes_call = true;
	/* It has a place now; until then it waited for one. */
	struct vmrm_frame taken = {.type = VMRM_RESET, .session = link->number};
	call_link_put(link, &taken);
}

static void remove_finished(struct calls *calls)
{
	for (size_t i = 0; i < calls->count;) {
		struct call_link *link = calls->links[i];
		if (link->state != CALL_IS_OVER || link->owes_close) {
			i++;
			continue;
		}
		call_link_free(link);
		calls->links[i] = calls->links[--calls->count];
	}
}

/* Who has connected. Anyone but the user is told at once, before his CALL, and keeps no place. */
static void check_peer(struct call_link *link, const struct callers *callers)
{
	struct ucred peer;
	socklen_t length = sizeof peer;
	link->call_by_ms = now_ms() + CALL_WITHIN_MS;
	if (getsockopt(link->fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
		call_link_lose(link);
		return;
	}
	link->pid = peer.pid;
	if (callers != NULL && peer.uid == callers->uid)
		return;
	call_link_refuse(link, "not-the-user", "Slurm's commands work in this VM for the job's user only");
	if (link->state == CALL_LEAVES)
		call_link_lose(link);
}

static void take_in(struct calls *calls, const struct callers *callers)
{
	while (calls->count < CALLS_MAX) {
		int fd = accept4(calls->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct call_link *link = fd >= 0 ? call_link_new(fd) : NULL;
		if (link == NULL)
			return;
		calls->links[calls->count++] = link;
		check_peer(link, callers);
	}
}

void calls_serve(struct calls *calls, const struct pollfd *fds, size_t count, const struct callers *callers)
{
	for (size_t i = 0; i + 1 < count && i < calls->count; i++) {
		struct call_link *link = calls->links[i];
		short found = fds[1 + i].fd >= 0 && fds[1 + i].fd == link->fd ? fds[1 + i].revents : 0;
		if ((found & POLLOUT) != 0)
			call_link_write(link);
		if ((found & ~POLLOUT) != 0 && call_link_wants_bytes(link))
			call_link_read(link);
		if (link->state == CALL_WAITS && link->has_frame)
			begin(calls, link, callers);
	}
	for (size_t i = 0; i < calls->count; i++)
		if (calls->links[i]->state == CALL_WAITS && now_ms() >= calls->links[i]->call_by_ms)
			call_link_lose(calls->links[i]);
	if (count > 0 && fds[0].revents != 0)
		take_in(calls, callers);
	remove_finished(calls);
}

int calls_wait_ms(const struct calls *calls)
{
	int64_t least = -1;
	for (size_t i = 0; i < calls->count; i++) {
		int64_t left = calls->links[i]->call_by_ms - now_ms();
		if (calls->links[i]->state == CALL_WAITS && (least < 0 || left < least))
			least = left > 0 ? left : 0;
	}
	return (int)least;
}

bool calls_on_frame(struct calls *calls, const struct vmrm_frame *frame)
{
	struct call_link *link = find(calls, frame->session);
	if (link == NULL)
		return false;
	call_link_put(link, frame);
	if (frame->type == VMRM_KILL && link->state == CALL_LIVES) {
		link->state = CALL_LEAVES;
		link->has_frame = false;
		call_link_write(link);
	}
	return true;
}

void calls_renew(struct calls *calls)
{
	for (size_t i = 0; i < calls->count; i++)
		calls->links[i]->owes_call = calls->links[i]->state == CALL_LIVES;
}

static bool next_of(struct call_link *link, struct vmrm_frame *frame, uint8_t *scratch)
{
	struct vmrm_tlv_writer fields;
	if (link->owes_close) {
		link->owes_close = false;
		*frame = (struct vmrm_frame){.type = VMRM_CLOSE, .session = link->number};
		return true;
	}
	if (link->state != CALL_LIVES)
		return false;
	if (link->owes_call) {
		link->owes_call = false;
		vmrm_tlv_write_to(&fields, scratch, VMRM_PAYLOAD_MAX_BYTES);
		vmrm_tlv_put_u64(&fields, VMRM_CALL_CALL, link->number);
		vmrm_tlv_put_text(&fields, VMRM_CALL_COMMAND, link->command);
		*frame = (struct vmrm_frame){.type = VMRM_CALL, .session = link->session, .payload = scratch, .length = (uint32_t)fields.length};
		return true;
	}
	if (!call_link_next(link, frame))
		return false;
	/* The caller has everything; that it goes now is no loss. */
	if (frame->type == VMRM_CLOSE) {
		link->state = CALL_LEAVES;
		link->has_frame = false;
		call_link_write(link);
	}
	return true;
}

bool calls_next_frame(struct calls *calls, struct vmrm_frame *frame, uint8_t *scratch)
{
	for (size_t i = 0; i < calls->count; i++) {
		if (calls->next >= calls->count)
			calls->next = 0;
		if (next_of(calls->links[calls->next++], frame, scratch))
			return true;
	}
	return false;
}

void calls_free(struct calls *calls)
{
	for (size_t i = 0; i < calls->count; i++)
		call_link_free(calls->links[i]);
	calls->count = 0;
	if (calls->socket >= 0)
		close(calls->socket);
}
