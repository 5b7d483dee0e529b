/*
 * Owns what the agent's process has and no task's: it is not killed for memory, may open many files, and goes before them to a CPU.
 * Must never hand any of it on: a task has the limits that the agent was started with (child_keep_limits).
 */
#include "protection.h"

#include "child.h"
#include "log.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define NICE (-15)

void protect(void)
{
	struct rlimit files = {65536, 65536};
	child_keep_limits();
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "-1000", 5) != 5)
		agent_log("cannot be protected from the out-of-memory killer\n");
	if (fd >= 0)
		close(fd);
	setrlimit(RLIMIT_NOFILE, &files);
	/*
	 * What a task does must not keep its output from leaving. But it must not be taken off its CPU at each of its writes, for a
	 * frame of these few bytes: the agent waits until the task does, or for the kernel's next tick.
	 */
	setpriority(PRIO_PROCESS, 0, NICE);
	sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
	/* Orphans of a session come to us and not to an init that may reap late. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}
