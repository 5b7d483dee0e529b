/* Owns what sbatch, salloc and sbcast read here rather than on the host. Must never send a command of salloc's to the host. */
#include "plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* sbcast's own exit code where it cannot read its source. */
#define SBCAST_FAILED 255

/* --export-file names a file, or the number of an open descriptor. */
static int take_export_file(struct plan *plan, struct option *option)
{
	char *name = NULL;
	bool is_number = strspn(option->value, "0123456789") == strlen(option->value);
	if (asprintf(&name, "%s%s", is_number ? "/dev/fd/" : "", option->value) < 0)
		return plan_error(plan, "%s", strerror(ENOMEM));
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return plan_error(plan, "Unable to open the file %s: %s", option->value, strerror(errno));
	option->value = name;
	plan_add_file(plan, sizeof "--export-file=" - 1, fd);
	return plan_add_option(plan, option) ? 0 : 1;
}

int plan_sbatch(struct plan *plan, int argc, char **argv)
{
	struct option_walk walk;
	struct option option;
	bool has_wrap = false;
	option_walk_start(&walk, grammar_of("sbatch"), argc, argv);
	while (option_walk_next(&walk, &option)) {
		has_wrap |= strcmp(option.name, "wrap") == 0;
		bool is_export_file = strcmp(option.name, "export-file") == 0 && option.value != NULL;
		int code = is_export_file ? take_export_file(plan, &option) : !plan_add_option(plan, &option);
		if (code != 0)
			return code;
	}
	plan->takes_stdin = !has_wrap && walk.at >= argc;
	if (!has_wrap && walk.at < argc) {
		const char *script = plan_find(argv[walk.at], R_OK, true);
		int fd = script != NULL ? open(script, O_RDONLY | O_CLOEXEC) : -1;
		if (fd < 0)
			return plan_error(plan, "Unable to open file %s", argv[walk.at]);
		plan_add_file(plan, 0, fd);
	}
	for (int i = walk.at; i < argc; i++)
		plan_add(plan, argv[i]);
	return 0;
}

int plan_salloc(struct plan *plan, int argc, char **argv)
{
	struct option_walk walk;
	struct option option;
	plan->holds = true;
	option_walk_start(&walk, grammar_of("salloc"), argc, argv);
	while (option_walk_next(&walk, &option)) {
		if (strcmp(option.name, "no-shell") == 0)
			plan->holds = false;
		if (strcmp(option.name, "chdir") == 0 && option.value != NULL)
			plan->hold_folder = option.value;
		else if (!plan_add_option(plan, &option))
			return plan_error(plan, "%s", strerror(ENOMEM));
	}
	plan->hold_argv = walk.at < argc ? argv + walk.at : NULL;
	return 0;
}

/* The host's sbcast is in another folder than this one. */
static char *absolute(char *name)
{
	char *path = NULL, *folder = name[0] == '/' ? NULL : getcwd(NULL, 0);
	if (name[0] == '/')
		return name;
	if (folder == NULL || asprintf(&path, "%s/%s", folder, name) < 0)
		path = NULL;
	free(folder);
	return path;
}

int plan_sbcast(struct plan *plan, int argc, char **argv)
{
	struct option_walk walk;
	struct option option;
	struct stat status;
	char *words[2] = {NULL, NULL};
	char *about = NULL, *times = NULL;
	int count = 0;
	plan->argc += 2; /* for what is told about the source, in front */
	option_walk_start(&walk, grammar_of("sbcast"), argc, argv);
	while (walk.at < argc) {
		if (option_walk_next(&walk, &option)) {
			if (!plan_add_option(plan, &option))
				return plan_error(plan, "%s", strerror(ENOMEM));
		} else if (walk.at < argc) {
			if (count < 2)
				words[count] = argv[walk.at];
			count++;
			walk.at++;
		}
	}
	if (count != 2) {
		/* --help, or a mistake, of which the command itself says more. */
		memcpy(plan->argv + 1, argv + 1, (size_t)argc * sizeof *argv);
		plan->argc = argc;
		return 0;
	}
	plan->in_fd = open(words[0], O_RDONLY | O_CLOEXEC);
	if (plan->in_fd < 0 || fstat(plan->in_fd, &status) != 0)
		return plan_error(plan, "Can't open `%s`: %s", words[0], strerror(errno)), SBCAST_FAILED;
	if (!S_ISREG(status.st_mode))
		return plan_error(plan, "`%s` is not a regular file", words[0]), SBCAST_FAILED;
	if (asprintf(&about, "--source-mode=%04o", (unsigned)status.st_mode & 07777) < 0 ||
	    asprintf(&times, "--source-times=%lld,%lld", (long long)status.st_atime, (long long)status.st_mtime) < 0)
		return plan_error(plan, "%s", strerror(ENOMEM));
	plan->argv[1] = about;
	plan->argv[2] = times;
	plan->takes_stdin = true;
	return plan_add(plan, words[0]) && plan_add(plan, absolute(words[1])) ? 0 : plan_error(plan, "%s", strerror(errno));
}
