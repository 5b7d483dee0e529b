/* Owns the environment of a call's command on the host. Must never let one of the guest's through that variables.h names, nor its PATH or SLURM_CONF. */
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

/* They say where Slurm's configuration comes from: the host's, or absent. */
static const char *const host_own[] = {"SLURM_CONF", "SLURM_CONF_SERVER"};
#define HOST_OWN (sizeof host_own / sizeof *host_own)

static bool is_host_own(const char *entry)
{
	for (size_t i = 0; i < HOST_OWN; i++)
		if (variable_is_same(entry, host_own[i]))
			return true;
	/* Set by the guest: of no use, or worse. */
	return strncmp(entry, GUEST_PREFIX, GUEST_PREFIX_LENGTH) == 0;
}

static void add_host_own(struct list *list)
{
	for (size_t i = 0; i < HOST_OWN; i++) {
		char name[32];
		const char *value = getenv(host_own[i]);
		snprintf(name, sizeof name, "%s=", host_own[i]);
		if (value != NULL)
			add(list, name, value);
	}
}

const char *served_environment_set(struct served_command *command, struct spec *spec, const char *guest_folder)
{
	struct list list = {0};
	size_t count = 0;
	while (spec->envp[count] != NULL)
		count++;
	list.entries = calloc(count + HOST_OWN + 3, sizeof *list.entries);
	if (list.entries == NULL)
		return "no memory is left on the host";
	for (size_t i = 0; i < count; i++)
		if (!is_host_own(spec->envp[i]))
			add(&list, variable_is_guest_only(spec->envp[i]) ? GUEST_PREFIX : "", spec->envp[i]);
	add(&list, "PATH=", CALL_PATH);
	add_host_own(&list);
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
