/* Owns one of Slurm's commands as a process in the guest sees it. Must never run the command itself. */
#include "caller.h"
#include "call.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* srun --bcast: the call of sbcast that comes first. */
static struct ending copy_program(const struct plan *plan)
{
	struct plan copy;
	char *argv[] = {"sbcast", "--force", "--", (char *)(uintptr_t)plan->bcast_source, (char *)(uintptr_t)plan->bcast_target, NULL};
	int code = plan_make(&copy, "sbcast", 5, argv);
	if (code != 0)
		return (struct ending){ENDING_EXIT, code};
	int old = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	dup2(copy.in_fd, STDIN_FILENO);
	close(copy.in_fd);
	struct ending ending = call_run(&copy);
	if (old >= 0) {
		dup2(old, STDIN_FILENO);
		close(old);
	} else {
		close(STDIN_FILENO);
	}
	return ending;
}

/* What is opened here takes the place of stdin, stdout or stderr. */
static void place_files(const struct plan *plan)
{
	const int from[3] = {plan->in_fd, plan->out_fd, plan->err_fd};
	for (int fd = 0; fd < 3; fd++) {
		if (from[fd] < 0)
			continue;
		dup2(from[fd], fd);
		close(from[fd]);
	}
}

_Noreturn void caller_main(int argc, char **argv)
{
	struct plan plan;
	const char *slash = strrchr(argv[0], '/');
	/* A closed descriptor below 3 would be taken by the next file. */
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			_exit(1);
	int code = plan_make(&plan, slash != NULL ? slash + 1 : argv[0], argc, argv);
	if (code != 0)
		_exit(code);
	if (plan.bcast_source != NULL) {
		struct ending copied = copy_program(&plan);
		if (copied.kind != ENDING_EXIT || copied.value != 0)
			ending_follow(copied);
	}
	place_files(&plan);
	ending_follow(call_run(&plan));
}
