/*
 * Owns the translation between signal numbers and names.
 * Must never accept a number for a name.
 */
#include "signal_name.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

void signal_name(int number, char *out, size_t room)
{
	const char *name = sigabbrev_np(number);
	if (name != NULL)
		snprintf(out, room, "%s", name);
	else
		snprintf(out, room, "RTMIN+%d", number - SIGRTMIN);
}

int signal_number(const struct vmrm_tlv *name)
{
	for (int number = 1; number <= SIGRTMAX; number++) {
		char candidate[24];
		if (sigabbrev_np(number) == NULL && number < SIGRTMIN)
			continue;
		signal_name(number, candidate, sizeof candidate);
		if (vmrm_tlv_is(name, candidate))
			return number;
	}
	return 0;
}
