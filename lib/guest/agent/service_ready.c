/*
 * Owns the one datagram to $NOTIFY_SOCKET (systemd's Type=notify).
 * Must never leave that name in the environment, since tasks must not speak for the agent.
 */
#include "service_ready.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void service_ready(void)
{
	static const char state[] = "READY=1";
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t length = name != NULL ? strlen(name) : 0;
	if (length < 2 || length >= sizeof to.sun_path || (name[0] != '/' && name[0] != '@'))
		return;
	memcpy(to.sun_path, name, length);
	/* The abstract name space. */
	if (name[0] == '@')
		to.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	if (sendto(fd, state, sizeof state - 1, MSG_NOSIGNAL, (struct sockaddr *)&to, size) >= 0)
		unsetenv("NOTIFY_SOCKET");
	close(fd);
}
