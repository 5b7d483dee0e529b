/* Owns what a task is to run, as the bytes of the spec stream. Must never interpret the command, and never send a variable that only a host has. */
#include "task_spec.h"
#include "bcast.h"
#include "limits.h"
#include "messages.h"
#include "multi_prog.h"
#include "say.h"
#include "variables.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

/* Where the agent puts the host files; see docs/internals/guest-channel.md. */
static const char *const host_files[] = {"VMRM_HOSTFILE=/run/vmrm/hostfile", "VMRM_MACHINEFILE=/run/vmrm/machinefile"};
#define HOST_FILES (sizeof host_files / sizeof *host_files)

static bool is_host_file(const char *entry)
{
	for (size_t i = 0; i < HOST_FILES; i++)
		if (strncmp(entry, host_files[i], strcspn(host_files[i], "=") + 1) == 0)
			return true;
	return false;
}

/* What a call brought out of a guest under another name gets its own again; what is set otherwise by now stays so. */
static bool is_taken_back(const char *entry)
{
	return strcmp(entry, "PATH=" CALL_PATH) == 0 && getenv(GUEST_PREFIX "PATH") != NULL;
}

static const char *own_name(const char *entry)
{
	char name[256];
	if (strncmp(entry, GUEST_PREFIX, GUEST_PREFIX_LENGTH) != 0)
		return entry;
	const char *own = entry + GUEST_PREFIX_LENGTH;
	size_t length = strcspn(own, "=");
	if (!variable_is_guest_only(own) || length >= sizeof name)
		return NULL;
	memcpy(name, own, length);
	name[length] = '\0';
	const char *now = getenv(name);
	bool is_free = now == NULL || (strcmp(name, "PATH") == 0 && strcmp(now, CALL_PATH) == 0);
	return is_free ? own : NULL;
}

static bool put_environment(struct spec_bytes *spec, const struct mpi *mpi)
{
	char room[4096];
	for (size_t i = 0; i < HOST_FILES; i++)
		if (!spec_bytes_put_text(spec, VMRM_SPEC_ENV, host_files[i]))
			return false;
	for (char **entry = environ; *entry != NULL; entry++) {
		/* The kernel lets an entry have no "="; it is no variable. */
		if (strchr(*entry, '=') == NULL || is_host_file(*entry))
			continue;
		if (limits_is_variable(*entry) || is_taken_back(*entry))
			continue;
		const char *own = own_name(*entry);
		const char *text = own != NULL ? mpi_variable(mpi, own, room, sizeof room) : NULL;
		if (text != NULL && !spec_bytes_put_text(spec, VMRM_SPEC_ENV, text))
			return false;
	}
	/* slurmstepd sets it after task_init, too late for us. */
	const char *temporary = "TMPDIR=/tmp";
	return getenv("TMPDIR") != NULL || spec_bytes_put(spec, VMRM_SPEC_ENV, temporary, strlen(temporary));
}

static bool put_place(struct spec_bytes *spec, const struct job *job)
{
	char *cwd = getcwd(NULL, 0);
	mode_t mask = umask(0);
	umask(mask);
	const char *slurm = getenv("SLURM_UMASK");
	bool fits = spec_bytes_put_umask(spec, slurm != NULL ? (unsigned)strtoul(slurm, NULL, 8) & 0777u : mask);
	bool has_own = job->folder != NULL && (cwd == NULL || strcmp(job->folder, cwd) != 0);
	if (fits && has_own)
		fits = spec_bytes_put_text(spec, VMRM_SPEC_CWD, job->folder);
	/* slurmstepd has said that it goes to /tmp instead; once is enough. */
	bool has_complained = cwd != NULL && strcmp(cwd, "/tmp") == 0;
	if (fits && cwd != NULL && (!has_own || has_complained))
		fits = spec_bytes_put_text(spec, VMRM_SPEC_CWD, cwd);
	free(cwd);
	return fits;
}

/* What lies on the node's disk alone, as a batch script in slurmd's spool: its bytes go along. Returns 0 or an errno; E2BIG: too large. */
static int put_script(struct spec_bytes *spec, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	int error = spec_bytes_put_text(spec, VMRM_SPEC_SCRIPT_PATH, path) ? spec_bytes_put_file(spec, VMRM_SPEC_SCRIPT_BYTES, NULL, 0, fd) : E2BIG;
	close(fd);
	return error;
}

/* The task's own arguments; NULL where --multi-prog names none for it. */
static char **arguments_of(const struct job *job, int *argc)
{
	*argc = job->argc;
	if (job->is_batch || job->has_vm || !multi_prog_is(job->argc))
		return job->argv;
	return multi_prog_arguments(job->argv[1], job->rank, argc);
}

const char *task_spec_command(const struct job *job)
{
	int argc;
	char **argv = arguments_of(job, &argc);
	return argv != NULL && argc > 0 ? argv[0] : job->argv[0];
}

/* Without a PATH slurmstepd (22.05) looks in the working folder alone. */
static bool is_looked_for_here(const struct job *job, const char *command)
{
	return !job->has_vm && *command != '\0' && strchr(command, '/') == NULL && getenv("PATH") == NULL;
}

static int put_command(struct spec_bytes *spec, const struct job *job)
{
	int argc;
	char **argv = arguments_of(job, &argc);
	if (argv == NULL) {
		say("the --multi-prog configuration %s names no program for task %u", job->argv[0], job->rank);
		return ENOENT;
	}
	for (int i = 0; i < argc; i++) {
		char here[4096];
		bool is_here = i == 0 && is_looked_for_here(job, argv[0]) && (size_t)snprintf(here, sizeof here, "./%s", argv[0]) < sizeof here;
		const char *word = is_here ? here : argv[i];
		if (!spec_bytes_put(spec, VMRM_SPEC_ARG, word, strlen(word)))
			return E2BIG;
	}
	return 0;
}

int task_spec_build(struct spec_bytes *spec, const struct task_request *request)
{
	char *copied_program = bcast_program(request->job);
	if (copied_program != NULL)
		request->job->argv[0] = copied_program;
	int error = put_command(spec, request->job);
	if (error == ENOENT)
		return 2; /* what slurmstepd exits with then */
	if (error == 0 && (request->job->is_batch || copied_program != NULL))
		error = put_script(spec, request->job->argv[0]);
	if (error != 0 && error != E2BIG) {
		say("%s %s cannot be read: %s", copied_program != NULL ? "the program that --bcast copied to" : "the batch script", request->job->argv[0],
			strerror(error));
		return EXIT_UNAVAILABLE;
	}
	if (error == E2BIG && copied_program != NULL) {
		say("--bcast brings programs of up to %u MB into a VM, and this one is larger: copy it with vmrm sbcast, and run the copy", SPEC_BYTES_MAX >> 20);
		return EXIT_REQUEST;
	}
	bool fits = error == 0 && put_place(spec, request->job) && limits_put(spec) && put_environment(spec, request->mpi) && mpi_put(request->mpi, spec);
	if (fits && request->cpus != NULL)
		fits = spec_bytes_put(spec, VMRM_SPEC_CPUS, request->cpus, strlen(request->cpus));
	if (fits && request->terminal != NULL)
		fits = spec_bytes_put_terminal(spec, request->terminal);
	if (fits && !request->has_stdin)
		fits = spec_bytes_put(spec, VMRM_SPEC_STDIN, "null", 4);
	if (!fits) {
		say("script, arguments and environment of this task are larger than %u MB together; a VM cannot take them", SPEC_BYTES_MAX >> 20);
		return EXIT_REQUEST;
	}
	return 0;
}
