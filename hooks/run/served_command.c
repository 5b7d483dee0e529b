/* Owns what a call becomes on the host: program, arguments and folder. Must never let the guest choose the program. */
#include "served_command.h"
#include "grammar.h"
#include "served_environment.h"
#include "served_files.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_named(const struct served_command *command, const char *name)
{
	return strcmp(command->name, name) == 0;
}

static bool starts(const char *word, const char *with)
{
	return strncmp(word, with, strlen(with)) == 0;
}

/*
 * Whether srun might find its --prolog or --epilog behind this word, where the walk has not looked: a word that the walk took for the program can be
 * the value of an option it does not know, and behind ":" options begin anew. A "--" ends the options, unless it can be an option's value.
 */
static bool may_hide_program(const struct spec *spec, size_t at, bool ends_at_dashes)
{
	for (; at < spec->argc; at++) {
		const char *word = spec->argv[at];
		if (starts(word, "--prol") || starts(word, "--ep"))
			return true;
		if (ends_at_dashes && strcmp(word, "--") == 0 && spec->argv[at - 1][0] != '-')
			return false;
	}
	return false;
}

static bool has_hidden_program(const struct spec *spec, size_t first_unknown)
{
	for (size_t i = 1; i < spec->argc; i++)
		if (strcmp(spec->argv[i], ":") == 0)
			return may_hide_program(spec, i, false) || (first_unknown > 0 && may_hide_program(spec, first_unknown, true));
	return first_unknown > 0 && may_hide_program(spec, first_unknown, true);
}

/* srun runs its own --prolog and --epilog where it runs itself. */
static const char *check_srun(const struct spec *spec)
{
	static const char *const refused = "srun would run its --prolog and --epilog outside the VM; they are not available in one";
	struct option_walk walk;
	struct option option;
	size_t first_unknown = 0;
	option_walk_start(&walk, grammar_of("srun"), (int)spec->argc, spec->argv);
	for (int at = walk.at; option_walk_next(&walk, &option); at = walk.at) {
		if (!option.is_known && first_unknown == 0 && strchr(spec->argv[at], '=') == NULL)
			first_unknown = (size_t)walk.at;
		bool is_program = strcmp(option.name, "prolog") == 0 || strcmp(option.name, "epilog") == 0;
		if (is_program && option.value != NULL && strcasecmp(option.value, "none") != 0)
			return refused;
	}
	if (has_hidden_program(spec, first_unknown))
		return refused;
	static const char *const variables[] = {"SLURM_PROLOG", "SLURM_EPILOG"};
	for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
		const char *value = spec_getenv(spec, variables[i]);
		if (value != NULL && strcasecmp(value, "none") != 0)
			return "SLURM_PROLOG and SLURM_EPILOG name programs that srun would run outside the VM; they are not available in one";
	}
	return NULL;
}

/* Each word must be an option with its value attached: none is left that salloc could take for a command, whatever options it has. */
static const char *check_salloc(struct served_command *command, const struct spec *spec)
{
	command->holds = true;
	for (size_t i = 1; i < spec->argc; i++) {
		const char *word = spec->argv[i];
		if (word[0] != '-' || word[1] == '\0' || strcmp(word, "--") == 0)
			return "salloc's command must run in the VM, not on its host";
		if (strcmp(word, "--no-shell") == 0)
			command->holds = false;
	}
	return NULL;
}

/* Whether the guest's argv[0] is the name of what runs: a program that looks at it must not become another one. */
static bool is_own_name(const struct served_command *command, const char *word)
{
	const char *slash = strrchr(word, '/');
	return is_named(command, slash != NULL ? slash + 1 : word);
}

static const char *set_arguments(struct served_command *command, struct spec *spec)
{
	char **argv = calloc(spec->argc + command->argument_count + 5, sizeof *argv);
	size_t count = 0;
	static char own[PATH_MAX];
	static char hold[] = "--hold", end_of_options[] = "--";
	if (argv == NULL)
		return "no memory is left on the host";
	/* Slurm's commands name themselves by it in some of what they say. */
	argv[count++] = command->argument_count == 0 && is_own_name(command, spec->argv[0]) ? spec->argv[0] : command->program;
	for (size_t i = 0; i < command->argument_count; i++)
		argv[count++] = command->arguments[i];
	for (size_t i = 1; i < spec->argc; i++)
		argv[count++] = spec->argv[i];
	if (command->holds) {
		ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
		if (length <= 0)
			return "vmrm-run does not find itself";
		/* What the guest's last option takes for its value is this, and not the program. */
		argv[count++] = end_of_options;
		argv[count++] = own;
		argv[count++] = hold;
		argv[count++] = command->hold_socket;
	}
	free(spec->argv);
	spec->program = command->program;
	spec->argv = argv;
	spec->argc = count;
	return NULL;
}

/* --chdir of srun and sbatch names a folder of the guest: the last one counts. Returns its value, NULL: none. */
static char *find_chdir(const struct served_command *command, const struct spec *spec)
{
	char *found = NULL;
	struct option_walk walk;
	struct option option;
	option_walk_start(&walk, grammar_of(command->name), (int)spec->argc, spec->argv);
	while (option_walk_next(&walk, &option))
		if (strcmp(option.name, "chdir") == 0 && option.value != NULL)
			found = (char *)(uintptr_t)option.value;
	return found;
}

static void remove_chdir(struct spec *spec)
{
	size_t kept = 1;
	bool is_option = true;
	for (size_t i = 1; i < spec->argc; i++) {
		char *word = spec->argv[i];
		is_option = is_option && word[0] == '-' && strcmp(word, "--") != 0;
		/* The caller has attached every value. */
		if (!is_option || strncmp(word, "--chdir=", sizeof "--chdir=" - 1) != 0)
			spec->argv[kept++] = word;
	}
	spec->argv[spec->argc = kept] = NULL;
}

static bool can_enter(const char *folder)
{
	struct stat status;
	return stat(folder, &status) == 0 && S_ISDIR(status.st_mode) && access(folder, X_OK) == 0;
}

/* Where the command runs; `guest_folder` is the guest's folder that the host does not have, for srun, sbatch and sbcast to carry along. */
static const char *set_folder(const struct served_command *command, struct spec *spec, const char **guest_folder)
{
	const char *home = getenv("HOME");
	char *wanted = NULL;
	bool has_chdir = is_named(command, "srun") || is_named(command, "sbatch");
	bool carries = has_chdir || is_named(command, "sbcast");
	const char *here = spec->cwd != NULL ? spec->cwd : "/";
	const char *chdir_value = has_chdir ? find_chdir(command, spec) : NULL;
	if (chdir_value != NULL && asprintf(&wanted, "%s%s%s", chdir_value[0] == '/' ? "" : here, chdir_value[0] == '/' ? "" : "/", chdir_value) < 0)
		return "no memory is left on the host";
	if (wanted != NULL && !can_enter(wanted)) {
		remove_chdir(spec);
		*guest_folder = wanted;
		here = wanted;
	} else if (carries && wanted == NULL && !can_enter(here)) {
		*guest_folder = here;
	}
	if (!can_enter(here))
		here = home != NULL && can_enter(home) ? home : "/";
	spec->cwd = here;
	return NULL;
}

const char *served_command_prepare(void *context, struct spec *spec)
{
	struct served_command *command = context;
	const char *why = NULL;
	const char *guest_folder = NULL;
	bool has_wire = spec->wire_number >= 0 || spec->wire_prefix != NULL;
	if (spec->script_path != NULL || spec->has_cpus || has_wire)
		return "a call has no script, no CPUs and no MPI";
	if (is_named(command, "srun"))
		why = check_srun(spec);
	else if (is_named(command, "salloc"))
		why = check_salloc(command, spec);
	/* The files first: they name arguments by number. */
	if (why == NULL)
		why = served_files_place(command, spec);
	if (why == NULL)
		why = set_folder(command, spec, &guest_folder);
	if (why == NULL)
		why = set_arguments(command, spec);
	if (why == NULL)
		why = served_environment_set(command, spec, guest_folder);
	return why;
}
