/* Owns `vmrm-run --hold`: what salloc runs on the host while its command runs in the guest. Must never run anything itself. */
#include "say.h"
#include "serve_hold.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

extern char **environ;

static bool send_all(int fd, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t count = send(fd, bytes, length, MSG_NOSIGNAL);
		if (count < 0 && errno != EINTR)
			return false;
		if (count > 0) {
			bytes += count;
			length -= (size_t)count;
		}
	}
	return true;
}

static bool send_environment(int fd)
{
	for (char **entry = environ; *entry != NULL; entry++)
		if (**entry != '\0' && !send_all(fd, *entry, strlen(*entry) + 1))
			return false;
	return send_all(fd, "", 1);
}

/* All that salloc sends to its command goes to the guest; nothing of it acts here. */
static int open_signals(void)
{
	sigset_t set;
	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int connect_server(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (strlen(path) >= sizeof address.sun_path || fd < 0)
		return -1;
	strcpy(address.sun_path, path);
	return connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? fd : -1;
}

struct ending hold_main(const char *path)
{
	struct signalfd_siginfo info;
	uint8_t byte, end[2];
	int signals = open_signals();
	int fd = connect_server(path);
	if (signals < 0 || fd < 0 || !send_environment(fd)) {
		say("the VM that asked for this allocation cannot be told of it: %s", strerror(errno));
		return (struct ending){ENDING_EXIT, EXIT_UNAVAILABLE};
	}
	for (;;) {
		struct pollfd fds[] = {{.fd = signals, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
		if (poll(fds, 2, -1) < 0)
			continue;
		while (read(signals, &info, sizeof info) == (ssize_t)sizeof info) {
			byte = (uint8_t)info.ssi_signo;
			if (byte != SIGCHLD && byte != SIGCONT)
				send_all(fd, (const char *)&byte, 1);
		}
		if (fds[1].revents != 0)
			/* The server's end without a code is the end of the VM's side. */
			return recv(fd, end, sizeof end, MSG_WAITALL) != sizeof end ? (struct ending){ENDING_EXIT, EXIT_UNAVAILABLE}
				: (struct ending){end[0] != 0 ? ENDING_SIGNAL : ENDING_EXIT, end[1]};
	}
}
