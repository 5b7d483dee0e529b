/*
 * Owns the system's uuid as /sys shows it of the firmware's tables (SMBIOS): the text, and the tables for dmidecode.
 * Must never change anything in those tables but the 16 bytes of that uuid.
 */
#include "identity_uuid.h"
#include "overlaid_file.h"
#include "text_file.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define PRODUCT "/sys/class/dmi/id/product_uuid"
#define TABLES "/sys/firmware/dmi/tables/DMI"
#define ENTRY "/sys/firmware/dmi/entries/1-0/raw"

#define PRODUCT_COPY "product_uuid"
#define TABLES_COPY "dmi-tables"
#define ENTRY_COPY "dmi-entry"

#define SYSTEM_INFORMATION 1
#define HEADER_BYTES 4
#define UUID_AT 8
#define UUID_BYTES 16

/* Since SMBIOS 2.6 the first three fields are little endian. */
enum byte_order { LITTLE_FIELDS, BIG_FIELDS };
static const int places[2][UUID_BYTES] = {
	[LITTLE_FIELDS] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15},
	[BIG_FIELDS] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
};

static void encode(const char *text, enum byte_order order, uint8_t out[UUID_BYTES])
{
	for (int i = 0; i < UUID_BYTES; i++) {
		unsigned byte = 0;
		text += *text == '-';
		sscanf(text, "%2x", &byte);
		out[places[order][i]] = (uint8_t)byte;
		text += 2;
	}
}

/* The structure behind this one: its text ends with two zero bytes. */
static size_t next_structure(const uint8_t *table, size_t length, size_t at)
{
	at += table[at + 1];
	while (at + 1 < length && (table[at] != 0 || table[at + 1] != 0))
		at++;
	return at + 2;
}

/* The system's uuid in the table; NULL: it has none. */
static uint8_t *find_uuid(uint8_t *table, size_t length)
{
	for (size_t at = 0; at + HEADER_BYTES <= length && table[at + 1] >= HEADER_BYTES; at = next_structure(table, length, at))
		if (table[at] == SYSTEM_INFORMATION)
			return table[at + 1] >= UUID_AT + UUID_BYTES && at + UUID_AT + UUID_BYTES <= length ? table + at + UUID_AT : NULL;
	return NULL;
}

static bool put_table(const char *path, const char *name, const char *old, const char *new, struct complaint *complaint)
{
	struct text table = {0};
	uint8_t bytes[UUID_BYTES];
	bool done = text_read(&table, path);
	uint8_t *uuid = done ? find_uuid((uint8_t *)table.bytes, table.length) : NULL;
	if (uuid != NULL) {
		encode(old, BIG_FIELDS, bytes);
		enum byte_order order = memcmp(uuid, bytes, UUID_BYTES) == 0 ? BIG_FIELDS : LITTLE_FIELDS;
		encode(new, order, uuid);
		done = overlaid_put(path, name, table.bytes, table.length, 0400);
	}
	int error = errno;
	text_free(&table);
	return done || complain(complaint, error, "cannot replace the uuid in %s", path);
}

bool dmi_put_uuid(const char *uuid, struct complaint *complaint)
{
	struct text old = {0}, new = {0};
	bool done = text_read(&old, PRODUCT);
	/* A guest without these tables shows no uuid of another. */
	if (!done || old.length < UUID_TEXT_BYTES || strncmp(old.bytes, uuid, UUID_TEXT_BYTES) == 0) {
		text_free(&old);
		return true;
	}
	text_addf(&new, "%s\n", uuid);
	done = put_table(TABLES, TABLES_COPY, old.bytes, uuid, complaint) && put_table(ENTRY, ENTRY_COPY, old.bytes, uuid, complaint);
	/* The text last: by it the next one sees that all is done. */
	if (done && (new.failed || !overlaid_put(PRODUCT, PRODUCT_COPY, new.bytes, new.length, 0400)))
		done = complain(complaint, errno, "cannot replace the uuid in %s", PRODUCT);
	text_free(&old);
	text_free(&new);
	return done;
}

void dmi_prepare(void)
{
	overlaid_prepare(TABLES, TABLES_COPY, 0400);
	overlaid_prepare(ENTRY, ENTRY_COPY, 0400);
	overlaid_prepare(PRODUCT, PRODUCT_COPY, 0400);
}
