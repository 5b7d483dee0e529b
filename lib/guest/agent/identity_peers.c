/*
 * Owns turning those ranges into lines and numbers.
 * Must never believe that there are as many names as addresses.
 */
#include "identity_peers.h"

#include "identity_ranges.h"

#include <stdio.h>
#include <stdlib.h>

/* One line of /etc/hosts; `alias` may be NULL. */
static bool add_host(struct identity *identity, const char *address, const char *name, const char *alias)
{
	if (identity->host_count == IDENTITY_HOSTS_MAX || !field_is_name(name) || (alias != NULL && !field_is_name(alias)))
		return false;
	if (identity->host_count == identity->host_room) {
		size_t room = identity->host_room == 0 ? 64 : identity->host_room * 2;
		char **hosts = realloc(identity->hosts, room * sizeof *hosts);
		if (hosts == NULL)
			return false;
		identity->hosts = hosts;
		identity->host_room = room;
	}
	char *line;
	if (asprintf(&line, alias == NULL ? "%s %s" : "%s %s %s", address, name, alias) < 0)
		return false;
	identity->hosts[identity->host_count++] = line;
	return true;
}

bool identity_take_hosts(struct identity *identity, const struct fields *fields)
{
	struct range addresses, names, nodes, counts;
	unsigned long left = 0;
	if (identity->host_count != 0 || fields->count != 4)
		return false;
	range_begin(&addresses, fields->at[0]);
	range_begin(&names, fields->at[1]);
	range_begin(&nodes, fields->at[2]);
	range_begin(&counts, fields->at[3]);
	enum range_next address;
	while ((address = range_next_address(&addresses)) == RANGE_MEMBER) {
		bool is_first = left == 0;
		if (is_first && (range_next_name(&nodes) != RANGE_MEMBER || range_next_count(&counts) != RANGE_MEMBER || counts.count == 0))
			return false;
		left = is_first ? counts.count - 1 : left - 1;
		if (range_next_name(&names) != RANGE_MEMBER || !add_host(identity, addresses.member, names.member, is_first ? nodes.member : NULL))
			return false;
	}
	return address == RANGE_END && left == 0 && range_next_name(&names) == RANGE_END && range_next_name(&nodes) == RANGE_END &&
		range_next_count(&counts) == RANGE_END;
}

bool identity_take_slots(struct identity *identity, const char *text)
{
	struct range counts;
	size_t count = 0;
	enum range_next next = RANGE_BAD;
	free(identity->slots);
	identity->slots = calloc(IDENTITY_HOSTS_MAX, sizeof *identity->slots);
	range_begin(&counts, text);
	while (identity->slots != NULL && (next = range_next_count(&counts)) == RANGE_MEMBER && count < IDENTITY_HOSTS_MAX)
		identity->slots[count++] = (unsigned)counts.count;
	identity->slot_count = count;
	return next == RANGE_END;
}
