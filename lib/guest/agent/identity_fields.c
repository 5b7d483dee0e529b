/*
 * Owns the checks of single values.
 * Must never keep anything: what it splits lies in the identity's own texts.
 */
#include "identity_fields.h"

#include "identity_uuid.h"

#include <stdlib.h>
#include <string.h>

bool field_split(char **texts, const struct vmrm_tlv *value, struct fields *fields)
{
	char *start = *texts;
	memcpy(start, value->value, value->length);
	start[value->length] = '\0';
	*texts += value->length + 1;
	fields->count = 0;
	for (char *at = start; at <= start + value->length; at += strlen(at) + 1) {
		if (fields->count == FIELDS_MAX)
			return false;
		for (const char *c = at; *c != '\0'; c++)
			if ((unsigned char)*c < 0x20 || *c == 0x7f)
				return false;
		fields->at[fields->count++] = at;
	}
	return true;
}

bool field_number(const char *text, unsigned long most, unsigned long *value)
{
	char *end;
	if (*text < '0' || *text > '9' || strlen(text) > 10)
		return false;
	*value = strtoul(text, &end, 10);
	return *end == '\0' && *value <= most;
}

bool field_is_account(const char *text)
{
	size_t length = strlen(text);
	return length > 0 && length < 256 && strchr("-+# ", *text) == NULL && text[length - 1] != ' ' && strpbrk(text, ":,/") == NULL;
}

bool field_is_name(const char *text)
{
	return *text != '\0' && *text != '-' && *text != '+' && strlen(text) < 256 && strpbrk(text, " :,/#\\") == NULL;
}

bool field_is_uuid(const char *text)
{
	for (int i = 0; i < UUID_TEXT_BYTES; i++) {
		bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (is_dash ? text[i] != '-' : text[i] == '\0' || strchr("0123456789abcdef", text[i]) == NULL)
			return false;
	}
	return text[UUID_TEXT_BYTES] == '\0';
}
