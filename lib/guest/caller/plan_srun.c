/* Owns what srun reads and writes here rather than on the host: --input, --output, --error, --multi-prog, --bcast. Must never touch the program's own arguments. */
#include "plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

struct srun_files {
	const char *input, *output, *error;
	bool appends, is_multi_prog, is_bcast, has_job_name;
	const char *bcast; /* --bcast=NAME */
};

static bool is_append(const char *mode)
{
	return mode[0] == 'a' || mode[0] == 'A';
}

/* The variables that srun itself would read for these options; an option wins. They do not act on the host: variables.c. */
static void take_variables(struct srun_files *files)
{
	static const char *const names[][2] = {{"SRUN_INPUT", "SLURM_STDINMODE"}, {"SRUN_OUTPUT", "SLURM_STDOUTMODE"}, {"SRUN_ERROR", "SLURM_STDERRMODE"}};
	const char **const places[] = {&files->input, &files->output, &files->error};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const char *newer = getenv(names[i][0]);
		*places[i] = newer != NULL ? newer : getenv(names[i][1]);
	}
	files->bcast = getenv("SLURM_BCAST");
	files->is_bcast = files->bcast != NULL;
	const char *mode = getenv("SLURM_OPEN_MODE");
	files->appends = mode != NULL && is_append(mode);
}

static int take_option(struct plan *plan, struct srun_files *files, const struct option *option)
{
	const char *name = option->name;
	const char *value = option->value;
	if (value != NULL && (strcmp(name, "prolog") == 0 || strcmp(name, "epilog") == 0) && strcasecmp(value, "none") != 0)
		return plan_error(plan, "--%s would run %s outside the VM; it is not available in one", name, value);
	if (value != NULL && strcmp(name, "input") == 0)
		files->input = value;
	else if (value != NULL && strcmp(name, "output") == 0)
		files->output = value;
	else if (value != NULL && strcmp(name, "error") == 0)
		files->error = value;
	else if (strcmp(name, "bcast") == 0) {
		files->is_bcast = true;
		files->bcast = value;
	} else {
		files->is_multi_prog |= strcmp(name, "multi-prog") == 0;
		files->has_job_name |= strcmp(name, "job-name") == 0;
		plan->takes_terminal |= strcmp(name, "pty") == 0;
		if (value != NULL && strcmp(name, "open-mode") == 0)
			files->appends = is_append(value);
		return plan_add_option(plan, option) ? 0 : plan_error(plan, "%s", strerror(errno));
	}
	return 0;
}

static int open_output(const struct srun_files *files, const char *name)
{
	return open(name, O_WRONLY | O_CREAT | O_CLOEXEC | (files->appends ? O_APPEND : O_TRUNC), 0666);
}

static void add_pair(struct plan *plan, const char *name, const char *value)
{
	struct option option = {.value = value, .is_known = true};
	snprintf(option.name, sizeof option.name, "%s", name);
	plan_add_option(plan, &option);
}

/* What is no plain file stays srun's own. Where only --output is given, it takes stderr too: so srun's /dev/stdout does. */
static int place_files(struct plan *plan, const struct srun_files *files)
{
	plan->takes_stdin = files->input == NULL || strcasecmp(files->input, "none") != 0;
	if (files->input != NULL && !plan_is_file(files->input)) {
		add_pair(plan, "input", files->input);
	} else if (files->input != NULL) {
		plan->in_fd = open(files->input, O_RDONLY | O_CLOEXEC);
		if (plan->in_fd < 0)
			return plan_error(plan, "Could not open stdin file: %s", strerror(errno));
	}
	if (files->output != NULL && plan_is_file(files->output)) {
		plan->out_fd = open_output(files, files->output);
		if (plan->out_fd < 0)
			return plan_error(plan, "Could not open stdout file: %s", strerror(errno));
	}
	if (files->output != NULL)
		add_pair(plan, "output", plan->out_fd >= 0 ? "/dev/stdout" : files->output);
	if (files->error == NULL)
		return 0;
	if (plan->out_fd >= 0 && strcmp(files->error, files->output) == 0) {
		add_pair(plan, "error", "/dev/stdout");
		return 0;
	}
	if (plan_is_file(files->error)) {
		plan->err_fd = open_output(files, files->error);
		if (plan->err_fd < 0)
			return plan_error(plan, "Could not open stderr file: %s", strerror(errno));
	}
	add_pair(plan, "error", plan->err_fd >= 0 ? "/dev/stderr" : files->error);
	return 0;
}

/* The program is copied by a call of sbcast first; then srun starts the copy. */
static int plan_bcast(struct plan *plan, const struct srun_files *files, char **program)
{
	char *target = NULL;
	struct stat status;
	const char *job = getenv("SLURM_JOB_ID");
	plan->bcast_source = plan_find(*program, X_OK, false);
	if (plan->bcast_source == NULL)
		return plan_error(plan, "Can not execute %s", *program);
	const char *slash = strrchr(plan->bcast_source, '/');
	const char *last = slash != NULL ? slash + 1 : plan->bcast_source;
	bool is_named = files->bcast != NULL && files->bcast[0] != '\0';
	bool is_folder = is_named && (files->bcast[strlen(files->bcast) - 1] == '/' || (stat(files->bcast, &status) == 0 && S_ISDIR(status.st_mode)));
	int length = !is_named ? asprintf(&target, "/tmp/slurm_bcast_%s.%d", job != NULL ? job : "0", (int)getpid())
		: is_folder ? asprintf(&target, "%s/%s", files->bcast, last) : asprintf(&target, "%s", files->bcast);
	if (length < 0)
		return plan_error(plan, "%s", strerror(ENOMEM));
	if (!files->has_job_name)
		add_pair(plan, "job-name", last);
	plan->bcast_target = *program = target;
	return 0;
}

int plan_srun(struct plan *plan, int argc, char **argv)
{
	struct srun_files files = {0};
	struct option_walk walk;
	struct option option;
	int code = 0;
	take_variables(&files);
	option_walk_start(&walk, grammar_of("srun"), argc, argv);
	while (code == 0 && option_walk_next(&walk, &option))
		code = take_option(plan, &files, &option);
	if (code == 0)
		code = place_files(plan, &files);
	if (code == 0 && files.is_bcast && walk.at < argc)
		code = plan_bcast(plan, &files, &argv[walk.at]);
	if (code == 0 && files.is_multi_prog && walk.at < argc) {
		int fd = open(argv[walk.at], O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return plan_error(plan, "Unable to open configuration file %s: %s", argv[walk.at], strerror(errno));
		plan_add_file(plan, 0, fd);
	}
	for (int i = walk.at; code == 0 && i < argc; i++)
		plan_add(plan, argv[i]);
	return code;
}
