/*
 * Owns what a single value of an identity may be: its pieces, numbers and names.
 * Must never let through a text that could add a line or a field to a file of the guest.
 */
#ifndef VMRM_AGENT_IDENTITY_FIELDS_H
#define VMRM_AGENT_IDENTITY_FIELDS_H

#include "identity.h"
#include "tlv.h"

#define FIELDS_MAX 64

/* A value split at its NULs; the pieces are C strings inside the identity's own texts. */
struct fields {
	char *at[FIELDS_MAX];
	size_t count;
};

/* Copies the value to `texts` (which has room for every value and its end), and splits it. */
bool field_split(char **texts, const struct vmrm_tlv *value, struct fields *fields);
/* Decimal digits only, up to `most`. */
bool field_number(const char *text, unsigned long most, unsigned long *value);
/* A name for passwd and group: no field or list separators. A directory's names may have a domain (`CORP\\eve`) or blanks (`domain users`). */
bool field_is_account(const char *text);
/* A name for hosts: no separators. */
bool field_is_name(const char *text);
/* As libvirt writes them. */
bool field_is_uuid(const char *text);

#endif
