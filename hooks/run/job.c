/*
 * Owns the reading of the command line and of Slurm's variables: [--job ID] [--vm N] [--as prolog] [--socket PATH] [--give-up SECONDS] -- ARGV…
 * Must never believe them: they are the user's, so vmrmd checks the job against the uid that the kernel tells it.
 */
#include "job.h"
#include "say.h"

#include "../spank/step-options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SOCKET "/run/vmrm/task.sock"
#define DEFAULT_GIVE_UP_MS 60000u
/* `vmrm exec` says with it which of the node's VMs its one task is for. */
#define VM_VARIABLE "VMRM_EXEC_VM"
/* Slurm's numbers for steps that are not srun's (slurm.h). */
#define STEP_INTERACTIVE 4294967290u

static bool read_u32(const char *text, uint32_t *value)
{
	char *end = NULL;
	if (text == NULL || *text < '0' || *text > '9')
		return false;
	errno = 0;
	unsigned long n = strtoul(text, &end, 10);
	if (errno != 0 || *end != '\0' || n > UINT32_MAX)
		return false;
	*value = (uint32_t)n;
	return true;
}

uint32_t job_tasks_on_node(const char *counts, uint32_t index)
{
	uint64_t before = 0;
	while (counts != NULL && *counts >= '0' && *counts <= '9') {
		char *end = NULL;
		unsigned long count = strtoul(counts, &end, 10);
		unsigned long nodes = 1;
		if (strncmp(end, "(x", 2) == 0) {
			nodes = strtoul(end + 2, &end, 10);
			if (*end == ')')
				end++;
		}
		before += nodes;
		if (index < before)
			return (uint32_t)count;
		counts = *end == ',' ? end + 1 : NULL;
	}
	return 0;
}

static int read_options(struct job *job, int argc, char **argv)
{
	int at = 1;
	uint32_t seconds = 0;
	for (; at < argc && strcmp(argv[at], "--") != 0; at += 2) {
		const char *value = at + 1 < argc ? argv[at + 1] : NULL;
		if (value != NULL && strcmp(argv[at], "--job") == 0) {
			job->id = value;
		} else if (strcmp(argv[at], "--vm") == 0 && read_u32(value, &job->vm)) {
			job->has_vm = true;
		} else if (value != NULL && strcmp(argv[at], "--as") == 0 && strcmp(value, "prolog") == 0) {
			job->is_prolog = true;
		} else if (value != NULL && strcmp(argv[at], "--socket") == 0) {
			job->socket_path = value;
		} else if (strcmp(argv[at], "--give-up") == 0 && read_u32(value, &seconds)) {
			job->give_up_ms = seconds * 1000u;
		} else {
			say("vmrm-run cannot use the option %s", argv[at]);
			return EXIT_USAGE;
		}
	}
	if (at + 1 >= argc) {
		say("vmrm-run needs a command: vmrm-run [--job ID] [--vm N] -- COMMAND [ARGUMENT…]");
		return EXIT_USAGE;
	}
	job->argv = argv + at + 1;
	job->argc = argc - at - 1;
	return 0;
}

/* A variable that was for us, not for the task. */
static const char *take_variable(const char *name)
{
	const char *value = getenv(name);
	unsetenv(name);
	return value != NULL && *value != '\0' ? value : NULL;
}

/* What the plug-in says of srun's and sbatch's options. */
static void read_told(struct job *job)
{
	job->folder = take_variable(FOLDER_VARIABLE);
	job->is_bcast = take_variable(BCAST_VARIABLE) != NULL;
	job->task_prolog = take_variable(TASK_PROLOG_VARIABLE);
	job->task_epilog = take_variable(TASK_EPILOG_VARIABLE);
}

static void read_place(struct job *job)
{
	const char *step = getenv("SLURM_STEP_ID");
	const char *counts = getenv("SLURM_STEP_TASKS_PER_NODE");
	uint32_t node = 0;
	uint32_t number = 0;
	/* Slurm 22.05 sets SLURM_STEP_ID for every step but the batch script's. */
	if (step != NULL && !job->has_vm)
		job->has_vm = read_u32(getenv(VM_VARIABLE), &job->vm);
	unsetenv(VM_VARIABLE);
	job->is_batch = step == NULL && !job->has_vm;
	read_u32(getenv("SLURM_PROCID"), &job->rank);
	read_u32(getenv("SLURM_NODEID"), &node);
	if (job->is_batch || !read_u32(getenv("SLURM_LOCALID"), &job->local_id)) {
		job->local_id = 0;
		job->local_count = 1;
	} else {
		job->local_count = job_tasks_on_node(counts != NULL ? counts : getenv("SLURM_TASKS_PER_NODE"), node);
	}
	if (job->local_count <= job->local_id)
		job->local_count = job->local_id + 1;
	if (job->is_batch)
		snprintf(job->step, sizeof job->step, "batch");
	else if (step == NULL)
		snprintf(job->step, sizeof job->step, "exec");
	else if (read_u32(step, &number) && number == STEP_INTERACTIVE)
		snprintf(job->step, sizeof job->step, "interactive");
	else if (read_u32(step, &number))
		snprintf(job->step, sizeof job->step, "%u.%u", number, job->rank);
}

int job_read(struct job *job, int argc, char **argv)
{
	uint32_t number = 0;
	memset(job, 0, sizeof *job);
	job->socket_path = DEFAULT_SOCKET;
	job->give_up_ms = DEFAULT_GIVE_UP_MS;
	job->id = getenv("SLURM_JOB_ID");
	int code = read_options(job, argc, argv);
	if (code != 0)
		return code;
	/* b7 is a batch: VMs without a job. */
	if (!read_u32(job->id != NULL && *job->id == 'b' ? job->id + 1 : job->id, &number) || number == 0) {
		say("vmrm-run knows no job: neither --job nor SLURM_JOB_ID names one");
		return EXIT_USAGE;
	}
	read_place(job);
	read_told(job);
	if (job->task_epilog != NULL) {
		say("--task-epilog=%s would run outside the job's VMs: leave it out, and let the step's own command do at its end what it is for",
			job->task_epilog);
		return EXIT_REQUEST;
	}
	return 0;
}
