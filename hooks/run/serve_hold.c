/* Owns the server's end of the way to `vmrm-run --hold`. Must never run anything: the command runs in the guest. */
#include "serve_hold.h"
#include "messages.h"
#include "tlv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void hold_init(struct hold *hold)
{
	*hold = (struct hold){.listener = -1, .fd = -1};
}

bool hold_listen(struct hold *hold, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return false;
	}
	strcpy(address.sun_path, path);
	hold->bytes = malloc(HOLD_ENVIRONMENT_BYTES);
	hold->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return hold->bytes != NULL && hold->listener >= 0 && bind(hold->listener, (struct sockaddr *)&address, sizeof address) == 0 &&
		listen(hold->listener, 1) == 0;
}

int hold_fd(const struct hold *hold)
{
	return hold->fd >= 0 ? hold->fd : hold->listener;
}

static void take_signals(struct hold *hold, const uint8_t *numbers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (numbers[i] > 0 && numbers[i] <= 64)
			hold->signals |= UINT64_C(1) << (numbers[i] - 1);
}

/* Where the environment's bytes end: behind an empty text. 0: not yet. */
static size_t end_of_environment(const struct hold *hold)
{
	if (hold->length > 0 && hold->bytes[0] == '\0')
		return 1;
	for (size_t i = 1; i < hold->length; i++)
		if (hold->bytes[i] == '\0' && hold->bytes[i - 1] == '\0')
			return i + 1;
	return 0;
}

static void take_environment(struct hold *hold)
{
	size_t end = end_of_environment(hold);
	if (end == 0)
		return;
	hold->has_environment = hold->owes_held = true;
	take_signals(hold, (const uint8_t *)hold->bytes + end, hold->length - end);
	hold->length = end;
}

static void lose(struct hold *hold)
{
	close(hold->fd);
	hold->fd = -1;
}

void hold_read(struct hold *hold)
{
	uint8_t numbers[64];
	if (hold->fd < 0) {
		hold->fd = accept4(hold->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (hold->fd < 0)
			return;
		close(hold->listener);
		hold->listener = -1;
	}
	size_t room = HOLD_ENVIRONMENT_BYTES - hold->length;
	ssize_t count = hold->has_environment ? read(hold->fd, numbers, sizeof numbers) : room > 0 ? read(hold->fd, hold->bytes + hold->length, room) : 0;
	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (count <= 0) {
		lose(hold);
	} else if (hold->has_environment) {
		take_signals(hold, numbers, (size_t)count);
	} else {
		hold->length += (size_t)count;
		take_environment(hold);
	}
}

static bool has_entry(char *const *list, const char *entry)
{
	for (; *list != NULL; list++)
		if (strcmp(*list, entry) == 0)
			return true;
	return false;
}

static bool has_variable(const struct hold *hold, const char *name, size_t length)
{
	for (const char *at = hold->bytes; *at != '\0'; at += strlen(at) + 1)
		if (strncmp(at, name, length) == 0 && at[length] == '=')
			return true;
	return false;
}

bool hold_put(const struct hold *hold, char *const *given, struct vmrm_tlv_writer *fields)
{
	for (const char *at = hold->bytes; *at != '\0'; at += strlen(at) + 1)
		if (!has_entry(given, at))
			vmrm_tlv_put_text(fields, VMRM_HELD_ENV, at);
	for (; *given != NULL; given++) {
		size_t length = strcspn(*given, "=");
		if (!has_variable(hold, *given, length))
			vmrm_tlv_put(fields, VMRM_HELD_UNSET, *given, length);
	}
	return !fields->overflow;
}

void hold_release(struct hold *hold, struct ending ending)
{
	const uint8_t bytes[2] = {ending.kind == ENDING_SIGNAL, (uint8_t)ending.value};
	if (hold->fd >= 0)
		send(hold->fd, bytes, sizeof bytes, MSG_NOSIGNAL);
}

void hold_free(struct hold *hold)
{
	if (hold->listener >= 0)
		close(hold->listener);
	if (hold->fd >= 0)
		close(hold->fd);
	free(hold->bytes);
}
