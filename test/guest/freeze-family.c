/*
 * As the first process of a PID namespace: starts a family, stops it as a template's agent does, and says what became of it.
 * Must never run elsewhere: it would stop the machine's own processes.
 */
#include "freeze.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char state_of(pid_t pid)
{
	char path[32], state = '?';
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	FILE *file = fopen(path, "re");
	if (file == NULL || fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = '?';
	if (file != NULL)
		fclose(file);
	return state;
}

/* A signal that stops a process, or lets it go on, does so a moment later. */
static void say(const char *when, const pid_t *family, int count, const char *wanted)
{
	struct timespec moment = {.tv_nsec = 1000000};
	printf("%s ", when);
	for (int i = 0; i < count; i++) {
		for (int look = 0; look < 20000 && state_of(family[i]) != wanted[i]; look++)
			nanosleep(&moment, NULL);
		putchar(state_of(family[i]));
	}
	putchar('\n');
}

int main(int count, char **unused)
{
	pid_t family[16];
	struct complaint complaint = {0};
	(void)unused;
	if (getpid() != 1 || count < 2 || count > 16)
		return 2;
	for (int i = 0; i < count; i++) {
		family[i] = fork();
		while (family[i] == 0)
			pause();
	}
	/* One that somebody else has stopped. */
	kill(family[0], SIGSTOP);
	say("before", family, count, "TSSSSSSSSSSSSSSS");
	bool done = freeze_others(&complaint);
	say(done ? "frozen" : "refused", family, count, done ? "TTTTTTTTTTTTTTTT" : "TSSSSSSSSSSSSSSS");
	thaw_others();
	say("thawed", family, count, "TSSSSSSSSSSSSSSS");
	if (!done)
		puts(complaint.text);
	for (int i = 0; i < count; i++)
		kill(family[i], SIGKILL);
	while (wait(NULL) > 0)
		;
	return 0;
}
