/*
 * Owns what happens between fork and exec: group, script, limits, user, folder, look-up of the command.
 * Must never reach exec with a right, a file descriptor or a signal disposition of the agent's.
 */
#include "child.h"

#include "script.h"
#include "temporary_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

static _Noreturn void fail(int status, enum spawn_stage stage, int error)
{
	struct spawn_failure failure = {(int32_t)stage, error};
	ssize_t written = write(status, &failure, sizeof failure);
	_exit(written == (ssize_t)sizeof failure ? 127 : 126);
}

/* Closes all fds from `first` to `last`, whatever of that is open. */
static void close_from(unsigned first, unsigned last)
{
	if (first > last || close_range(first, last, 0) == 0)
		return;
	for (unsigned fd = first; fd <= last && fd < 65536; fd++)
		close((int)fd);
}

/* Puts fds at 0, 1, 2, the status at 3 and the wire at its number; closes all others. Returns the status fd, or -1. */
static int arrange_fds(const struct task_ends *ends, int wire_fd, int wire_number)
{
	int high[4], wire_high = -1;
	const int from[4] = {ends->in, ends->out, ends->err, ends->status};
	/* First out of the way of the numbers they must get. */
	for (int i = 0; i < 4; i++)
		if ((high[i] = fcntl(from[i], F_DUPFD, 10)) < 0)
			return -1;
	if (wire_fd >= 0 && (wire_high = fcntl(wire_fd, F_DUPFD, SPEC_WIRE_LAST + 1)) < 0)
		return -1;
	for (int i = 0; i < 4; i++)
		if (dup2(high[i], i) < 0)
			return -1;
	if (fcntl(3, F_SETFD, FD_CLOEXEC) != 0)
		return -1;
	if (wire_high >= 0 && dup2(wire_high, wire_number) < 0)
		return -1;
	close_from(4, wire_high >= 0 ? (unsigned)wire_number - 1 : ~0u);
	if (wire_high >= 0)
		close_from((unsigned)wire_number + 1, ~0u);
	return 3;
}

static void reset_signals(void)
{
	sigset_t none;
	for (int number = 1; number <= SIGRTMAX; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The agent is protected from the kernel's out-of-memory killer; a task is what it should find. */
static void reset_oom_score(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "0", 1) != 1)
		fprintf(stderr, "vmrm-agent: cannot give up the protection from the out-of-memory killer\n");
	close(fd);
}

static struct rlimit first_files;
static int first_nice, first_policy;

void child_keep_limits(void)
{
	getrlimit(RLIMIT_NOFILE, &first_files);
	first_nice = getpriority(PRIO_PROCESS, 0);
	first_policy = sched_getscheduler(0);
}

static void set_limits(const struct spec *spec)
{
	setrlimit(RLIMIT_NOFILE, &first_files);
	if (getpriority(PRIO_PROCESS, 0) != first_nice)
		setpriority(PRIO_PROCESS, 0, first_nice);
	if (sched_getscheduler(0) != first_policy)
		sched_setscheduler(0, first_policy, &(struct sched_param){0});
	for (size_t i = 0; i < spec->limit_count; i++) {
		struct rlimit wanted = spec->limits[i].value, have;
		if (setrlimit((__rlimit_resource_t)spec->limits[i].resource, &wanted) == 0)
			continue;
		/* The kernel's own maximum is lower (e.g. fs.nr_open): as near as it gets. */
		if (getrlimit((__rlimit_resource_t)spec->limits[i].resource, &have) != 0)
			continue;
		wanted.rlim_max = have.rlim_max;
		if (wanted.rlim_cur > wanted.rlim_max)
			wanted.rlim_cur = wanted.rlim_max;
		setrlimit((__rlimit_resource_t)spec->limits[i].resource, &wanted);
	}
}

static bool become_user(const struct account *account)
{
	if (account->is_own)
		return true;
	return setgroups(account->group_count, account->groups) == 0 && setresgid(account->gid, account->gid, account->gid) == 0 &&
		setresuid(account->uid, account->uid, account->uid) == 0;
}

/* As slurmstepd does: a folder that cannot be entered is no reason to fail. */
static void enter_folder(const struct spec *spec, int status)
{
	if (spec->cwd == NULL ? chdir("/") == 0 : chdir(spec->cwd) == 0)
		return;
	const char *why = strerrordesc_np(errno);
	if (spec->cwd_else != NULL && chdir(spec->cwd_else) == 0)
		return;
	dprintf(2, "vmrm: error: couldn't chdir to `%s': %s: going to /tmp instead\n", spec->cwd != NULL ? spec->cwd : "/", why != NULL ? why : "unknown error");
	if (chdir("/tmp") != 0 && chdir("/") != 0)
		fail(status, SPAWN_SETUP, errno);
}

/* Execs the command, looked up in the task's own PATH; returns the errno that tells most. */
static int exec_command(const struct spec *spec)
{
	const char *name = spec->program != NULL ? spec->program : spec->argv[0];
	const char *path = spec_getenv(spec, "PATH");
	char candidate[4096 + 256];
	int error = ENOENT;
	if (strchr(name, '/') != NULL) {
		execve(name, spec->argv, spec->envp);
		return errno;
	}
	if (*name == '\0')
		return ENOENT;
	for (const char *at = path != NULL ? path : DEFAULT_PATH;; at++) {
		size_t length = strcspn(at, ":");
		/* An empty part means the working folder. */
		int used = snprintf(candidate, sizeof candidate, "%.*s%s%s", (int)length, at, length > 0 ? "/" : "./", name);
		if (length < 4096 && used > 0 && (size_t)used < sizeof candidate) {
			execve(candidate, spec->argv, spec->envp);
			if (errno == EACCES)
				error = EACCES;
			else if (errno != ENOENT && errno != ENOTDIR)
				return errno;
		}
		at += length;
		if (*at == '\0')
			return error;
	}
}

_Noreturn void child_run(const struct spawn_request *request, const struct task_group *group, const struct task_ends *ends)
{
	const struct spec *spec = request->spec;
	/* Its own session first, so that a signal to the group or its processes finds it. */
	setsid();
	reset_signals();
	if (!group_enter(group))
		fail(ends->status, SPAWN_SETUP, errno);
	int status = arrange_fds(ends, request->wire_fd, spec->wire_number);
	if (status < 0)
		fail(ends->status, SPAWN_SETUP, errno);
	if (!request->account->is_own)
		reset_oom_score();
	if (spec->has_terminal)
		ioctl(0, TIOCSCTTY, 0);
	int error = spec->script_path != NULL ? script_write(spec, request->account->uid, request->account->gid) : 0;
	if (error != 0)
		fail(status, SPAWN_SCRIPT, error);
	set_limits(spec);
	if (spec->has_cpus)
		sched_setaffinity(0, sizeof spec->cpus, &spec->cpus);
	if (!become_user(request->account))
		fail(status, SPAWN_USER, errno);
	umask(spec->umask & 0777);
	enter_folder(spec, status);
	if (!request->account->is_own)
		temporary_folder_make(spec);
	fail(status, SPAWN_EXEC, exec_command(spec));
}
