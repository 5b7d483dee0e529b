/* Owns which resource limits a task has: those Slurm carries from the submission, else those of slurmd's children, as without a VM. Must never limit vmrm-run but for core files. */
#include "limits.h"
#include "messages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Slurm carries soft limits only, with a U before the number where --propagate named them. */
#define PREFIX "SLURM_RLIMIT_"

static const struct {
	const char *name;
	__rlimit_resource_t resource;
} kinds[] = {
	{"AS", RLIMIT_AS}, {"CORE", RLIMIT_CORE}, {"CPU", RLIMIT_CPU}, {"DATA", RLIMIT_DATA}, {"FSIZE", RLIMIT_FSIZE}, {"MEMLOCK", RLIMIT_MEMLOCK},
	{"NOFILE", RLIMIT_NOFILE}, {"NPROC", RLIMIT_NPROC}, {"RSS", RLIMIT_RSS}, {"STACK", RLIMIT_STACK},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static struct rlimit first[KINDS];

void limits_keep(void)
{
	struct rlimit no_core = {0, 0};
	for (size_t i = 0; i < KINDS; i++)
		getrlimit(kinds[i].resource, &first[i]);
	setrlimit(RLIMIT_CORE, &no_core);
}

bool limits_is_variable(const char *entry)
{
	return strncmp(entry, PREFIX, sizeof PREFIX - 1) == 0;
}

/* What Slurm carries for this limit; `kept` where it carries none. */
static rlim_t carried(const char *name, rlim_t kept)
{
	char variable[64];
	snprintf(variable, sizeof variable, PREFIX "%s", name);
	const char *text = getenv(variable);
	if (text != NULL && *text == 'U')
		text++;
	if (text == NULL || *text == '\0' || strspn(text, "0123456789") != strlen(text))
		return kept;
	/* What Slurm sends for "unlimited" is the number of RLIM_INFINITY. */
	return (rlim_t)strtoull(text, NULL, 10);
}

static void word(char *text, size_t size, rlim_t value)
{
	if (value == RLIM_INFINITY)
		snprintf(text, size, "unlimited");
	else
		snprintf(text, size, "%llu", (unsigned long long)value);
}

/* NOFILE NUL 1024 NUL 4096, and so on. Like Slurm, a soft limit above the hard one raises that only as far as it may. */
bool limits_put(struct spec_bytes *spec)
{
	for (size_t i = 0; i < KINDS; i++) {
		char value[128], soft[32], hard[32];
		rlim_t wanted = carried(kinds[i].name, first[i].rlim_cur);
		word(soft, sizeof soft, wanted < first[i].rlim_max ? wanted : first[i].rlim_max);
		word(hard, sizeof hard, first[i].rlim_max);
		int n = snprintf(value, sizeof value, "%s%c%s%c%s", kinds[i].name, '\0', soft, '\0', hard);
		if (n < 0 || (size_t)n >= sizeof value || !spec_bytes_put(spec, VMRM_SPEC_RLIMIT, value, (size_t)n))
			return false;
	}
	return true;
}
