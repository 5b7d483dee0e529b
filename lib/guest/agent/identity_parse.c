/*
 * Owns turning the payload of IDENTITY into checked values.
 * Must never let through a text that could add a line or a field to a file of the guest.
 */
#include "identity.h"
#include "identity_ranges.h"
#include "identity_uuid.h"
#include "messages.h"
#include "tlv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX 64

/* A value split at its NULs; the pieces are C strings inside the identity's own texts. */
struct fields {
	char *at[FIELDS_MAX];
	size_t count;
};

/* Copies the value to `texts` (which has room for every value and its end), and splits it. */
static bool split(char **texts, const struct vmrm_tlv *value, struct fields *fields)
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

/* Decimal digits only, up to `most`. */
static bool number(const char *text, unsigned long most, unsigned long *value)
{
	char *end;
	if (*text < '0' || *text > '9' || strlen(text) > 10)
		return false;
	*value = strtoul(text, &end, 10);
	return *end == '\0' && *value <= most;
}

/* A name for passwd and group: no field or list separators. A directory's names may have a domain (`CORP\\eve`) or blanks (`domain users`). */
static bool is_account_name(const char *text)
{
	size_t length = strlen(text);
	return length > 0 && length < 256 && strchr("-+# ", *text) == NULL && text[length - 1] != ' ' && strpbrk(text, ":,/") == NULL;
}

/* A name for hosts: no separators. */
static bool is_name(const char *text)
{
	return *text != '\0' && *text != '-' && *text != '+' && strlen(text) < 256 && strpbrk(text, " :,/#\\") == NULL;
}

static bool take_nic(struct identity *identity, struct fields *fields)
{
	struct identity_nic *nic = &identity->nics[identity->nic_count];
	unsigned mac[6];
	unsigned long prefix, mtu = 0;
	char *slash = fields->count >= 2 ? strchr(fields->at[1], '/') : NULL;
	if (identity->nic_count == IDENTITY_NICS_MAX || slash == NULL)
		return false;
	if (sscanf(fields->at[0], "%2x:%2x:%2x:%2x:%2x:%2x", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]) != 6)
		return false;
	if (!number(slash + 1, 128, &prefix))
		return false;
	if (fields->count > 2 && fields->at[2][0] != '\0' && !number(fields->at[2], 65536, &mtu))
		return false;
	*slash = '\0';
	for (int i = 0; i < 6; i++)
		nic->mac[i] = (uint8_t)mac[i];
	nic->address = fields->at[1];
	nic->prefix = (unsigned)prefix;
	nic->mtu = (unsigned)mtu;
	identity->nic_count++;
	return true;
}

/* One line of /etc/hosts; `alias` may be NULL. */
static bool add_host(struct identity *identity, const char *address, const char *name, const char *alias)
{
	if (identity->host_count == IDENTITY_HOSTS_MAX || !is_name(name) || (alias != NULL && !is_name(alias)))
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

/* Addresses, names, nodes, and how many VMs each node has: the first VM of a node has the node's name, too. */
static bool take_hosts(struct identity *identity, const struct fields *fields)
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

static bool is_free_of_colons(const char *text)
{
	return strchr(text, ':') == NULL;
}

static bool take_user(struct identity *identity, const struct fields *fields)
{
	unsigned long uid, gid;
	if (fields->count < 5 || !is_account_name(fields->at[0]) || !number(fields->at[1], UINT32_MAX - 1, &uid) || !number(fields->at[2], UINT32_MAX - 1, &gid))
		return false;
	const char *gecos = fields->count > 5 ? fields->at[5] : "";
	if (fields->at[3][0] != '/' || !is_free_of_colons(fields->at[3]) || !is_free_of_colons(fields->at[4]) || !is_free_of_colons(gecos))
		return false;
	/* Root stays root, and nobody else becomes it by a second name. */
	if ((uid == 0) != (strcmp(fields->at[0], "root") == 0))
		return false;
	identity->user = (struct identity_user){fields->at[0], (uid_t)uid, (gid_t)gid, fields->at[3], fields->at[4], gecos};
	return true;
}

static bool take_group(struct identity *identity, const struct fields *fields)
{
	unsigned long gid;
	if (identity->group_count == IDENTITY_GROUPS_MAX || fields->count < 2 || !number(fields->at[1], UINT32_MAX - 1, &gid))
		return false;
	if (fields->at[0][0] != '\0' && !is_account_name(fields->at[0]))
		return false;
	identity->groups[identity->group_count++] = (struct identity_group){fields->at[0][0] != '\0' ? fields->at[0] : NULL, (gid_t)gid};
	return true;
}

static bool take_mount(struct identity *identity, const struct fields *fields)
{
	if (identity->mount_count == IDENTITY_MOUNTS_MAX || fields->count < 3 || fields->at[2][0] != '/')
		return false;
	for (const char *part = strstr(fields->at[2], "/.."); part != NULL; part = strstr(part + 1, "/.."))
		if (part[3] == '/' || part[3] == '\0')
			return false;
	identity->mounts[identity->mount_count++] =
		(struct identity_mount){fields->at[0], fields->at[1], fields->at[2], fields->count > 3 ? fields->at[3] : ""};
	return true;
}

static const char **key_of(struct identity_ssh *ssh, uint16_t tag)
{
	switch (tag) {
	case VMRM_IDENTITY_SSH_HOST_KEY:
		return &ssh->host_key;
	case VMRM_IDENTITY_SSH_HOST_CERTIFICATE:
		return &ssh->host_certificate;
	case VMRM_IDENTITY_SSH_USER_KEY:
		return &ssh->user_key;
	case VMRM_IDENTITY_SSH_AUTHORIZED:
		return &ssh->authorized;
	case VMRM_IDENTITY_SSH_KNOWN:
		return &ssh->known;
	default:
		return NULL;
	}
}

/* A key or a line of one: printable ASCII and line ends. */
static bool take_key(const char **key, char **texts, const struct vmrm_tlv *value)
{
	for (uint32_t i = 0; i < value->length; i++)
		if (value->value[i] != '\n' && (value->value[i] < 0x20 || value->value[i] >= 0x7f))
			return false;
	memcpy(*texts, value->value, value->length);
	(*texts)[value->length] = '\0';
	*key = *texts;
	*texts += value->length + 1;
	return true;
}

/* `4*16,2`: of each host, in their order. */
static bool take_slots(struct identity *identity, const char *text)
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

/* A path of a command such as /usr/bin/srun. Its last part must not be the agent's own: the binary tells by it what it is. */
static bool take_command(struct identity *identity, const char *path)
{
	const char *name = strrchr(path, '/');
	if (identity->command_count == IDENTITY_COMMANDS_MAX || path[0] != '/' || strlen(path) > 255 || strstr(path, "/..") != NULL)
		return false;
	if (!is_name(name + 1) || strncmp(name + 1, "vmrm", 4) == 0)
		return false;
	identity->commands[identity->command_count++] = path;
	return true;
}

/* As libvirt writes them. */
static bool is_uuid(const char *text)
{
	for (int i = 0; i < UUID_TEXT_BYTES; i++) {
		bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (is_dash ? text[i] != '-' : text[i] == '\0' || strchr("0123456789abcdef", text[i]) == NULL)
			return false;
	}
	return text[UUID_TEXT_BYTES] == '\0';
}

static bool take_entropy(struct identity *identity, char **texts, const struct vmrm_tlv *value)
{
	memcpy(*texts, value->value, value->length);
	identity->entropy = (const uint8_t *)*texts;
	identity->entropy_bytes = value->length;
	*texts += value->length;
	return true;
}

static bool take(struct identity *identity, char **texts, const struct vmrm_tlv *value)
{
	struct fields fields;
	if (value->tag == VMRM_IDENTITY_TIME)
		return vmrm_tlv_u64(value, &identity->time_ns);
	if (value->tag == VMRM_IDENTITY_ENTROPY)
		return take_entropy(identity, texts, value);
	const char **key = key_of(&identity->ssh, value->tag);
	if (key != NULL)
		return take_key(key, texts, value);
	if (!split(texts, value, &fields))
		return false;
	switch (value->tag) {
	case VMRM_IDENTITY_HOSTNAME:
		identity->hostname = fields.at[0];
		return is_name(fields.at[0]) && strlen(fields.at[0]) <= 64;
	case VMRM_IDENTITY_UUID:
		identity->uuid = fields.at[0];
		return is_uuid(fields.at[0]);
	case VMRM_IDENTITY_GATEWAY:
		identity->gateway = fields.at[0][0] != '\0' ? fields.at[0] : NULL;
		return true;
	case VMRM_IDENTITY_NIC:
		return take_nic(identity, &fields);
	case VMRM_IDENTITY_HOSTS:
		return take_hosts(identity, &fields);
	case VMRM_IDENTITY_USER:
		return take_user(identity, &fields);
	case VMRM_IDENTITY_GROUP:
		return take_group(identity, &fields);
	case VMRM_IDENTITY_SLOTS:
		return take_slots(identity, fields.at[0]);
	case VMRM_IDENTITY_COMMAND:
		return take_command(identity, fields.at[0]);
	case VMRM_IDENTITY_MOUNT:
		return take_mount(identity, &fields);
	default:
		return true;
	}
}

struct identity *identity_parse(const uint8_t *bytes, size_t length, struct complaint *complaint)
{
	struct identity *identity = calloc(1, sizeof *identity);
	/* Each value needs its bytes and one more; its header had 8. */
	char *texts = malloc(length + 1);
	char *next = texts;
	struct vmrm_tlv_reader reader;
	struct vmrm_tlv value;
	enum vmrm_tlv_found found;
	if (identity == NULL || texts == NULL) {
		complain(complaint, 0, "no memory for the identity");
		goto failed;
	}
	identity->texts = texts;
	vmrm_tlv_read_from(&reader, bytes, length);
	while ((found = vmrm_tlv_next(&reader, &value)) == VMRM_TLV_FIELD) {
		if (!take(identity, &next, &value)) {
			complain(complaint, 0, "the identity's field %u makes no sense", value.tag);
			goto failed;
		}
	}
	if (found != VMRM_TLV_LIST_ENDS)
		complain(complaint, 0, "the identity is no list of fields");
	else if (identity->slot_count != 0 && identity->slot_count != identity->host_count)
		complain(complaint, 0, "the identity has %zu hosts and the tasks of %zu", identity->host_count, identity->slot_count);
	else
		return identity;
failed:
	if (identity == NULL || identity->texts == NULL)
		free(texts);
	identity_free(identity);
	return NULL;
}

void identity_free(struct identity *identity)
{
	if (identity == NULL)
		return;
	for (size_t i = 0; i < identity->host_count; i++)
		free(identity->hosts[i]);
	free(identity->hosts);
	free(identity->slots);
	free(identity->texts);
	free(identity);
}
