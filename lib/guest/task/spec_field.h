/*
 * Owns the reading of one field of a spec.
 * Must never write beyond what spec_parse made room for.
 */
#ifndef VMRM_TASK_SPEC_FIELD_H
#define VMRM_TASK_SPEC_FIELD_H

#include "spec.h"
#include "tlv.h"

/* A spec that is being parsed: where the next text and the next pointer go. */
struct spec_building {
	struct spec *spec;
	char *next;
	size_t args, envs;
};

/* False: the field makes no sense. One that is not known is passed over. */
bool spec_take_field(struct spec_building *building, const struct vmrm_tlv *field);

#endif
