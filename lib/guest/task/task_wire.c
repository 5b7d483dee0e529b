/*
 * Owns the making of a task's wire: a socket that it inherits, or a server's port on the loopback.
 * Must never listen where another machine could reach it.
 */
#include "account.h"
#include "spec.h"
#include "task.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool open_pair(struct task *task, int *task_end)
{
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return false;
	wire_inherit(&task->wire, ends[0]);
	*task_end = ends[1];
	return true;
}

/* In variables whose names begin with wire_prefix, puts `address` in the place of wire_address. */
static bool rename_server(struct spec *spec, const char *address)
{
	size_t prefix = strlen(spec->wire_prefix), old = strlen(spec->wire_address), room = 0;
	char **entry;
	for (entry = spec->envp; *entry != NULL; entry++)
		if (strncmp(*entry, spec->wire_prefix, prefix) == 0 && strstr(*entry, spec->wire_address) != NULL)
			room += strlen(*entry) + strlen(address) + 1;
	char *next = spec->renamed = malloc(room + 1);
	if (next == NULL)
		return false;
	for (entry = spec->envp; *entry != NULL; entry++) {
		const char *at = strncmp(*entry, spec->wire_prefix, prefix) == 0 ? strstr(*entry, spec->wire_address) : NULL;
		if (at == NULL)
			continue;
		int length = sprintf(next, "%.*s%s%s", (int)(at - *entry), *entry, address, at + old);
		*entry = next;
		next += length + 1;
	}
	return true;
}

static bool open_server(struct task *task, struct spec *spec)
{
	char address[32];
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof here;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	wire_listen(&task->wire, fd);
	if (bind(fd, (struct sockaddr *)&here, sizeof here) != 0 || listen(fd, WIRE_ENDS_MAX) != 0 ||
	    getsockname(fd, (struct sockaddr *)&here, &length) != 0)
		return false;
	snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)ntohs(here.sin_port));
	return rename_server(spec, address);
}

bool task_open_wire(struct task *task, struct spec *spec, int *task_end)
{
	*task_end = -1;
	if (spec->wire_number >= 0)
		return open_pair(task, task_end);
	return spec->wire_address == NULL || open_server(task, spec);
}
