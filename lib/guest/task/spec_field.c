/*
 * Owns what each field of a spec means.
 * Must never hand a text with a NUL in it to a system call.
 */
#include "spec_field.h"

#include "frame.h"
#include "messages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *copy(struct spec_building *building, const struct vmrm_tlv *field)
{
	char *text = building->next;
	if (!vmrm_tlv_copy_text(field, text, (size_t)field->length + 1))
		return NULL;
	building->next += field->length + 1;
	return text;
}

static const struct {
	const char *name;
	int resource;
} resources[] = {
	{"AS", RLIMIT_AS}, {"CORE", RLIMIT_CORE}, {"CPU", RLIMIT_CPU}, {"DATA", RLIMIT_DATA}, {"FSIZE", RLIMIT_FSIZE}, {"LOCKS", RLIMIT_LOCKS},
	{"MEMLOCK", RLIMIT_MEMLOCK}, {"MSGQUEUE", RLIMIT_MSGQUEUE}, {"NICE", RLIMIT_NICE}, {"NOFILE", RLIMIT_NOFILE}, {"NPROC", RLIMIT_NPROC},
	{"RSS", RLIMIT_RSS}, {"RTPRIO", RLIMIT_RTPRIO}, {"RTTIME", RLIMIT_RTTIME}, {"SIGPENDING", RLIMIT_SIGPENDING}, {"STACK", RLIMIT_STACK},
};

static bool limit_value(const char *text, rlim_t *value)
{
	char *end;
	*value = RLIM_INFINITY;
	if (strcmp(text, "unlimited") == 0)
		return true;
	if (*text < '0' || *text > '9')
		return false;
	*value = strtoull(text, &end, 10);
	return *end == '\0';
}

/* `name NUL soft NUL hard`; a name this kernel does not know is passed over. */
static bool take_limit(struct spec_building *building, const struct vmrm_tlv *field)
{
	char *name = building->next;
	memcpy(name, field->value, field->length);
	name[field->length] = '\0';
	const char *soft = name + strlen(name) + 1;
	const char *hard = soft <= name + field->length ? soft + strlen(soft) + 1 : NULL;
	struct spec_limit limit;
	if (hard == NULL || hard > name + field->length || !limit_value(soft, &limit.value.rlim_cur) || !limit_value(hard, &limit.value.rlim_max))
		return false;
	if (strncmp(name, "RLIMIT_", 7) == 0)
		name += 7;
	for (size_t i = 0; i < sizeof resources / sizeof *resources; i++) {
		if (strcmp(resources[i].name, name) != 0 || building->spec->limit_count == RLIM_NLIMITS)
			continue;
		limit.resource = resources[i].resource;
		building->spec->limits[building->spec->limit_count++] = limit;
	}
	return true;
}

/* `0,2-3` */
static bool take_cpus(struct spec *spec, const char *text)
{
	CPU_ZERO(&spec->cpus);
	spec->has_cpus = *text != '\0';
	while (*text != '\0') {
		unsigned first, last;
		int used = 0;
		if (sscanf(text, "%4u-%4u%n", &first, &last, &used) != 2 || used == 0) {
			used = 0;
			if (sscanf(text, "%4u%n", &first, &used) != 1 || used == 0)
				return false;
			last = first;
		}
		for (unsigned cpu = first; cpu <= last && cpu < CPU_SETSIZE; cpu++)
			CPU_SET(cpu, &spec->cpus);
		text += used;
		if (*text == ',')
			text++;
		else if (*text != '\0')
			return false;
	}
	return true;
}

/* `TERM NUL rows NUL columns`; TERM itself is in the environment already. */
static bool take_terminal(struct spec_building *building, const struct vmrm_tlv *field)
{
	char *term = building->next;
	memcpy(term, field->value, field->length);
	term[field->length] = '\0';
	const char *end = term + field->length;
	const char *rows = term + strlen(term) + 1;
	const char *columns = rows <= end ? rows + strlen(rows) + 1 : NULL;
	if (columns == NULL || columns > end)
		return false;
	building->spec->has_terminal = true;
	building->spec->rows = (unsigned)strtoul(rows, NULL, 10);
	building->spec->columns = (unsigned)strtoul(columns, NULL, 10);
	return true;
}

/* `fd NUL number`, or `listen NUL prefix NUL address`. */
static bool take_wire(struct spec_building *building, const struct vmrm_tlv *field)
{
	struct spec *spec = building->spec;
	char *kind = building->next;
	memcpy(kind, field->value, field->length);
	kind[field->length] = '\0';
	building->next += field->length + 1;
	const char *end = kind + field->length;
	char *first = kind + strlen(kind) + 1;
	if (first > end)
		return false;
	if (strcmp(kind, "fd") == 0) {
		spec->wire_number = atoi(first);
		return spec->wire_number >= SPEC_WIRE_FIRST && spec->wire_number <= SPEC_WIRE_LAST;
	}
	char *second = first + strlen(first) + 1;
	spec->wire_prefix = first;
	spec->wire_address = second;
	return strcmp(kind, "listen") == 0 && second <= end && *first != '\0' && *second != '\0';
}

static bool is_safe_path(const char *path)
{
	size_t length = strlen(path);
	if (path[0] != '/' || length >= 4096 || path[length - 1] == '/')
		return false;
	for (const char *part = strstr(path, "/.."); part != NULL; part = strstr(part + 1, "/.."))
		if (part[3] == '/' || part[3] == '\0')
			return false;
	return true;
}

static bool take_file(struct spec *spec, const struct vmrm_tlv *field)
{
	if (field->length < 8 || spec->file_count == SPEC_FILES_MAX)
		return false;
	spec->files[spec->file_count++] =
		(struct spec_file){vmrm_get_u32(field->value), vmrm_get_u32(field->value + 4), field->value + 8, field->length - 8};
	return true;
}

bool spec_take_field(struct spec_building *building, const struct vmrm_tlv *field)
{
	struct spec *spec = building->spec;
	const char *text;
	switch (field->tag) {
	case VMRM_SPEC_ARG:
		return (spec->argv[building->args++] = copy(building, field)) != NULL;
	case VMRM_SPEC_ENV:
		text = spec->envp[building->envs++] = copy(building, field);
		return text != NULL && strchr(text, '=') != NULL;
	case VMRM_SPEC_CWD:
		text = copy(building, field);
		if (spec->cwd == NULL)
			spec->cwd = text;
		else
			spec->cwd_else = text;
		return text != NULL;
	case VMRM_SPEC_UMASK:
		return vmrm_tlv_u32(field, &spec->umask);
	case VMRM_SPEC_SCRIPT_PATH:
		return (spec->script_path = copy(building, field)) != NULL && is_safe_path(spec->script_path);
	case VMRM_SPEC_SCRIPT_BYTES:
		spec->script = field->value;
		spec->script_bytes = field->length;
		return true;
	case VMRM_SPEC_FILE:
		return take_file(spec, field);
	case VMRM_SPEC_RLIMIT:
		return take_limit(building, field);
	case VMRM_SPEC_CPUS:
		text = copy(building, field);
		return text != NULL && take_cpus(spec, text);
	case VMRM_SPEC_TERMINAL:
		return take_terminal(building, field);
	case VMRM_SPEC_WIRE:
		return take_wire(building, field);
	case VMRM_SPEC_STDIN:
		spec->has_no_stdin = vmrm_tlv_is(field, "null");
		return true;
	default:
		return true;
	}
}
