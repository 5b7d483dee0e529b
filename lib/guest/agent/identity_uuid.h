/*
 * Owns the guest's uuid in the places where programs look for it.
 * Must never change one that is right already: the guest's own services have read it.
 */
#ifndef VMRM_AGENT_IDENTITY_UUID_H
#define VMRM_AGENT_IDENTITY_UUID_H

#include "complaint.h"

#include <stdbool.h>

/* `01234567-89ab-…` in lower case. */
#define UUID_TEXT_BYTES 36

/* The firmware's tables, read at the boot, say who the template was: what they say of the uuid is replaced. */
bool dmi_put_uuid(const char *uuid, struct complaint *complaint);
/* In a template: what its clones would have to do first, so that each has only bytes to write. */
void uuid_prepare(void);
void dmi_prepare(void);

#endif
