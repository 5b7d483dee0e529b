/* Owns the environment of a call's command on the host. Must never let a variable of the guest act on the loader or the C library. */
#include "served_environment.h"
#include "variables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct list {
	char **entries;
	size_t count;
	bool failed;
};

/* Adds NAME=value, made of the parts. */
static void add(struct list *list, const char *prefix, const char *entry)
{
	char *text = NULL;
	if (asprintf(&text, "%s%s", prefix, entry) < 0)
		list->failed = true;
	else
		list->entries[list->count++] = text;
}

static bool is_host_own(const char *entry)
{
	/* Set by the guest: of no use, or worse. */
	return strncmp(entry, GUEST_PREFIX, GUEST_PREFIX_LENGTH) == 0 || variable_is_same(entry, "SLURM_CONF=");
}

const char *served_environment_set(struct served_command *command, struct spec *spec, const char *guest_folder)
{
	struct list list = {0};
	size_t count = 0;
	const char *configuration = getenv("SLURM_CONF");
	while (spec->envp[count] != NULL)
		count++;
	list.entries = calloc(count + 4, sizeof *list.entries);
	if (list.entries == NULL)
		return "no memory is left on the host";
	for (size_t i = 0; i < count; i++)
		if (!is_host_own(spec->envp[i]))
			add(&list, variable_is_guest_only(spec->envp[i]) ? GUEST_PREFIX : "", spec->envp[i]);
	add(&list, "PATH=", CALL_PATH);
	if (configuration != NULL)
		add(&list, "SLURM_CONF=", configuration);
	if (guest_folder != NULL)
		add(&list, GUEST_CWD "=", guest_folder);
	if (list.failed)
		return "no memory is left on the host";
	free(spec->envp);
	spec->envp = list.entries;
	if (command->holds) {
		command->environment = calloc(list.count + 1, sizeof *list.entries);
		if (command->environment == NULL)
			return "no memory is left on the host";
		memcpy(command->environment, list.entries, list.count * sizeof *list.entries);
	}
	return NULL;
}
