/* Owns how a session has ended, and ending in the same way. Must never write a core: nothing of this process is of interest. */
#include "ending.h"

#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>
#include <unistd.h>

_Noreturn void ending_follow(struct ending ending)
{
	sigset_t set;
	struct rlimit none = {0, 0};
	if (ending.kind != ENDING_SIGNAL)
		_exit(ending.value);
	setrlimit(RLIMIT_CORE, &none);
	signal(ending.value, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, ending.value);
	raise(ending.value);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	_exit(128 + ending.value);
}
