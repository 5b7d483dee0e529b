/*
 * Owns parsing the spec stream.
 * Must never hand out a spec that is not whole.
 */
#include "spec.h"

#include "messages.h"
#include "spec_field.h"
#include "tlv.h"

#include <stdlib.h>
#include <string.h>

/* Counts fields so that the arrays can be made; false if the list is malformed. */
static bool count_fields(const uint8_t *bytes, size_t length, size_t *args, size_t *envs)
{
	struct vmrm_tlv_reader reader;
	struct vmrm_tlv field;
	enum vmrm_tlv_found found;
	*args = *envs = 0;
	vmrm_tlv_read_from(&reader, bytes, length);
	while ((found = vmrm_tlv_next(&reader, &field)) == VMRM_TLV_FIELD) {
		*args += field.tag == VMRM_SPEC_ARG;
		*envs += field.tag == VMRM_SPEC_ENV;
	}
	return found == VMRM_TLV_LIST_ENDS;
}

struct spec *spec_parse(const uint8_t *bytes, size_t length, const char **why)
{
	size_t args, envs;
	struct vmrm_tlv_reader reader;
	struct vmrm_tlv field;
	*why = "the list of what to run is malformed";
	if (!count_fields(bytes, length, &args, &envs))
		return NULL;
	if (args == 0) {
		*why = "there is no command to run";
		return NULL;
	}
	struct spec *spec = calloc(1, sizeof *spec);
	struct spec_building building = {.spec = spec};
	if (spec == NULL)
		return NULL;
	spec->umask = 022;
	spec->wire_number = -1;
	spec->argc = args;
	/* Each text needs its bytes and an end; its header took 8 bytes of the list. */
	building.next = spec->texts = malloc(length + 1);
	spec->argv = calloc(args + 1, sizeof *spec->argv);
	spec->envp = calloc(envs + 1, sizeof *spec->envp);
	*why = "there is no memory for what to run";
	if (spec->texts == NULL || spec->argv == NULL || spec->envp == NULL)
		goto failed;
	vmrm_tlv_read_from(&reader, bytes, length);
	while (vmrm_tlv_next(&reader, &field) == VMRM_TLV_FIELD) {
		if (!spec_take_field(&building, &field)) {
			*why = "a field of what to run makes no sense";
			goto failed;
		}
	}
	return spec;
failed:
	spec_free(spec);
	return NULL;
}

void spec_free(struct spec *spec)
{
	if (spec == NULL)
		return;
	free(spec->texts);
	free(spec->argv);
	free(spec->envp);
	free(spec->renamed);
	free(spec);
}

const char *spec_getenv(const struct spec *spec, const char *name)
{
	size_t length = strlen(name);
	for (char **entry = spec->envp; *entry != NULL; entry++)
		if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=')
			return *entry + length + 1;
	return NULL;
}
