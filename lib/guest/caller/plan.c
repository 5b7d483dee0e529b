/* Owns what a call is to become, for all commands alike. Must never run anything. */
#include "plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* What is added to the arguments beside those that were given. */
#define ARGUMENTS_MORE 8

bool plan_add(struct plan *plan, char *text)
{
	if (text == NULL)
		return false;
	plan->argv[plan->argc++] = text;
	return true;
}

bool plan_add_option(struct plan *plan, const struct option *option)
{
	char *text = NULL;
	const char *dashes = option->name[1] == '\0' ? "-" : "--";
	const char *equals = option->value != NULL && option->name[1] != '\0' ? "=" : "";
	if (asprintf(&text, "%s%s%s%s", dashes, option->name, equals, option->value != NULL ? option->value : "") < 0)
		return false;
	return plan_add(plan, text);
}

void plan_add_file(struct plan *plan, uint32_t offset, int fd)
{
	if (plan->file_count < PLAN_FILES_MAX)
		plan->files[plan->file_count++] = (struct plan_file){(uint32_t)plan->argc, offset, fd};
}

bool plan_is_file(const char *name)
{
	/* Slurm (22.05) takes whatever begins with `all`, `All` … or `-` for "to srun itself". */
	bool is_word = strncasecmp(name, "all", 3) == 0 || name[0] == '-' || strcasecmp(name, "none") == 0;
	bool is_task = name[0] != '\0' && strspn(name, "0123456789") == strlen(name);
	return name[0] != '\0' && !is_word && !is_task && strchr(name, '%') == NULL;
}

const char *plan_find(const char *name, int mode, bool looks_here_first)
{
	const char *path = getenv("PATH");
	if (strchr(name, '/') != NULL || (looks_here_first && access(name, mode) == 0))
		return access(name, mode) == 0 ? name : NULL;
	for (const char *at = path != NULL ? path : ""; *at != '\0';) {
		char *candidate = NULL;
		size_t length = strcspn(at, ":");
		if (asprintf(&candidate, "%.*s%s%s", (int)length, at, length > 0 ? "/" : "./", name) < 0)
			return NULL;
		if (access(candidate, mode) == 0)
			return candidate;
		free(candidate);
		at += length;
		at += *at == ':';
	}
	return NULL;
}

int plan_error(const struct plan *plan, const char *format, ...)
{
	char text[1024];
	va_list values;
	va_start(values, format);
	vsnprintf(text, sizeof text, format, values);
	va_end(values);
	dprintf(STDERR_FILENO, "%s: error: %s\n", plan->command, text);
	return 1;
}

/* Whether any word is no option, and whether an option is among them. */
static bool has_words(const struct plan *plan, int argc, char **argv)
{
	struct option_walk walk;
	struct option option;
	option_walk_start(&walk, grammar_of(plan->command), argc, argv);
	while (option_walk_next(&walk, &option))
		;
	return walk.at < argc;
}

static bool has_option(const struct plan *plan, int argc, char **argv, const char *letter, const char *name)
{
	struct option_walk walk;
	struct option option;
	option_walk_start(&walk, grammar_of(plan->command), argc, argv);
	for (;;) {
		if (option_walk_next(&walk, &option)) {
			if (strcmp(option.name, letter) == 0 || strcmp(option.name, name) == 0)
				return true;
		} else if (!walk.grammar->permutes || walk.at++ >= argc) {
			return false;
		}
	}
}

static int plan_other(struct plan *plan, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		plan_add(plan, argv[i]);
	if (strcmp(plan->command, "scontrol") == 0)
		plan->takes_stdin = plan->takes_terminal = !has_words(plan, argc, argv);
	else if (strcmp(plan->command, "scancel") == 0)
		plan->takes_stdin = has_option(plan, argc, argv, "i", "interactive");
	else if (strcmp(plan->command, "sattach") == 0) {
		plan->takes_stdin = true;
		plan->takes_terminal = has_option(plan, argc, argv, "pty", "pty");
	}
	return 0;
}

int plan_make(struct plan *plan, const char *command, int argc, char **argv)
{
	static const struct {
		const char *command;
		int (*make)(struct plan *plan, int argc, char **argv);
	} makers[] = {{"srun", plan_srun}, {"sbatch", plan_sbatch}, {"salloc", plan_salloc}, {"sbcast", plan_sbcast}};
	*plan = (struct plan){.command = command, .in_fd = -1, .out_fd = -1, .err_fd = -1};
	/* Each argument becomes at most as many as it has letters: -lN2. */
	size_t most = ARGUMENTS_MORE;
	for (int i = 0; i < argc; i++)
		most += strlen(argv[i]) + 1;
	plan->argv = calloc(most, sizeof *plan->argv);
	if (plan->argv == NULL)
		return plan_error(plan, "%s", strerror(ENOMEM));
	plan->argv[plan->argc++] = argv[0];
	for (size_t i = 0; i < sizeof makers / sizeof *makers; i++)
		if (strcmp(makers[i].command, command) == 0)
			return makers[i].make(plan, argc, argv);
	return plan_other(plan, argc, argv);
}
