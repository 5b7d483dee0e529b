/*
 * Owns the one setting of the kernel's about that, and the start of modprobe.
 * Must never wait longer than the one who is killed when it takes too long.
 */
#include "nfs_modules.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOADER "/proc/sys/kernel/modprobe"

/*
 * The kernel would start modprobe itself, at a priority at which it waits for all that boots beside it: with systemd's units on
 * one CPU for 20 s.
 */
void nfs_load_modules(void)
{
	if (access("/sys/module/nfsv4", F_OK) == 0)
		return;
	pid_t child = fork();
	if (child == 0) {
		execl("/sbin/modprobe", "modprobe", "-q", "nfsv4", (char *)NULL);
		_exit(127);
	}
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

static bool set_loader(const char *program)
{
	int fd = open(LOADER, O_WRONLY | O_CLOEXEC);
	/* A line, since nothing at all would leave what is there. */
	bool done = fd >= 0 && write(fd, program, strlen(program)) == (ssize_t)strlen(program);
	if (fd >= 0)
		close(fd);
	return done;
}

void module_loading_hold(struct held_loading *held)
{
	int fd = open(LOADER, O_RDONLY | O_CLOEXEC);
	ssize_t count = fd >= 0 ? read(fd, held->program, sizeof held->program - 1) : 0;
	if (fd >= 0)
		close(fd);
	held->program[count > 0 ? count : 0] = '\0';
	if (held->program[0] != '\0' && !set_loader("\n"))
		held->program[0] = '\0';
}

void module_loading_release(const struct held_loading *held)
{
	if (held->program[0] != '\0' && !set_loader(held->program))
		agent_log("the kernel loads no modules any more: %s\n", strerrordesc_np(errno));
}
